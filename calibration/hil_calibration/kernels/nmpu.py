"""The NMPU over large blocks of counts; the reference is `hil_calibration.nmpu.nmpu_outputs`."""

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.datapath import Datapath, datapath_of
from hil_calibration.kernels.rows import flat_rows, interleaved_words
from hil_calibration.kernels.threads import over_chunks

_CHUNK_VECTORS = 8192
"""Vectors in one piece of work: 8 MiB of counts for 256 columns, large against a call."""


def apply_nmpu_compiled(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    fmt: NmpuFormat,
    *,
    relu: bool = False,
    out: npt.NDArray[np.int8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.int8]:
    """Compute what `hil_calibration.nmpu.apply_nmpu` computes, bit for bit, at the speed of memory.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column); larger ones than ``2**fmt.in_bits - 1`` saturate.
    registers
        Register codes, one of each per column.
    fmt
        The unit's widths and roundings.
    relu
        Whether negative outputs become 0.
    out
        Where to write, shape (vector, column), C order; a new array if None. New memory costs more
        than the arithmetic, so a stream of blocks should give the same one again.
    threads
        How many run at once; all usable cores if None.

    Returns
    -------
    Output codes, shape (vector, column).

    Raises
    ------
    ImportError
        If numba is not installed.
    ValueError
        If shapes or dtypes do not match, or a register code does not fit its register.
    """
    numba_extra.require()
    registers.check_fits(fmt)
    _check_arrays(p_counts, n_counts, registers, out)
    from hil_calibration.kernels import compiled_nmpu  # noqa: PLC0415 - numba costs 0.4 s

    outputs = np.empty(p_counts.shape, np.int8) if out is None else out
    path = datapath_of(fmt, relu=relu)
    (p_flat, p_step), (n_flat, n_step) = flat_rows(p_counts), flat_rows(n_counts)
    shared = (p_flat, n_flat, p_step, n_step, interleaved_words(p_counts, n_counts))

    def run(first: int, stop: int) -> None:
        piece = outputs[first:stop]
        if path.is_affine:
            compiled_nmpu.affine_rows(*shared, coefficients, path, first, piece)
        else:
            compiled_nmpu.general_rows(*shared, codes, registers.swap, path, first, piece)

    codes = _codes(registers, path)
    coefficients = _affine(codes, registers.swap, path)
    over_chunks(run, p_counts.shape[0], size=_CHUNK_VECTORS, threads=threads)
    return outputs


def _codes(registers: NmpuRegisters, path: Datapath) -> npt.NDArray[np.int32]:
    """Return scales, the offset that joins the product and the one that follows, (4, column)."""
    offset = registers.offset.astype(np.int32)
    return np.stack(
        [
            registers.scale_p.astype(np.int32),
            registers.scale_n.astype(np.int32),
            (offset << path.offset_lift) * path.is_offset_first,
            offset * ~path.is_offset_first,
        ]
    ).astype(np.int32)


def _affine(
    codes: npt.NDArray[np.int32], swap: npt.NDArray[np.bool_], path: Datapath
) -> npt.NDArray[np.int32]:
    """Fold swap bits and rounding constants into the codes, shape (4, column).

    With P and N swapped, ``N * Sp - P * Sn`` is ``P * (-Sn) + N * Sp``. Dropping bits and then
    rounding half up is one rounding: ``((d >> c) + h) >> k == (d + (h << c)) >> (c + k)``.
    """
    scale_p, scale_n, early, late = codes
    return np.stack(
        [
            np.where(swap, -scale_n, scale_p),
            np.where(swap, scale_p, -scale_n),
            early + (path.compress.add << path.cut_pre),
            late + path.last.add,
        ]
    ).astype(np.int32)


def _check_arrays(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    out: npt.NDArray[np.int8] | None,
) -> None:
    shape = p_counts.shape
    if p_counts.dtype != np.uint16 or n_counts.dtype != np.uint16:
        raise ValueError(f"counts must be uint16, got {p_counts.dtype} and {n_counts.dtype}")
    if len(shape) != 2 or n_counts.shape != shape or registers.swap.shape != shape[1:]:
        raise ValueError(
            "p_counts and n_counts must share one shape (vector, column) with the registers, got "
            f"{shape}, {n_counts.shape} and {registers.swap.shape}"
        )
    if out is not None and (
        out.dtype != np.int8 or out.shape != shape or not out.flags.c_contiguous
    ):
        raise ValueError(f"out: must be int8 of shape {shape} in C order, got {out.dtype}")
