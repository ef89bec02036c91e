"""The FP16 unit over large blocks; the reference is `hil_calibration.ldpu.apply_ldpu`."""

import numpy as np
import numpy.typing as npt

from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.rows import flat_rows
from hil_calibration.kernels.threads import over_chunks
from hil_calibration.ldpu import LdpuCoefficients, check_inputs

_CHUNK_VECTORS = 2048
"""Vectors in one piece of work: a millisecond for 256 columns, large against a call."""


def apply_ldpu_compiled(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    coefficients: LdpuCoefficients,
    *,
    relu: bool = False,
    addend: npt.NDArray[np.int8] | None = None,
    relu_after_add: bool = False,
    out: npt.NDArray[np.int8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.int8]:
    """Compute what `hil_calibration.ldpu.apply_ldpu` computes, bit for bit, compiled.

    Parameters
    ----------
    p_counts, n_counts, coefficients, relu, addend, relu_after_add
        As for `hil_calibration.ldpu.apply_ldpu`.
    out
        Where to write, shape (vector, column), C order; a new array if None.
    threads
        How many run at once; all usable cores if None.

    Returns
    -------
    Output codes, shape (vector, column), -128 to 127; NaN becomes 0.

    Raises
    ------
    ImportError
        If numba is not installed.
    ValueError
        If shapes or dtypes do not match.
    """
    numba_extra.require()
    check_inputs(p_counts, n_counts, coefficients, addend)
    shape = p_counts.shape
    if out is not None and (
        out.dtype != np.int8 or out.shape != shape or not out.flags.c_contiguous
    ):
        raise ValueError(f"out: must be int8 of shape {shape} in C order, got {out.dtype}")
    from hil_calibration.kernels import compiled_ldpu  # noqa: PLC0415 - numba costs 0.4 s

    outputs = np.empty(shape, np.int8) if out is None else out
    (p_flat, p_step), (n_flat, n_step) = flat_rows(p_counts), flat_rows(n_counts)
    numbers = _numbers(coefficients)
    has_bn = bool((numbers[3] != 1).any() or (numbers[4] != 0).any())
    lowest, lowest_after = (0.0 if clips else -np.inf for clips in (relu, relu_after_add))
    added = np.empty((0, shape[1]), np.int8) if addend is None else np.ascontiguousarray(addend)

    def run(first: int, stop: int) -> None:
        compiled_ldpu.ldpu_rows(
            p_flat, n_flat, p_step, n_step, numbers, has_bn, lowest, added[first:stop],
            lowest_after, first, outputs[first:stop],
        )  # fmt: skip

    over_chunks(run, shape[0], size=_CHUNK_VECTORS, threads=threads)
    return outputs


def _numbers(coefficients: LdpuCoefficients) -> npt.NDArray[np.float64]:
    """Return the FP16 numbers as float64, shape (number, column), in the order of the fields."""
    return np.stack(
        [
            coefficients.scale_p,
            coefficients.scale_n,
            coefficients.offset,
            coefficients.bn_scale,
            coefficients.bn_offset,
        ]
    ).astype(np.float64)
