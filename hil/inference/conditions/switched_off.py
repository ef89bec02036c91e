"""What each flaw of a simulated chip costs: it is switched off, and the chip is judged again.

Each time the chip is programmed and calibrated anew, as a chip without the flaw would be, and the
same images are judged. Flaws do not add up: without one, another may matter more or less. Of a chip
at hand, or a recorded one, no flaw can be switched off: what each costs there is unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hil.inference.computing.execution import Execution, SumArithmetic
from hil.inference.computing.readings import CoreReadings
from hil.inference.conditions.comparing import PairedDifference, Share, accuracy, compare_paired
from hil.inference.conditions.corrected_layers import calibrate_cores, corrected_layers
from hil.inference.conditions.predicting import Predictions, classes_of
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.placing.quantised import program_tiles
from hil_mock_device.profile import MockProfile

if TYPE_CHECKING:
    import torch


PROFILE_FLAWS: Mapping[str, Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "weights: programming noise": {"array": {"programming_noise": 0.0}},
        "weights: stuck cells and dead columns": {
            "array": {"stuck_share": 0.0, "dead_column_chance": 0.0, "dead_column_share": 0.0}
        },
        "weights: read noise of the cells": {"read_noise": {"factor": 0.0}},
        "array: IR drop": {"ir_drop": {"factor": 0.0}},
        "array: polarity asymmetry": {"array": {"polarity_asymmetry": 0.0}},
        "converters: spread of gains and offsets": {
            "counter": {"gain_sigma": 0.0, "offset_sigma_counts": 0.0}
        },
        "converters: non-linearity": {"counter": {"inl_counts": 0.0, "curvature_sigma": 0.0}},
        "converters: noise of the counters": {"counter": {"read_noise_counts": 0.0}},
    }
)
"""What is switched off, and the profile's values without it, by section."""
WHOLE = "whole chip"
"""Nothing is switched off."""
CORRECTION = "correction: registers and integer arithmetic of the NMPU"
"""The flaw whose absence is the float correction."""
SUMS = "activations: residual sums in int8"
"""The flaw whose absence is float32 sums; inputs of a core are int8, and cannot be otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """A chip without one flaw."""

    flaw: str
    """Which."""
    cost: PairedDifference
    """What the whole chip loses against the one without the flaw, on the same images."""
    accuracy: Share
    """Of the one without the flaw."""


def without_flaw(profile: MockProfile, flaw: str) -> MockProfile:
    """Return a profile in which one of `PROFILE_FLAWS` is switched off.

    Raises
    ------
    KeyError
        If there is no such flaw.
    """
    sections: dict[str, Any] = {
        name: getattr(profile, name).model_copy(update=dict(values))
        for name, values in PROFILE_FLAWS[flaw].items()
    }
    return profile.model_copy(update=sections)


def chip_groups(profile: MockProfile) -> tuple[tuple[str, ...], ...]:
    """Return the flaws of a profile, `WHOLE` first; those of a group are judged on one chip."""
    flaws = [flaw for flaw in PROFILE_FLAWS if without_flaw(profile, flaw) != profile]
    return ((WHOLE, CORRECTION, SUMS), *((flaw,) for flaw in flaws))


def predict_group(
    group: Sequence[str],
    profile: MockProfile,
    prepared: PreparedNetwork,
    images: "torch.Tensor",
    *,
    open_readings: Callable[[MockProfile], CoreReadings],
    terms: CalibrationTerms,
) -> dict[str, Predictions]:
    """Program and calibrate the chip of a group, and predict without each of its flaws.

    Parameters
    ----------
    group
        One of `chip_groups`.
    profile
        The whole chip.
    prepared
        The network.
    images
        What is predicted.
    open_readings
        Returns who multiplies, of a profile.
    terms
        How to fit.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration.
    """
    is_whole = WHOLE in group
    changed = profile if is_whole else without_flaw(profile, group[0])
    chip = _CalibratedChip(open_readings(changed), prepared, terms)
    if not is_whole:
        return {group[0]: chip.predict(images)}
    return {
        WHOLE: chip.predict(images),
        CORRECTION: chip.predict(images, kind=CorrectionKind.FLOAT),
        SUMS: chip.predict(images, sums=SumArithmetic.FLOAT),
    }


def judge_flaws(
    predictions: Mapping[str, Predictions], labels: Predictions, *, seed: int = 0
) -> tuple[SwitchedOff, ...]:
    """Compare the whole chip with itself without each flaw.

    Parameters
    ----------
    predictions
        By flaw, `WHOLE` among them, shape (image,); nothing gives nothing.
    labels
        The right classes, shape (image,).
    seed
        Of the bootstrap.
    """
    return tuple(
        SwitchedOff(
            flaw=flaw,
            cost=compare_paired(predictions[WHOLE], without, labels, seed=seed),
            accuracy=accuracy(without, labels),
        )
        for flaw, without in predictions.items()
        if flaw != WHOLE
    )


class _CalibratedChip:
    def __init__(
        self, readings: CoreReadings, prepared: PreparedNetwork, terms: CalibrationTerms
    ) -> None:
        self._readings, self._prepared = readings, prepared
        readings.program(program_tiles(prepared.quantised, prepared.tiles))
        self._cores = calibrate_cores(prepared, readings, terms)

    def predict(
        self,
        images: "torch.Tensor",
        *,
        kind: CorrectionKind = CorrectionKind.NMPU,
        sums: SumArithmetic = SumArithmetic.INT8,
    ) -> Predictions:
        prepared, readings = self._prepared, self._readings
        execution = Execution(
            prepared.network,
            prepared.quantised,
            prepared.ranges,
            corrected_layers(prepared, readings, kind, self._cores),
            device=readings.device,
            sums=sums,
        )
        return classes_of(execution.run(images), condition=f"--switch-off, {kind}")
