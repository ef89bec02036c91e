"""A study: a recording, some of its steps, a list of formats, and only the work that is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hil
from hil.campaign.config.load import Campaign, load_stored_campaign
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.explore.evaluate import CalibrationSettings, FormatResult, Task, evaluate_task
from hil.explore.grid import Candidate
from hil.explore.missing import StudyObserver, run_missing
from hil.explore.store import ResultKey, StudySubject, open_study
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepKey, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StudiedStep:
    """A step of the recording."""

    key: StepKey
    """Core and read mode."""
    raw_sha256: str
    """Content hash of its readouts."""
    calibration_vectors: int
    """Vectors that the fit sees."""
    verification_vectors: int
    """Vectors held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is studied."""

    run: RunDirectory
    """The recording."""
    title: str
    """Title of its campaign."""
    chip: str
    """The chip that was recorded."""
    base: NmpuFormat
    """The format that the run was made with, shift 0."""
    settings: CalibrationSettings
    """How the run calibrated."""
    subject: StudySubject
    """What its results belong to."""
    steps: tuple[StudiedStep, ...]
    """The steps that are looked at, sorted by core and read mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """All results that a grid asks for."""

    study: Study
    """What was studied."""
    candidates: tuple[Candidate, ...]
    """The formats, the base first."""
    results: dict[ResultKey, FormatResult]
    """What each is worth on each step."""
    evaluated: int
    """How many results are new; the others were stored before."""


def read_study(
    path: Path, *, cores: Sequence[int] = (), read_modes: Sequence[ReadMode] = ()
) -> Study:
    """Take up the newest calibration of each core and read mode of a run.

    Parameters
    ----------
    path
        Folder of the run.
    cores, read_modes
        Which steps to look at; all where empty.

    Raises
    ------
    DatasetError
        If it is no run, has no finished step, or is damaged.
    ConfigError
        If no step is left to look at.
    """
    run = open_directory(path)
    campaign = load_stored_campaign(run)
    steps, titles, chips = [], set(), set()
    newest = newest_calibrations(run.finished_steps())
    for record in run.read_steps(kinds=(StepKind.CALIBRATE,), keys=newest):
        origin = record.origin
        if origin.campaign_sha256 != campaign.sha256:
            problem = Problem("", "was changed since the run: its hash differs from the recorded")
            raise DatasetError(str(run.campaign_path), [problem])
        titles.add(origin.title)
        chips.add(str(origin.chip))
        steps.append(
            StudiedStep(
                key=record.key,
                raw_sha256=record.raw_sha256,
                calibration_vectors=origin.calibration_vectors,
                verification_vectors=origin.verification_vectors,
            )
        )
    return Study(
        run=run,
        title=", ".join(sorted(titles)),
        chip=", ".join(sorted(chips)),
        base=campaign.config.nmpu,
        settings=_settings(campaign),
        subject=StudySubject(
            campaign_sha256=campaign.sha256,
            recording={step.key.name: step.raw_sha256 for step in steps},
            software=f"aimc-hil {hil.__version__}",
        ),
        steps=_select(path, steps, cores, read_modes),
    )


def run_study(
    study: Study,
    candidates: tuple[Candidate, ...],
    *,
    out: Path,
    workers: int,
    cluster: str | None = None,
    observer: StudyObserver,
) -> StudyOutcome:
    """Evaluate every format on every step that has no stored result yet.

    Parameters
    ----------
    study
        What to study.
    candidates
        The formats.
    out
        Folder of the study; made if it is not there.
    workers, cluster
        Where the work is done, as in `open_pool`. The results do not depend on it.
    observer
        Who is told how it goes.

    Raises
    ------
    ConfigError
        If the folder holds something else, another process is at work in it, or the cluster
        cannot be used.
    DatasetError
        If the recording or the stored results are damaged, or a result cannot be stored.
    WorkerLostError
        If a worker was killed, or the cluster is gone.
    """
    wanted = _tasks(study, candidates)
    results, evaluated = run_missing(
        wanted,
        evaluate_task,
        folder=open_study(out, study.subject),
        workers=workers,
        cluster=cluster,
        observer=observer,
    )
    return StudyOutcome(study=study, candidates=candidates, results=results, evaluated=evaluated)


def _tasks(study: Study, candidates: Sequence[Candidate]) -> list[Task]:
    return [
        Task(
            step=step.key.name,
            path=study.run.step_path(step.key).absolute(),  # a worker may have another folder
            raw_sha256=step.raw_sha256,
            format_text=candidate.fmt.to_text(),
            settings=study.settings,
        )
        for step in study.steps  # outermost: a worker keeps one step in memory
        for candidate in candidates
        if candidate.fmt is not None
    ]


def _settings(campaign: Campaign) -> CalibrationSettings:
    config = campaign.config
    return CalibrationSettings(
        block=config.vectors.block,
        headroom=config.calibration.headroom,
        limits=config.calibration.limits,
    )


def _select(
    path: Path,
    steps: Sequence[StudiedStep],
    cores: Sequence[int],
    read_modes: Sequence[ReadMode],
) -> tuple[StudiedStep, ...]:
    known_cores = sorted({step.key.core for step in steps})
    known_modes = sorted({step.key.read_mode for step in steps})
    problems = [
        Problem("", f"core {core} was not recorded; there are {_listed(known_cores)}")
        for core in cores
        if core not in known_cores
    ] + [
        Problem("", f"read mode {mode} was not recorded; there is {_listed(known_modes)}")
        for mode in read_modes
        if mode not in known_modes
    ]
    chosen = tuple(
        step
        for step in steps
        if (not cores or step.key.core in cores)
        and (not read_modes or step.key.read_mode in read_modes)
    )
    if not chosen and not problems:
        problems = [Problem("", "these cores were not recorded in these read modes")]
    if problems:
        raise ConfigError(str(path), problems)
    return chosen


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
