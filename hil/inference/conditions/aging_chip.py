"""A programmed chip that becomes older: calibrated, treated, and asked for predictions."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.inference.computing.execution import Execution
from hil.inference.computing.readings import CoreReadings
from hil.inference.computing.tally import LayerTally
from hil.inference.conditions.adabs import MOST_IMAGES
from hil.inference.conditions.corrected_layers import calibrate_cores, corrected_layers
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.outcome import Condition, ConditionResult
from hil.inference.conditions.plan import EvaluationPlan
from hil.inference.conditions.predicting import Predictions, predict_classes
from hil.inference.conditions.treated_cores import TreatedCores, adapt_cores
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.calibrating import search_counts
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.corrections.stored_cores import stored_cores
from hil.inference.placing.quantised import program_tiles
from hil_calibration.calibrate import CoreCalibration

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class SpanResult:
    """What came out for some of the images under one condition."""

    predictions: Predictions
    """Classes, shape (image,)."""
    tally: LayerTally
    """What left the layers."""
    layer_folded: npt.NDArray[np.bool_]
    """As in `ConditionResult`."""
    seconds: float
    """How long it took."""


def joined(condition: Condition, spans: tuple[SpanResult, ...]) -> ConditionResult:
    """Return the result of a condition from its spans, in the order of the images, at least one."""
    first = spans[0]
    tally = LayerTally(len(first.layer_folded), clip_code=0)
    for span in spans:
        tally.add(span.tally)
    return ConditionResult(
        condition=condition,
        predictions=np.concatenate([span.predictions for span in spans]),
        layer_errors=tally.errors,
        layer_saturation=np.where(tally.is_counted, tally.saturation, np.nan),
        layer_folded=first.layer_folded,
        seconds=sum(span.seconds for span in spans),
    )


class AgingChip:
    """Programmed cores, as they become older, and their calibrations.

    It is programmed and calibrated at once.

    Parameters
    ----------
    plan
        What is evaluated.
    prepared
        The network.
    readings
        Who multiplies.
    images
        All images to judge.
    observer
        Is told how it goes.
    on_calibrated
        Gets calibrations, and the age at which they were made, seconds; None of stored ones.
    stored
        Calibrations that a run has stored, by core, to begin with; calibrated at once where None.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        prepared: PreparedNetwork,
        readings: CoreReadings,
        images: "torch.Tensor",
        *,
        observer: EvaluationObserver,
        on_calibrated: Callable[[CalibratedCores, float | None], None],
        stored: Mapping[int, CoreCalibration] | None = None,
    ) -> None:
        self._plan = plan
        self._prepared = prepared
        self._readings = readings
        self._images = images
        self._observer = observer
        self._on_calibrated = on_calibrated
        self._age_s = 0.0
        self._treated: dict[tuple[Treatment, CorrectionKind | None], TreatedCores] = {}
        self._search_counts: Mapping[int, npt.NDArray[np.uint16]] | None = None
        observer.on_stage("programming")
        readings.program(program_tiles(prepared.quantised, prepared.tiles))
        self._first = (
            self._calibrate("calibrating") if stored is None else self._take_stored(stored)
        )

    @property
    def age_s(self) -> float:
        """Seconds since it was programmed."""
        return self._age_s

    def predict(self, condition: Condition, span: slice) -> SpanResult:
        """Predict some of the images under a condition that is not younger than the chip is."""
        begun = time.monotonic()
        kind = CorrectionKind(condition.correction)
        self._become(condition.age_s)
        treated = self._treat(condition.treatment, kind)
        prepared, readings = self._prepared, self._readings
        clip_code = (1 << readings.facts.counter_bits) - 1
        tally = LayerTally(len(prepared.quantised), clip_code=clip_code)
        multiplier = corrected_layers(prepared, readings, kind, treated.cores, tally=tally)
        execution = Execution(
            prepared.network,
            prepared.quantised,  # as trained: what leaves a layer is held against that
            prepared.ranges,
            multiplier,
            device=readings.device,
            sums=self._plan.sums,
            tally=tally,
            instead=treated.instead,
        )
        self._observer.on_stage(condition.words)
        return SpanResult(
            predictions=predict_classes(
                self._images[span],
                lambda part, first: execution.run(part, first=span.start + first),
                self._observer,
                condition=condition.words,
            ),
            tally=tally,
            layer_folded=np.isin(np.arange(len(prepared.quantised)), list(multiplier.folded)),
            seconds=time.monotonic() - begun,
        )

    def _become(self, age_s: float) -> None:
        """Become older step by step, as all do that evaluate this plan: so sums are the same."""
        for step_s in self._plan.ages_s:
            if self._age_s < step_s <= age_s:
                self._observer.on_stage("becoming older")
                self._readings.advance_time(step_s - self._age_s)
                self._age_s = step_s
                self._treated.clear()
                self._search_counts = None

    def _treat(self, treatment: Treatment, kind: CorrectionKind) -> TreatedCores:
        if treatment is Treatment.KEPT:
            return TreatedCores(cores=self._first)
        key = (treatment, kind if treatment is Treatment.ADABS else None)
        if key not in self._treated:
            self._treated[key] = (
                self._adapt(kind)
                if treatment is Treatment.ADABS
                else TreatedCores(cores=self._calibrate("calibrating again"))
            )
        return self._treated[key]

    def _adapt(self, kind: CorrectionKind) -> TreatedCores:
        self._observer.on_stage("estimating batch norms again")
        prepared, readings = self._prepared, self._readings
        if self._search_counts is None:
            self._search_counts = search_counts(prepared.tiles, readings, prepared.samples)
        adapted = adapt_cores(
            kind,
            self._first,
            prepared,
            readings,
            terms=self._plan.terms,
            sums=self._plan.sums,
            sample_counts=self._search_counts,
            first_image=len(self._images),
        )
        self._observer.on_images(min(len(prepared.calibration_images), MOST_IMAGES))
        return adapted

    def _take_stored(self, stored: Mapping[int, CoreCalibration]) -> CalibratedCores:
        self._observer.on_stage("codes for the stored coefficients")
        cores = stored_cores(self._prepared, stored, self._readings.facts, self._plan.terms)
        self._on_calibrated(cores, None)
        return cores

    def _calibrate(self, stage: str) -> CalibratedCores:
        self._observer.on_stage(stage)
        cores = calibrate_cores(self._prepared, self._readings, self._plan.terms)
        self._on_calibrated(cores, self._age_s)
        return cores
