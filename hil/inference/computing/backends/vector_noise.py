"""White noise of counters that follows from the number of the vector, the same on every device.

Two tables hold normal numbers; a hash of seed, core and vector chooses a row of each, and the noise
is their sum. Fetching rows costs a fraction of drawing numbers. Two vectors of a core have the same
noise with a chance of 2**-20, and half of its variance in common with one of 2**-9. In each table
every column has mean 0 and variance 1/2 exactly, so that what vectors share does not add up.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

_ROW_BITS = 10
"""2 MiB a table at 256 columns: rows come from the cache."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class VectorNoise:
    """Noise of the counters of all cores.

    Parameters
    ----------
    seed
        What it depends on.
    columns
        Columns of a core.
    device
        Where tensors are.
    """

    def __init__(self, seed: int, *, columns: int, device: "torch.device") -> None:
        self._seed = seed
        self._columns = columns
        self._device = device
        self._tables: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def rows(self, core: int, *, first: int, vectors: int) -> "torch.Tensor":
        """Return the row of each table for some vectors of a core, int64 (table, vector)."""
        import torch  # noqa: PLC0415 - the extra `inference`

        chosen = chosen_rows(self._seed, core, first=first, vectors=vectors)
        return torch.from_numpy(chosen).to(self._device)

    def tables(self, columns: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return both tables, float32 (row, polarity, column), of the columns in use.

        The noise of a vector, of variance 1, is the sum of its two rows.
        """
        if columns not in self._tables:
            self._tables[columns] = self._cut_tables(columns)
        return self._tables[columns]

    def _cut_tables(self, columns: int) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch  # noqa: PLC0415 - the extra `inference`

        left, right = (
            torch.tensor(table[:, :, :columns], device=self._device).contiguous()
            for table in normal_tables(self._columns)
        )
        return left, right


def chosen_rows(seed: int, core: int, *, first: int, vectors: int) -> npt.NDArray[np.int64]:
    """Return the row of each table for some vectors, shape (table, vector).

    Source: the finaliser of SplitMix64 (G. Steele et al., OOPSLA 2014).
    """
    key = int(np.random.SeedSequence([seed, core]).generate_state(1, np.uint64)[0])
    number = np.arange(first, first + vectors, dtype=np.uint64)
    state = np.uint64(key) + (number + np.uint64(1)) * _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    mask = np.uint64((1 << _ROW_BITS) - 1)
    return np.stack([state & mask, (state >> np.uint64(32)) & mask]).astype(np.int64)


@cache
def normal_tables(columns: int) -> npt.NDArray[np.float32]:
    """Return both tables, shape (table, row, polarity, column), variance 1/2 in each column."""
    rng = np.random.default_rng([columns, 0x6E6F6973])
    table = rng.standard_normal((2, 1 << _ROW_BITS, 2, columns), dtype=np.float32)
    table -= table.mean(axis=1, keepdims=True)
    table /= table.std(axis=1, keepdims=True) * np.float32(np.sqrt(2))
    table.flags.writeable = False
    return table
