"""The inner loop of the moments as vector instructions. Imports numba: import it in a function.

Sixteen columns at a time, their nine sums stay in registers over a run of vectors. LLVM does not
find this loop by itself: written in Python, the sums go through memory at every vector, and blocks
are summed at 9 GB/s instead of 15 on one core that reads 30. So it is written in LLVM's own terms,
for vectors of 16 floats, which are one AVX-512 register or two of AVX2.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
"""Columns that are summed together."""
SUMS = 9
"""P, N, y; then PP, NN, PN, Py, Ny, yy: all about a pivot."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_COUNTS = ir.VectorType(ir.IntType(16), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_SIZE = ir.IntType(64)
_CONTRACT = ("contract",)  # a multiply and an add may become one fused instruction


def _sum_strip(
    typing: Any, counts: Any, expected: Any, first: Any, vectors: Any, column: Any,
    columns: Any, pivots: Any, sums: Any,
) -> Any:  # fmt: skip
    """Sum 16 columns from `column` on over `vectors` vectors from `first` on.

    `counts` is flat (vector, polarity, column), `expected` flat (vector, column), `pivots` flat
    (variable, column) and `sums` flat (sum, column), which is overwritten. Nothing is checked.
    """
    signature = types.void(counts, expected, first, vectors, column, columns, pivots, sums)
    return signature, _generate


# Typed as Any: numba passes the first argument, its typing context, itself.
sum_strip: Any = intrinsic(_sum_strip)


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    arrays = {
        name: context.make_array(kind)(context, builder, value).data
        for name, kind, value in zip("cy....ps", signature.args, arguments, strict=True)
        if name != "."
    }
    _, _, first, vectors, column, columns, _, _ = arguments

    def plane(pointer: Any, index: int) -> Any:
        """Return the place of `column` in plane `index` of a flat (plane, column) array."""
        return builder.gep(pointer, [builder.add(builder.mul(_SIZE(index), columns), column)])

    pivots = [_load(builder, plane(arrays["p"], index), _FLOATS) for index in range(3)]
    row = builder.mul(first, columns)
    p_start = builder.gep(plane(arrays["c"], 0), [builder.mul(row, _SIZE(2))])
    y_start = builder.gep(plane(arrays["y"], 0), [row])
    starts = (p_start, builder.gep(p_start, [columns]), y_start)
    totals = _loop_over_vectors(builder, starts, vectors, columns, pivots)
    for index, total in enumerate(totals):
        target = builder.bitcast(plane(arrays["s"], index), _FLOATS.as_pointer())
        builder.store(total, target, align=4)
    return context.get_dummy_value()


def _loop_over_vectors(
    builder: Any, starts: Any, vectors: Any, columns: Any, pivots: Any
) -> list[Any]:
    """Emit the loop; return its sums. There is at least one vector."""
    entry, loop = builder.block, builder.append_basic_block("vector")
    done = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    vector = builder.phi(_SIZE)
    sums = [builder.phi(_FLOATS) for _ in range(SUMS)]
    vector.add_incoming(_SIZE(0), entry)
    for total in sums:
        total.add_incoming(ir.Constant(_FLOATS, None), entry)
    y_at = builder.mul(vector, columns)
    counts_at = builder.mul(y_at, _SIZE(2))
    values = [
        _load_counts(builder, builder.gep(starts[0], [counts_at])),
        _load_counts(builder, builder.gep(starts[1], [counts_at])),
        _load(builder, builder.gep(starts[2], [y_at]), _FLOATS),
    ]
    new_sums = _add_products(builder, sums, values, pivots)
    following = builder.add(vector, _SIZE(1))
    vector.add_incoming(following, loop)
    for total, new in zip(sums, new_sums, strict=True):
        total.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, vectors), loop, done)
    builder.position_at_end(done)
    return new_sums


def _add_products(builder: Any, sums: Any, values: Any, pivots: Any) -> list[Any]:
    p, n, y = (builder.fsub(value, pivot) for value, pivot in zip(values, pivots, strict=True))
    linear = [builder.fadd(total, x) for total, x in zip(sums, (p, n, y), strict=False)]
    pairs = ((p, p), (n, n), (p, n), (p, y), (n, y), (y, y))
    return linear + [
        builder.fadd(total, builder.fmul(a, b, flags=_CONTRACT), flags=_CONTRACT)
        for total, (a, b) in zip(sums[3:], pairs, strict=True)
    ]


def _load(builder: Any, pointer: Any, kind: Any) -> Any:
    # As aligned as one element: a strip may begin at any column.
    align = 2 if kind is _COUNTS else 4
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=align)


def _load_counts(builder: Any, pointer: Any) -> Any:
    return builder.uitofp(builder.zext(_load(builder, pointer, _COUNTS), _WORDS), _FLOATS)
