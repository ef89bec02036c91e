"""How far what leaves each layer is from exact arithmetic on the same inputs, and what clips."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


class LayerTally:
    """Sums over images; they fit in a few numbers per layer and batch.

    What is seen in parts, by several tallies, sums up to the same bits, in whatever order.

    Parameters
    ----------
    layers
        Number of layers.
    clip_code
        Lowest count that is a clipped one.
    """

    def __init__(self, layers: int, *, clip_code: int) -> None:
        self._clip_code = clip_code
        self.squared_errors: list[list[float]] = [[] for _ in range(layers)]
        """Of each batch, by layer."""
        self.squared_expected: list[list[float]] = [[] for _ in range(layers)]
        """Of each batch, by layer."""
        self.clipped = np.zeros(layers, dtype=np.int64)
        """Clipped counts, shape (layer,)."""
        self.counts = np.zeros(layers, dtype=np.int64)
        """All counts, shape (layer,)."""

    def add_counts(self, place: int, counts: "torch.Tensor") -> None:
        """See counts of a tile of a layer, any shape."""
        self.clipped[place] += int((counts >= self._clip_code).sum())
        self.counts[place] += counts.numel()

    def add_outputs(self, place: int, outputs: "torch.Tensor", expected: "torch.Tensor") -> None:
        """See what left a layer, and what exact arithmetic makes of the same input codes."""
        self.squared_errors[place].append(_sum_of_squares(outputs - expected))
        self.squared_expected[place].append(_sum_of_squares(expected))

    def add(self, other: "LayerTally") -> None:
        """See what another tally of the same layers saw, of other images."""
        for mine, theirs in (
            (self.squared_errors, other.squared_errors),
            (self.squared_expected, other.squared_expected),
        ):
            for sums, more in zip(mine, theirs, strict=True):
                sums.extend(more)
        self.clipped += other.clipped
        self.counts += other.counts

    @property
    def errors(self) -> npt.NDArray[np.float64]:
        """Relative L2 error over all images, shape (layer,); NaN where nothing was expected."""
        # fsum rounds once: the same bits however the images were cut.
        error = np.array([math.fsum(sums) for sums in self.squared_errors])
        expected = np.array([math.fsum(sums) for sums in self.squared_expected])
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = np.sqrt(error / expected)
        return np.where(expected > 0, relative, np.nan)

    @property
    def is_counted(self) -> npt.NDArray[np.bool_]:
        """Whether any count was seen, shape (layer,)."""
        return np.asarray(self.counts > 0)

    @property
    def saturation(self) -> npt.NDArray[np.float64]:
        """Share of clipped counts, shape (layer,); 0 where no count was seen."""
        return np.asarray(self.clipped / np.maximum(self.counts, 1))


def _sum_of_squares(values: "torch.Tensor") -> float:
    # numpy adds in the same order always; torch's order depends on the number of its threads.
    return float(np.sum(values.square().cpu().numpy(), dtype=np.float64))
