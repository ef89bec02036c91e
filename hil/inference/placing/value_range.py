"""How large the values of one tensor become, from batches, in fixed memory.

The magnitudes are kept as a histogram whose top doubles when a larger one comes, so that nothing
needs to be looked at twice. Every rule to choose a range reads from it.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

LARGEST_CODE = 127
"""Largest magnitude of an int8 code; -128 does not exist in sign and magnitude."""
_BINS = 4096
"""At least half of them are in use: 16 and more for each step of the codes."""
_PERCENTILE = 99.99
"""Share of the magnitudes that the percentile keeps, percent (a common choice; NVIDIA TensorRT
offers 99.9 to 99.9999)."""
_KEPT = 0.9
"""Weight of the past in the moving average (torch.ao.quantization takes 0.99, for many more
batches than a calibration has)."""
_SEARCHED = 120
"""Ranges that the search tries, down to a fifth of the largest magnitude."""


class RangeRule(StrEnum):
    """How the range of a tensor follows from its values."""

    MAX = "max"
    """The largest magnitude: nothing is clipped."""
    PERCENTILE = "percentile"
    """The magnitude that 99.99 % do not pass."""
    MOVING_AVERAGE = "moving-average"
    """Moving average of the largest magnitudes of the batches."""
    SEARCH = "search"
    """The range whose int8 codes have the least mean squared error."""


class ValueRange:
    """What was seen of one tensor."""

    def __init__(self) -> None:
        self._largest = 0.0
        self._average: float | None = None
        self._counts = np.zeros(_BINS)
        self._top = 0.0

    def add(self, values: "torch.Tensor") -> None:
        """See a batch, any shape."""
        import torch  # noqa: PLC0415 - the extra `inference`

        magnitudes = values.detach().abs().flatten().to(torch.float32)
        if not magnitudes.numel():
            return
        most = float(magnitudes.max())
        self._largest = max(self._largest, most)
        past = most if self._average is None else self._average
        self._average = _KEPT * past + (1 - _KEPT) * most
        if most == 0:
            self._counts[0] += magnitudes.numel() if self._top else 0
            return
        self._make_room(most)
        seen = torch.histc(magnitudes, bins=_BINS, min=0.0, max=self._top)
        self._counts += seen.cpu().numpy()

    def limit(self, rule: RangeRule) -> float:
        """Return the magnitude that the largest code shall stand for; 1 if all values were 0."""
        if self._largest == 0 or self._average is None:
            return 1.0
        if rule is RangeRule.MAX:
            return self._largest
        if rule is RangeRule.MOVING_AVERAGE:
            return self._average
        if rule is RangeRule.PERCENTILE:
            return self._percentile()
        return self._search()

    def _make_room(self, most: float) -> None:
        if not self._top:
            self._top = most
        while self._top < most:
            self._top *= 2
            joined = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.concatenate([joined, np.zeros(_BINS // 2)])

    def _percentile(self) -> float:
        share = np.cumsum(self._counts) / self._counts.sum()
        place = int(np.searchsorted(share, _PERCENTILE / 100))
        return min((place + 1) * self._top / _BINS, self._largest)

    def _search(self) -> float:
        centres = (np.arange(_BINS, dtype=np.float64) + 0.5) * (self._top / _BINS)
        shares = np.linspace(0.2, 1.0, _SEARCHED, dtype=np.float64)
        tried = [float(share) * self._largest for share in shares]
        errors = [_squared_error(centres, self._counts, limit) for limit in tried]
        return tried[int(np.argmin(errors))]


def _squared_error(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], limit: float
) -> float:
    step = limit / LARGEST_CODE
    held = np.minimum(np.rint(values / step), LARGEST_CODE) * step
    return float(np.dot(counts, np.square(held - values)))
