"""What corrections are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hil.inference.placing.folding import FoldedTile, LayerFolding
from hil_calibration.calibrate import CoreCalibration


@dataclass(frozen=True, kw_only=True)
class CalibratedCores:
    """Calibrations of all cores, and what was folded into them."""

    calibrations: Mapping[int, CoreCalibration]
    """By core."""
    foldings: tuple[LayerFolding, ...] = ()
    """What `hil.inference.placing.folding.fold_layers` returned, or nothing; for FP16 and NMPU."""
    nominal_gain: float | None = None
    """Products that one count stands for by the chip's data sheet, 0 < nominal_gain. Where None,
    the median of all fitted gains stands for it."""

    units: Mapping[int, FoldedTile] = field(default_factory=dict)
    """What FP16 unit and NMPU compute instead of the calibration's own codes where nothing is
    folded, by core: of stored calibrations, whose output steps were chosen for other outputs."""

    @property
    def folded_tiles(self) -> dict[int, FoldedTile]:
        """Return what was folded, by core."""
        return {core: tile for one in self.foldings for core, tile in one.tiles.items()}

    @property
    def own_units(self) -> dict[int, FoldedTile]:
        """Return what FP16 unit and NMPU compute that is not the calibration's own, by core."""
        return {**self.units, **self.folded_tiles}
