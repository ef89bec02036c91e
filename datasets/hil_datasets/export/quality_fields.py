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


CIRCUMSTANCE_FIELDS = ("visit", "calibrated_utc", "age_s", "temperature_c", "setpoints")
"""Names of what tells under what a tile was calibrated, in order."""


def circumstance_of(tile: TileCoefficients) -> dict[str, Any]:
    """Return under what a tile was calibrated, by name; None for what is not known."""
    known = (
        tile.key.visit,
        tile.calibrated_utc or None,
        tile.age_s if math.isfinite(tile.age_s) else None,
        tile.temperature_c if math.isfinite(tile.temperature_c) else None,
        dict(tile.setpoints),
    )
    return dict(zip(CIRCUMSTANCE_FIELDS, known, strict=True))


def setpoint_words(tile: TileCoefficients) -> list[str]:
    """Return what was set as ``NAME=VALUE`` texts; the values read back to the same numbers."""
    return [f"{name}={value!r}" for name, value in tile.setpoints.items()]
