"""Programmed cores, calibrated and corrected: what every judging of a network begins with."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hil.inference.computing.multiplying import ChipLayers
from hil.inference.computing.readings import CoreReadings
from hil.inference.computing.tally import LayerTally
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.calibrating import (
    CalibrationTerms,
    calibrate_tiles,
    search_counts,
    vectors_used,
)
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.making import load_corrections, make_corrections
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.placing.folding import fold_layers, folded_layers

FOLDED = frozenset({CorrectionKind.FP16, CorrectionKind.NMPU})
"""Corrections that normalise, too, where it was folded into them."""


def calibrate_cores(
    prepared: PreparedNetwork,
    readings: CoreReadings,
    terms: CalibrationTerms,
    *,
    sample_counts: Mapping[int, npt.NDArray[np.uint16]] | None = None,
) -> CalibratedCores:
    """Calibrate every core, and fold what can be folded.

    Parameters
    ----------
    prepared
        The network; the cores are programmed with it.
    readings
        Who multiplies.
    terms
        How to fit.
    sample_counts
        What `search_counts` returned, if it was asked for already.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration, or the format cannot hold it.
    """
    calibrations = calibrate_tiles(
        prepared.quantised, prepared.tiles, readings, prepared.samples, terms
    )
    foldings = fold_layers(
        prepared.quantised,
        prepared.tiles,
        calibrations,
        prepared.ranges,
        fmt=terms.fmt,
        headroom=terms.headroom,
        sample_counts=(
            search_counts(prepared.tiles, readings, prepared.samples)
            if sample_counts is None
            else sample_counts
        ),
    )
    return CalibratedCores(
        calibrations=calibrations, foldings=foldings, nominal_gain=readings.facts.nominal_gain
    )


def corrected_layers(
    prepared: PreparedNetwork,
    readings: CoreReadings,
    kind: CorrectionKind,
    cores: CalibratedCores,
    *,
    tally: LayerTally | None = None,
) -> ChipLayers:
    """Return the layers of a network on calibrated cores, corrected in one way.

    A chip with a unit of its own has its registers loaded.
    """
    corrections = make_corrections(kind, cores, device=readings.device)
    load_corrections(readings, corrections)
    return ChipLayers(
        prepared.quantised,
        prepared.tiles,
        readings,
        corrections,
        folded=folded_layers(cores.foldings) if kind in FOLDED else frozenset(),
        vectors_before=vectors_used(prepared.tiles, prepared.samples),
        tally=tally,
    )
