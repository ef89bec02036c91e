"""The NMPU's datapath as C99 text, for one format: integers of 32 bits, defined shifts only.

C leaves the right shift of negative numbers to the compiler, and their left shift undefined, so
neither is written: `{name}_floor` divides by a power of two and rounds down wherever it runs.
"""

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, OffsetAt

_ROUNDED = {
    Rounding.FLOOR: "{name}_floor(value, bits)",
    Rounding.HALF_UP: "{name}_floor(value + (INT32_C(1) << (bits - 1)), bits)",
    Rounding.HALF_EVEN: (
        "{name}_floor(value + (INT32_C(1) << (bits - 1)) - 1\n"
        "                        + (int32_t)((uint32_t){name}_floor(value, bits) & 1u), bits)"
    ),
    Rounding.HALF_AWAY: (
        "{name}_floor(value + (INT32_C(1) << (bits - 1)) - (value < 0 ? 1 : 0), bits)"
    ),
    Rounding.TOWARD_ZERO: (
        "{name}_floor(value + (value < 0 ? (INT32_C(1) << bits) - 1 : 0), bits)"
    ),
}
_SATURATE = """\
/* Clip to `bits` bits, two's complement. */
static inline int32_t {name}_fit(int32_t value, int bits)
{{
    const int32_t top = (INT32_C(1) << (bits - 1)) - 1;
    return value > top ? top : value < -top - 1 ? -top - 1 : value;
}}
"""
_WRAP = """\
/* Keep the low `bits` bits, two's complement. */
static inline int32_t {name}_fit(int32_t value, int bits)
{{
    const int32_t half = INT32_C(1) << (bits - 1);
    const uint32_t low = (uint32_t)value & (((uint32_t)half << 1) - 1u);
    return low >= (uint32_t)half ? (int32_t)(low - (uint32_t)half) - half : (int32_t)low;
}}
"""
_SHIFTS = """\
/* Divide by 2**bits and round towards minus infinity. */
static inline int32_t {name}_floor(int32_t value, int bits)
{{
    return value >= 0 ? value >> bits : -((-(value + 1)) >> bits) - 1;
}}

/* Divide by 2**bits and round: {rounding}. */
static inline int32_t {name}_round(int32_t value, int bits)
{{
    return bits == 0 ? value : {rounded};
}}
"""
_DATAPATH = """\
/* Cut the product's bits, round the rest away, and fit the result into its width. */
static inline int32_t {name}_compress(int32_t product, int shift)
{{
    const int cut = {kept} + shift;
    return {name}_fit({name}_round({name}_floor(product, {cut_pre}), cut), {acc_bits});
}}

/* Turn one pair of counts into the output code of a column; `relu` is 0 or 1. */
static inline int8_t {name}_output(const {name}_tile *tile, uint32_t column,
                                   uint32_t count_p, uint32_t count_n, int relu)
{{
    const int is_swapped = tile->swap[column] != 0;
    uint32_t p = is_swapped ? count_n : count_p;
    uint32_t n = is_swapped ? count_p : count_n;
    int32_t product_p, product_n, sum, code;
    p = p > {in_max}u ? {in_max}u : p;
    n = n > {in_max}u ? {in_max}u : n;
    product_p = (int32_t)(p * tile->scale_p[column]);
    product_n = (int32_t)(n * tile->scale_n[column]);
{middle}
    code = {name}_fit({name}_round(sum, {off_frac}), {out_bits});
{symmetric}    return (int8_t)(relu && code < 0 ? 0 : code);
}}

/* The same for every column: p, n and codes hold {upper}_COLUMNS numbers each. */
static inline void {name}_outputs(const {name}_tile *tile, const uint16_t *p, const uint16_t *n,
                                  int relu, int8_t *codes)
{{
    uint32_t column;
    for (column = 0; column < {upper}_COLUMNS; column++) {{
        codes[column] = {name}_output(tile, column, p[column], n[column], relu);
    }}
}}
"""


def datapath_text(fmt: NmpuFormat, *, name: str) -> str:
    """Return the functions that turn counts into output codes.

    Parameters
    ----------
    fmt
        The format; its shift is not used, as each tile has its own.
    name
        What the names of functions and of the type ``NAME_tile`` begin with.
    """
    rounded = _ROUNDED[fmt.rounding].format(name=name)
    lowest = fmt.lowest_output
    return "\n".join(
        (
            _SHIFTS.format(name=name, rounding=fmt.rounding, rounded=rounded),
            (_SATURATE if fmt.saturate else _WRAP).format(name=name),
            _DATAPATH.format(
                name=name,
                upper=name.upper(),
                kept=fmt.scale_frac - fmt.off_frac - fmt.cut_pre,
                cut_pre=fmt.cut_pre,
                acc_bits=fmt.acc_bits,
                in_max=(1 << fmt.in_bits) - 1,
                middle=_middle(fmt, name),
                off_frac=fmt.off_frac,
                out_bits=fmt.out_bits,
                symmetric=(
                    f"    code = code < {lowest} ? {lowest} : code;\n" if fmt.symmetric else ""
                ),
            ),
        )
    )


def _middle(fmt: NmpuFormat, name: str) -> str:
    """Return how the branches meet, and where the offset is added."""
    lines = []
    offset = " + tile->offset[column]"
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        aligned = 1 << (fmt.scale_frac - fmt.off_frac)
        lines.append(f"product_p += tile->offset[column] * INT32_C({aligned});")
        offset = ""
    if fmt.merge is Merge.AFTER_SUBTRACT:
        lines.append(f"sum = {name}_compress(product_p - product_n, tile->shift){offset};")
    else:
        lines.append(f"sum = {name}_compress(product_p, tile->shift)")
        lines.append(f"    - {name}_compress(product_n, tile->shift){offset};")
    return "\n".join(f"    {line}" for line in lines)
