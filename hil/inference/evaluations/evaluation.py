"""The conditions of an evaluation: program, calibrate, and predict under one after the other.

Every condition sees the same images and, on a model of a chip, the same noise: the vectors of a
core have the same numbers each time. Conditions that a folder holds already are not computed again.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hil.inference.computing.readings import CoreReadings
from hil.inference.conditions.aging_chip import AgingChip, joined
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.outcome import ConditionResult
from hil.inference.conditions.plan import EvaluationPlan, images_of
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.findings.store import EvaluationFolder
from hil.inference.placing.folding import describe_folding
from hil_calibration.calibrate import CoreCalibration

if TYPE_CHECKING:
    import torch


def evaluate_conditions(
    plan: EvaluationPlan,
    prepared: PreparedNetwork,
    readings: CoreReadings,
    images: "torch.Tensor",
    *,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
    stored: Mapping[int, CoreCalibration] | None = None,
) -> Iterator[ConditionResult]:
    """Program the cores, and predict under every condition; each result is kept at once.

    Parameters
    ----------
    plan, prepared, readings, images, stored
        As for `AgingChip`.
    folder
        What is known is not computed again.
    observer
        Is told how it goes.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration.
    DatasetError
        If a result cannot be stored, or a stored one is damaged.
    """
    calibrating = len(prepared.calibration_images)

    def keep_cores(cores: CalibratedCores, age_s: float | None) -> None:
        folder.keep_cores(cores, age_s=age_s)
        if age_s == plan.first_calibration:
            observer.on_words(describe_folding(cores.foldings))

    known = {condition: folder.find(condition) for condition in plan.conditions}
    chip = None
    for condition, found in known.items():
        if found is not None:
            observer.on_images(images_of(condition, judged=len(images), calibrating=calibrating))
            yield found
            continue
        chip = chip or AgingChip(
            plan,
            prepared,
            readings,
            images,
            observer=observer,
            on_calibrated=keep_cores,
            stored=stored,
        )
        result = joined(condition, (chip.predict(condition, slice(0, len(images))),))
        folder.keep(result)
        yield result
