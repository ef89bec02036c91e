"""The conditions of an evaluation: program, calibrate, and predict under one after the other.

Every condition sees the same images and, on a model of a chip, the same noise: the vectors of a
core have the same numbers each time. Conditions that a folder holds already are not computed again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hil.inference.calibrating import CalibrationTerms
from hil.inference.corrected_layers import calibrate_cores, corrected_layers
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.execution import Execution, SumArithmetic
from hil.inference.folding import describe_folding
from hil.inference.observing import EvaluationObserver
from hil.inference.outcome import Condition, ConditionResult
from hil.inference.predicting import predict_classes
from hil.inference.prepared import PreparedNetwork
from hil.inference.quantised import program_tiles
from hil.inference.readings import CoreReadings
from hil.inference.store import EvaluationFolder
from hil.inference.tally import LayerTally

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated."""

    corrections: tuple[CorrectionKind, ...]
    """In the order of the table."""
    ages_s: tuple[float, ...] = ()
    """Ages besides fresh, ascending."""
    terms: CalibrationTerms = field(repr=False)
    """How cores are calibrated."""
    sums: SumArithmetic = SumArithmetic.INT8
    """How two tensors are added."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition, by age.

        An aged chip is judged twice: with the corrections of its youth, and calibrated again.
        """
        fresh = [Condition(correction=str(kind)) for kind in self.corrections]
        aged = [
            Condition(correction=str(kind), age_s=age_s, is_recalibrated=is_recalibrated)
            for age_s in self.ages_s
            for is_recalibrated in (False, True)
            for kind in self.corrections
            if not is_recalibrated or kind is not CorrectionKind.NONE
        ]
        return (*fresh, *aged)


def evaluate_conditions(
    plan: EvaluationPlan,
    prepared: PreparedNetwork,
    readings: CoreReadings,
    images: "torch.Tensor",
    *,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> Iterator[ConditionResult]:
    """Program the cores, and predict under every condition; each result is stored at once.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration.
    DatasetError
        If a result cannot be stored, or a stored one is damaged.
    """
    known = {condition: folder.find(condition) for condition in plan.conditions}
    chip = None
    for condition, stored in known.items():
        if stored is not None:
            observer.on_images(len(images))
            yield stored
            continue
        chip = chip or _AgingChip(plan, prepared, readings, folder=folder, observer=observer)
        result = chip.predict(condition, images)
        folder.keep(result)
        yield result


class _AgingChip:
    """Programmed cores, as they become older, and their calibrations."""

    def __init__(
        self,
        plan: EvaluationPlan,
        prepared: PreparedNetwork,
        readings: CoreReadings,
        *,
        folder: EvaluationFolder,
        observer: EvaluationObserver,
    ) -> None:
        self._plan = plan
        self._prepared = prepared
        self._readings = readings
        self._folder = folder
        self._observer = observer
        self._age_s = 0.0
        observer.on_stage("programming")
        readings.program(program_tiles(prepared.quantised, prepared.tiles))
        self._first = self._newest = self._calibrate("calibrating")
        self._newest_age_s = 0.0
        observer.on_words(describe_folding(self._first.foldings))

    def predict(self, condition: Condition, images: "torch.Tensor") -> ConditionResult:
        """Predict all images under a condition that is not younger than the one before."""
        begun = time.monotonic()
        kind = CorrectionKind(condition.correction)
        cores = self._cores(condition)
        prepared, readings = self._prepared, self._readings
        clip_code = (1 << readings.facts.counter_bits) - 1
        tally = LayerTally(len(prepared.quantised), clip_code=clip_code)
        multiplier = corrected_layers(prepared, readings, kind, cores, tally=tally)
        execution = Execution(
            prepared.network,
            prepared.quantised,
            prepared.ranges,
            multiplier,
            device=readings.device,
            sums=self._plan.sums,
            tally=tally,
        )
        self._observer.on_stage(condition.name.replace("_", " "))
        return ConditionResult(
            condition=condition,
            predictions=predict_classes(
                images, lambda part, first: execution.run(part, first=first), self._observer
            ),
            layer_errors=tally.errors,
            layer_saturation=np.where(tally.is_counted, tally.saturation, np.nan),
            layer_folded=np.isin(np.arange(len(prepared.quantised)), list(multiplier.folded)),
            seconds=time.monotonic() - begun,
        )

    def _cores(self, condition: Condition) -> CalibratedCores:
        if condition.age_s > self._age_s:
            self._observer.on_stage("becoming older")
            self._readings.advance_time(condition.age_s - self._age_s)
            self._age_s = condition.age_s
        if not condition.is_recalibrated:
            return self._first
        if self._newest_age_s != self._age_s:
            self._newest = self._calibrate("calibrating again")
            self._newest_age_s = self._age_s
        return self._newest

    def _calibrate(self, stage: str) -> CalibratedCores:
        self._observer.on_stage(stage)
        cores = calibrate_cores(self._prepared, self._readings, self._plan.terms)
        self._folder.keep_cores(cores, age_s=self._age_s)
        return cores
