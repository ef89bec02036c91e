"""Correcting many vectors block by block."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hil.inference.computing.blockwise import for_each_block

if TYPE_CHECKING:
    import torch


def correct_in_blocks(
    counts: "torch.Tensor",
    correct: Callable[["torch.Tensor"], "torch.Tensor"],
    *,
    dtype: "torch.dtype",
    factor: float = 1.0,
) -> "torch.Tensor":
    """Correct counts.

    Parameters
    ----------
    counts
        Shape (vector, polarity, column).
    correct
        Returns (vector, column) for some of them; several threads may call it.
    dtype
        Of what is returned.
    factor
        What results are multiplied by, rounded to float32 once.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    vectors, _, columns = counts.shape
    outputs = torch.empty((vectors, columns), dtype=dtype, device=counts.device)

    def work(first: int, stop: int) -> None:
        found = outputs[first:stop].copy_(correct(counts[first:stop]))
        if factor != 1.0:
            found.mul_(factor)

    for_each_block(work, vectors, values=2 * columns, device=counts.device)
    return outputs
