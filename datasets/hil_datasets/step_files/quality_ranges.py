"""Which numbers of a column's quality can be meant."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_LARGEST = float(np.finfo(np.float64).max)
_QUALITY_RANGES = {
    "effective_bits": (0.0, math.inf),
    "inl": (0.0, _LARGEST),
    "inl_edges": (0.0, 65535.0),
    "inl_curve": (-_LARGEST, _LARGEST),
    "residual_rms": (0.0, _LARGEST),
    "noise_rms": (0.0, _LARGEST),
    "saturated_share": (0.0, 1.0),
    "outlier_share": (0.0, 1.0),
    "condition": (1.0, math.inf),
    "glitch_share": (0.0, 1.0),
}
"""Least and largest value of each number of `ColumnQuality`; a noise may be NaN as well."""


def quality_misfit(name: str, array: npt.NDArray[Any]) -> str:
    """Say which number of a column cannot be meant; nothing if all can.

    Parameters
    ----------
    name
        Field of `ColumnQuality`.
    array
        Its numbers; columns along the last axis.
    """
    lowest, highest = _QUALITY_RANGES[name]
    is_meant = (array >= lowest) & (array <= highest)
    if name == "noise_rms":
        is_meant |= np.isnan(array)
    if is_meant.all():
        return ""
    place = tuple(np.argwhere(~is_meant)[0])
    return f"of column {place[-1]} is {array[place]}: must be {lowest:g} to {highest:g}"
