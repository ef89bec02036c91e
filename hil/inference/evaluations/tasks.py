"""What a worker of an evaluation is given: small, and enough to open everything itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.inference.computing.backends.profile import ProfileReadings, mock_profile
from hil.inference.conditions.aging_chip import SpanResult
from hil.inference.conditions.outcome import Condition
from hil.inference.conditions.predicting import Predictions
from hil.inference.conditions.switched_off import predict_group
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.evaluations.request import ChipChoice, EvaluationRequest
from hil.inference.evaluations.subject import Subject
from hil.inference.evaluations.worker_subject import worker_subject
from hil.inference.findings.core_tables import CoreTables
from hil_mock_device.profile import MockProfile


@dataclass(frozen=True, kw_only=True)
class SpanTask:
    """Some of the images under one condition."""

    request: EvaluationRequest
    """What is evaluated; its files have absolute paths."""
    identity: Mapping[str, str] = field(repr=False)
    """What whoever asks has opened."""
    condition: Condition
    """Which condition."""
    span: slice
    """Which images."""

    def __str__(self) -> str:
        return f"{self.condition.words}, images {self.span.start} to {self.span.stop - 1}"


@dataclass(frozen=True, kw_only=True)
class SpanAnswer:
    """What a worker found."""

    condition: Condition
    """Which condition."""
    span: SpanResult
    """For the images of the task."""
    calibrations: Mapping[float | None, CoreTables]
    """Those made for this task, by age, seconds; None of stored ones."""
    words: str
    """What is folded into the calibration that is kept, if it was made for this task."""


def predict_span(task: SpanTask) -> SpanAnswer:
    """Compute a task, in this process.

    Raises
    ------
    ConfigError
        If files or software are not those of whoever asks.
    CalibrationError
        If the readouts of a core allow no calibration.
    """
    with worker_subject(task.request, task.identity) as mine:
        span = mine.chip(task.condition.age_s).predict(task.condition, task.span)
        calibrations, words = mine.take_calibrations()
    return SpanAnswer(condition=task.condition, span=span, calibrations=calibrations, words=words)


@dataclass(frozen=True, kw_only=True)
class FlawTask:
    """A simulated chip, judged without some of its flaws."""

    request: EvaluationRequest
    """What is evaluated; its files have absolute paths."""
    identity: Mapping[str, str] = field(repr=False)
    """What whoever asks has opened."""
    group: tuple[str, ...]
    """One of `hil.inference.conditions.switched_off.chip_groups`."""

    def __str__(self) -> str:
        return f"without {self.group[-1]}"


def predict_flaws(task: FlawTask) -> dict[str, Predictions]:
    """Compute a task, in this process; raise as `predict_span`."""
    with worker_subject(task.request, task.identity) as mine:
        return predict_flaw_group(task.group, mine.subject, mine.prepared)


def predict_flaw_group(
    group: tuple[str, ...], subject: Subject, prepared: PreparedNetwork
) -> dict[str, Predictions]:
    """Judge the simulated chip of a subject without some of its flaws, by flaw."""
    chip = subject.request.chip
    mode = chip.read_mode or ReadMode.FOUR_PHASE
    return predict_group(
        group,
        simulated_profile(chip),
        prepared,
        subject.loaded.images,
        open_readings=lambda changed: ProfileReadings(changed, read_mode=mode),
        terms=subject.plan.terms,
    )


def simulated_profile(chip: ChipChoice) -> MockProfile:
    """Return the profile of a simulated chip.

    Raises
    ------
    ConfigError
        If it is none: of any other chip no flaw can be switched off.
    """
    if chip.resource is None:
        message = "needs a simulated chip: --device mock://PROFILE"
        raise ConfigError("--switch-off", [Problem("", message)])
    return mock_profile(chip.resource, base=chip.base, seed=chip.seed)
