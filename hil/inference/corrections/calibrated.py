"""What corrections are made of."""

from collections.abc import Mapping
from dataclasses import dataclass

from hil.inference.folding import FoldedTile, LayerFolding
from hil_calibration.calibrate import CoreCalibration


@dataclass(frozen=True, kw_only=True)
class CalibratedCores:
    """Calibrations of all cores, and what was folded into them."""

    calibrations: Mapping[int, CoreCalibration]
    """By core."""
    foldings: tuple[LayerFolding, ...] = ()
    """What `hil.inference.folding.fold_layers` returned, or nothing; FP16 unit and NMPU use it."""
    nominal_gain: float | None = None
    """Products that one count stands for by the chip's data sheet, 0 < nominal_gain. Where None,
    the median of all fitted gains stands for it."""

    @property
    def folded_tiles(self) -> dict[int, FoldedTile]:
        """Return what was folded, by core."""
        return {core: tile for one in self.foldings for core, tile in one.tiles.items()}
