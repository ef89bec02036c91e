"""The conditions of an evaluation, computed by many processes: the same bits as by one.

Conditions are cut into spans of images, each a whole number of the batches that one process would
compute, and noise follows from the numbers of the vectors: so it does not matter who computes what.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hil.inference.conditions.aging_chip import SpanResult, joined
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.outcome import Condition, ConditionResult
from hil.inference.conditions.plan import images_of
from hil.inference.conditions.predicting import BATCH
from hil.inference.evaluations.subject import Subject, located
from hil.inference.evaluations.tasks import SpanAnswer, SpanTask, predict_span
from hil.inference.findings.store import EvaluationFolder
from hil.scale.work_pool import WorkPool

_SPAN = 2 * BATCH
"""Images of one task: few, since Ctrl-C waits for those that were begun."""


def spread_conditions(
    subject: Subject, pool: WorkPool, *, folder: EvaluationFolder, observer: EvaluationObserver
) -> Iterator[ConditionResult]:
    """Predict under every condition, spread over workers; each result is stored at once.

    Raises
    ------
    ConfigError
        If a worker has other files or other software.
    CalibrationError
        If the readouts of a core allow no calibration.
    DatasetError
        If a result cannot be stored, or a stored one is damaged.
    WorkerLostError
        If a worker is gone.
    """
    known = {condition: folder.find(condition) for condition in subject.plan.conditions}
    found = _Found(subject=subject, folder=folder, observer=observer)
    missing = [condition for condition, stored in known.items() if stored is None]
    answers = pool.map(predict_span, _tasks(subject, missing), on_leftover=found.take)
    if missing:
        observer.on_stage(f"{pool.workers} workers: programming, calibrating")
    for condition, stored in known.items():
        if stored is not None:
            observer.on_images(found.images_of(condition))
            yield stored
            continue
        while condition not in found.results:
            answer = next(answers)
            found.take(answer)
            observer.on_images(len(answer.span.predictions))
        yield found.results[condition]


def _tasks(subject: Subject, conditions: list[Condition]) -> Iterator[SpanTask]:
    request, identity = located(subject.request), subject.whole_identity
    images = len(subject.loaded.images)
    for condition in conditions:
        for first in range(0, images, _SPAN):
            span = slice(first, min(first + _SPAN, images))
            yield SpanTask(request=request, identity=identity, condition=condition, span=span)


@dataclass(kw_only=True)
class _Found:
    """What workers have answered so far."""

    subject: Subject
    folder: EvaluationFolder
    observer: EvaluationObserver
    results: dict[Condition, ConditionResult] = field(default_factory=dict)
    _spans: dict[Condition, list[SpanResult]] = field(default_factory=dict)
    _kept_ages_s: set[float | None] = field(default_factory=set)

    def images_of(self, condition: Condition) -> int:
        loaded = self.subject.loaded
        judged, calibrating = len(loaded.images), len(loaded.calibration_images)
        return images_of(condition, judged=judged, calibrating=calibrating)

    def take(self, answer: SpanAnswer) -> None:
        """Take an answer; answers to the spans of a condition come in their order."""
        for age_s, tables in answer.calibrations.items():
            if age_s not in self._kept_ages_s:  # every worker makes the same
                self._kept_ages_s.add(age_s)
                self.folder.keep_tables(tables, age_s=age_s)
                if age_s == self.subject.plan.first_calibration:
                    self.observer.on_words(answer.words)
        condition, judged = answer.condition, len(self.subject.loaded.images)
        spans = self._spans.setdefault(condition, [])
        spans.append(answer.span)
        self.observer.on_stage(condition.words)
        if sum(len(span.predictions) for span in spans) == judged:
            result = joined(condition, tuple(self._spans.pop(condition)))
            self.folder.keep(result)
            self.observer.on_images(self.images_of(condition) - judged)
            self.results[condition] = result
