"""Blocks of counts as flat memory, which compiled loops read with vector instructions."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.uint16]


def flat_rows(counts: Counts) -> tuple[Counts, int]:
    """Return the memory of a block from its first count on, and the counts from row to row.

    P and N of one readout are interleaved rows of one array, which numba would take for an array
    with any stride and not vectorise.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, column), of any layout; copied if the counts of a row are
        not next to each other.
    """
    vectors, columns = counts.shape
    row_bytes, column_bytes = counts.strides
    if column_bytes != counts.itemsize or row_bytes < columns * counts.itemsize or row_bytes % 2:
        counts = np.ascontiguousarray(counts)
        row_bytes = columns * counts.itemsize
    step = row_bytes // counts.itemsize
    length = (vectors - 1) * step + columns if vectors else 0
    flat = np.lib.stride_tricks.as_strided(counts, (length,), (counts.itemsize,), writeable=False)
    return flat, step


def interleaved_words(p_counts: Counts, n_counts: Counts) -> npt.NDArray[np.int32]:
    """Return the memory of P and N as 32-bit words if they are halves of one block, else none.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column): ``block[:, 0]`` and ``block[:, 1]`` of a block of
        shape (vector, polarity, column) in C order, or anything else.

    Returns
    -------
    Words in the order of their addresses, one vector taking as many as there are columns; empty
    if the two are not halves of one block.
    """
    vectors, columns = p_counts.shape
    row_bytes = columns * p_counts.itemsize
    is_block = (
        p_counts.strides == n_counts.strides == (2 * row_bytes, p_counts.itemsize)
        and n_counts.ctypes.data - p_counts.ctypes.data == row_bytes
    )
    if not is_block:
        return np.empty(0, np.int32)
    length = 2 * vectors * columns
    flat = np.lib.stride_tricks.as_strided(
        p_counts, (length,), (p_counts.itemsize,), writeable=False
    )
    return flat.view(np.int32)
