"""What a run found, in numbers: per core and read mode, and for the layer they make up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hil.core.correction import ColumnFlag
from hil.core.errors import DatasetError, Problem
from hil.core.readout import ReadMode
from hil.report.guard_alarms import AlarmSummary, summarize_alarms
from hil.report.layer_sum import is_layer_whole, last_layer_visit, layer_errors
from hil.report.programming import has_nmpu, steps_begun_anew
from hil.report.quality import CalibratedColumns, QualitySummary, summarize_quality
from hil.report.run_facts import (
    ConditionSummary,
    LinkSummary,
    summarize_conditions,
    summarize_link,
)
from hil.report.visits import VisitedStep, VisitSummary, recalibrations, summarize_visits
from hil_calibration.quality import is_calibrated
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.journal import last_stop
from hil_datasets.run_source import (
    ConcludedStep,
    RunSource,
)
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_conditions import Condition

_WELL_KNOWN = 0.1
"""Standard error over gain up to which a gain counts in the spread."""

_QUIET = ColumnFlag.UNUSED | ColumnFlag.NEGATIVE_GAIN | ColumnFlag.SINGLE_POLARITY
"""Flags that say how a column is, not that something is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedColumn:
    """A column that deserves a look, with the numbers behind it."""

    column: int
    """Column number."""
    flags: tuple[str, ...]
    """Names of its flags."""
    r_squared: float
    """Share of the expected output's variance that its fit explains."""
    residual_rms: float
    """Residual of its fit, output LSB."""
    saturated_counts: int
    """Clipped calibration counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """What one step found."""

    core: int
    """Core number."""
    read_mode: str
    """Read mode."""
    visit: int
    """Number of the visit."""
    kind: str
    """What the step does."""
    age_s: float
    """Seconds since the core was programmed; NaN if that is not known."""
    correction_of: str | None
    """Name of the calibration whose correction it carries; None if it made its own."""
    measured_utc: str
    """When it was measured."""
    temperature_c: float
    """At which temperature."""
    conditions: tuple[Condition, ...]
    """What the bench instruments showed; empty if there were none."""
    calibration_vectors: int
    """Vectors that the fit saw."""
    verification_vectors: int
    """Vectors held out."""
    columns_used: int
    """Columns that carry weights."""
    columns_calibrated: int
    """Columns with a fitted correction."""
    shift: int
    """NMPU shift of the tile."""
    output_lsb: float
    """Size of one output code, in product units."""
    gain_spread: float
    """Standard deviation over mean of the columns' gains (counts per output), P and N together,
    of those that the fit knows to 10 %."""
    errors: dict[str, float]
    """Relative L2 error per correction on the held-out vectors, over the calibrated columns."""
    errors_all_columns: dict[str, float]
    """The same over every column that carries weights."""
    nmpu_mismatches: int | None
    """Outputs of the device's NMPU that differ from the model; None if not compared."""
    has_nmpu: bool
    """Whether the campaign says that the device has an NMPU, or does not say."""
    quality: QualitySummary | None
    """Effective bits and INL of the calibrated columns; None if the file does not have them."""
    flagged: tuple[FlaggedColumn, ...]
    """Columns that deserve a look."""
    raw_sha256: str
    """Content hash of the readouts."""

    @property
    def name(self) -> str:
        """Name of the step."""
        read_mode, kind = ReadMode(self.read_mode), StepKind(self.kind)
        return StepKey(self.core, read_mode, visit=self.visit, kind=kind).name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run found."""

    path: str
    """Its folder."""
    title: str
    """Title of the campaign."""
    status: str
    """``complete``, ``incomplete``, ``interrupted`` or ``failed``; ``unfinished`` if cut off."""
    chip: str
    """Who the device said it was."""
    resource: str
    """Resource string."""
    replay_of: str | None
    """Folder of the run that it replays, empty if its journal does not name it; None if it was
    measured."""
    fitted_again: tuple[str, ...] | None
    """What was different when its readouts were fitted again; None if they were not."""
    started_utc: str
    """When the run began."""
    instruments: dict[str, str]
    """Bench instruments by name, and what they said they are."""
    conditions: tuple[ConditionSummary, ...]
    """What they showed over all steps."""
    link: LinkSummary
    """What the link went through."""
    alarms: tuple[AlarmSummary, ...]
    """What guards have found; the conditions above are those of the readouts that count."""
    begun_anew: tuple[str, ...]
    """Steps whose core was programmed again while they were taken, and what is not used of them."""
    steps_planned: int
    """Steps that it was to take."""
    reason: str
    """What stopped a failed run; empty otherwise."""
    failures: tuple[str, ...]
    """Steps that failed, and why."""
    steps: tuple[StepSummary, ...]
    """Finished steps."""
    visits: tuple[VisitSummary, ...]
    """What each visit found; empty if all the run did was to calibrate once."""
    quality: QualitySummary | None
    """Effective bits and INL over the calibrated columns of the newest calibrations."""
    layer: dict[str, dict[str, float]]
    """Per read mode, the relative L2 error of a layer that is spread over several cores, in the
    last visit in which all of them were calibrated."""

    @property
    def calibrations(self) -> tuple[StepSummary, ...]:
        """The newest calibration of each core and read mode."""
        calibrations = [step for step in self.steps if step.kind == StepKind.CALIBRATE]
        newest: dict[tuple[int, str], int] = {}
        for step in calibrations:
            tile = (step.core, step.read_mode)
            newest[tile] = max(step.visit, newest.get(tile, 0))
        return tuple(
            step for step in calibrations if step.visit == newest[step.core, step.read_mode]
        )

    @property
    def steps_left(self) -> int:
        """How many planned steps were neither finished nor skipped."""
        skipped = sum(len(visit.skipped) for visit in self.visits)
        return self.steps_planned - len(self.steps) - skipped


def summarize_run(run: RunSource) -> RunSummary:
    """Read a run and sum it up.

    Raises
    ------
    DatasetError
        If it is damaged.
    """
    events = run.events()
    start = next((event for event in events if event["event"] == "start"), None)
    if start is None:
        raise DatasetError(str(run.path / "journal.jsonl"), [Problem("", "has no start event")])
    stop = last_stop(events)
    steps: list[StepSummary] = []
    visited: dict[StepKey, VisitedStep] = {}
    finished = run.finished_steps()
    newest, layer_visit = newest_calibrations(finished), last_layer_visit(finished)
    columns, layer_steps = [], []
    for key in sorted(finished):
        facts = run.read_facts(key)
        steps.append(summarize_step(facts))
        visited[key] = VisitedStep.of(facts)
        if key in newest:
            columns.append(CalibratedColumns.of(facts))
        if key.kind is StepKind.CALIBRATE and key.visit == layer_visit:
            layer_steps.append(facts)
    status, said_at_end = _status(stop), stop or {}
    # A run that was repaired is incomplete, and its layer may have lost nothing.
    has_layer = status == "complete" or is_layer_whole(
        start.get("planned", ()), finished, layer_visit
    )
    of_finished = [visited[key] for key in finished]
    return RunSummary(
        path=str(run.path),
        title=str(start.get("title", "")),
        status=status,
        chip=str(start.get("chip", "")),
        resource=str(start.get("resource", "")),
        replay_of=start.get("replayed_run", "") if "replay_of" in start else None,
        fitted_again=_refit_options(start) if "refit_of" in start else None,
        started_utc=str(start.get("utc", "")),
        instruments=start.get("instruments", {}),
        conditions=summarize_conditions(step.conditions for step in steps),
        link=summarize_link(events),
        alarms=summarize_alarms(events),
        begun_anew=steps_begun_anew(events),
        steps_planned=len(start.get("planned", ())),
        reason=str(said_at_end.get("reason", "")),
        failures=tuple(said_at_end.get("failed", ())),
        steps=tuple(steps),
        visits=summarize_visits(of_finished, run.skipped_steps(), recalibrations(events)),
        quality=summarize_quality(columns),
        layer=layer_errors(run, layer_steps) if has_layer else {},
    )


def _status(stop: Mapping[str, Any] | None) -> str:
    if stop is None:
        return "unfinished"
    status = str(stop.get("status", ""))
    return "failed" if status == "aborted" else status  # its name in older journals


def _refit_options(start: Mapping[str, Any]) -> tuple[str, ...]:
    options = start.get("options", {})
    vectors = options.get("calibration_vectors")
    split = () if vectors is None else (f"{vectors} calibration vectors",)
    kind = (f"a {options['fit']} fit",) if "fit" in options else ()
    return (*kind, *options.get("set", ()), *split)


def summarize_step(step: ConcludedStep) -> StepSummary:
    """Sum up one finished step."""
    conclusion, origin = step.conclusion, step.origin
    is_live = is_calibrated(conclusion.flags)
    correction = conclusion.correction
    fitted = np.concatenate([correction.a_p[is_live], correction.a_n[is_live]])
    uncertain = np.concatenate([conclusion.a_p_se[is_live], conclusion.a_n_se[is_live]])
    # The reciprocal of a number that is hardly known says nothing of the chip.
    gains = 1 / np.abs(fitted[np.abs(fitted) > uncertain / _WELL_KNOWN])
    source = origin.circumstance.correction_of
    spread = float(gains.std() / gains.mean()) if len(gains) else float("nan")
    return StepSummary(
        core=step.key.core,
        read_mode=str(step.key.read_mode),
        visit=step.key.visit,
        kind=str(step.key.kind),
        age_s=origin.circumstance.age_s,
        correction_of=None if source is None else source.step,
        measured_utc=origin.measured_utc,
        temperature_c=origin.temperature_c,
        conditions=step.conditions,
        calibration_vectors=origin.calibration_vectors,
        verification_vectors=origin.verification_vectors,
        columns_used=origin.columns_used,
        columns_calibrated=int(is_live.sum()),
        shift=conclusion.fmt.shift,
        output_lsb=conclusion.output_lsb,
        gain_spread=spread,
        errors=conclusion.errors,
        errors_all_columns=conclusion.errors_all_columns,
        nmpu_mismatches=conclusion.nmpu_mismatches,
        has_nmpu=has_nmpu(origin.provenance),
        quality=summarize_quality([CalibratedColumns.of(step)]),
        flagged=tuple(_flagged(step)),
        raw_sha256=step.raw_sha256,
    )


def _flagged(step: ConcludedStep) -> Iterable[FlaggedColumn]:
    conclusion = step.conclusion
    for column in range(step.origin.columns_used):
        flags = ColumnFlag(int(conclusion.flags[column]))
        if flags & ~_QUIET:
            yield FlaggedColumn(
                column=column,
                flags=tuple(flags.names()),
                r_squared=float(conclusion.r_squared[column]),
                residual_rms=float(conclusion.residual_rms[column]),
                saturated_counts=int(conclusion.saturated_counts[column]),
            )
