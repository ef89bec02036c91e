"""An aged chip after a treatment: what its layers are corrected and normalised with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hil.inference.computing.execution import SumArithmetic
from hil.inference.computing.readings import CoreReadings
from hil.inference.conditions.adabs import adapt_batch_norms
from hil.inference.conditions.corrected_layers import FOLDED, corrected_layers
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.networks.graph_walk import Compute
from hil.inference.placing.folding import LayerFolding, fold_layers


@dataclass(frozen=True, kw_only=True)
class TreatedCores:
    """What the layers of a chip are corrected and normalised with."""

    cores: CalibratedCores
    """Calibrations, and what is folded into them."""
    instead: Mapping[str, Compute] = field(default_factory=dict)
    """What computes the normalisations, by node, where they were estimated again."""


def adapt_cores(
    kind: CorrectionKind,
    first: CalibratedCores,
    prepared: PreparedNetwork,
    readings: CoreReadings,
    *,
    terms: CalibrationTerms,
    sums: SumArithmetic,
    sample_counts: Mapping[int, npt.NDArray[np.uint16]],
    first_image: int,
) -> TreatedCores:
    """Keep the calibrations of a chip, and estimate batch normalisation again through it.

    Parameters
    ----------
    kind
        The correction: each lets another output through.
    first
        The calibrations.
    prepared
        The network; the cores hold it.
    readings
        Who multiplies, at the age it is now.
    terms
        How register codes are chosen where normalisation is folded into them.
    sums
        How two tensors are added.
    sample_counts
        What `hil.inference.corrections.calibrating.search_counts` returned at this age.
    first_image
        Number of the first calibration image: its noise is not that of an image to judge.

    Raises
    ------
    ConfigError
        If the network has no batch normalisation.
    """
    adapted = adapt_batch_norms(
        prepared.network,
        prepared.quantised,
        prepared.ranges,
        corrected_layers(prepared, readings, kind, replace(first, foldings=())),
        prepared.calibration_images,
        device=readings.device,
        sums=sums,
        first=first_image,
    )
    foldings: tuple[LayerFolding, ...] = ()
    if kind in FOLDED:
        foldings = fold_layers(
            adapted.quantised,
            prepared.tiles,
            first.calibrations,
            prepared.ranges,
            fmt=terms.fmt,
            headroom=terms.headroom,
            sample_counts=sample_counts,
        )
    return TreatedCores(
        cores=replace(first, foldings=foldings), instead=adapted.computations(readings.device)
    )
