"""Which numbers about a column's quality and a tile's circumstance are exported, and as what."""

import math
from typing import Any

from hil_datasets.coefficients import TileCoefficients

QUALITY_FIELDS = (
    "effective_bits", "inl", "residual_rms", "noise_rms", "saturated_share", "outlier_share",
    "condition", "glitch_share",
)  # fmt: skip
"""Names of the numbers, in order: those of `ColumnQuality` but for the INL curve."""


def quality_by_field(tile: TileCoefficients) -> dict[str, list[float | None]]:
    """Return the numbers of every column by name; None where one is not known or not finite."""
    columns = len(tile.flags)
    if tile.quality is None:
        return {name: [None] * columns for name in QUALITY_FIELDS}
    return {
        name: [
            value if math.isfinite(value) else None
            for value in getattr(tile.quality, name).tolist()
        ]
        for name in QUALITY_FIELDS
    }


def circumstance_of(tile: TileCoefficients) -> dict[str, Any]:
    """Return under what a tile was calibrated; nothing where the run has no other calibration."""
    if tile.setpoints is None:
        return {}
    return {"visit": tile.key.visit, "setpoints": dict(tile.setpoints)}
