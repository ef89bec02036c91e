"""How far what leaves each layer is from exact arithmetic on the same inputs, and what clips."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


class LayerTally:
    """Sums over images; they fit in a few numbers per layer.

    Parameters
    ----------
    layers
        Number of layers.
    clip_code
        Lowest count that is a clipped one.
    """

    def __init__(self, layers: int, *, clip_code: int) -> None:
        self._clip_code = clip_code
        self._squared_error = np.zeros(layers)
        self._squared_expected = np.zeros(layers)
        self._clipped = np.zeros(layers, dtype=np.int64)
        self._counts = np.zeros(layers, dtype=np.int64)

    def add_counts(self, place: int, counts: "torch.Tensor") -> None:
        """See counts of a tile of a layer, any shape."""
        self._clipped[place] += int((counts >= self._clip_code).sum())
        self._counts[place] += counts.numel()

    def add_outputs(self, place: int, outputs: "torch.Tensor", expected: "torch.Tensor") -> None:
        """See what left a layer, and what exact arithmetic makes of the same input codes."""
        import torch  # noqa: PLC0415 - the extra `inference`

        self._squared_error[place] += float(torch.square(outputs - expected).sum())
        self._squared_expected[place] += float(torch.square(expected).sum())

    @property
    def errors(self) -> npt.NDArray[np.float64]:
        """Relative L2 error over all images, shape (layer,); NaN where nothing was expected."""
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = np.sqrt(self._squared_error / self._squared_expected)
        return np.where(self._squared_expected > 0, relative, np.nan)

    @property
    def is_counted(self) -> npt.NDArray[np.bool_]:
        """Whether any count was seen, shape (layer,)."""
        return np.asarray(self._counts > 0)

    @property
    def saturation(self) -> npt.NDArray[np.float64]:
        """Share of clipped counts, shape (layer,); 0 where no count was seen."""
        return np.asarray(self._clipped / np.maximum(self._counts, 1))
