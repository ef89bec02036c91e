"""A run on disk: where its files are, how it begins, what of it is finished.

::

    RUN/campaign.toml        the campaign file, byte for byte
    RUN/journal.jsonl        what happened, in order
    RUN/steps/STEP.h5        one file per finished step
    RUN/campaign.h5          index: virtual datasets over the steps, tables of coefficients
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import h5py

from hil.core.errors import ConfigError, DatasetError, HilError, Problem
from hil_datasets.durable import PART_SUFFIX, finished_file, sync_file
from hil_datasets.journal import Journal, last_stop, read_journal
from hil_datasets.journal_plan import key_of as key_of  # noqa: PLC0414 - how a run names its steps
from hil_datasets.journaled_steps import JournaledSteps, skipped_in
from hil_datasets.regular_file import read_regular
from hil_datasets.run_source import Readouts, StepFacts
from hil_datasets.step import StepKey, StepKind, StepRecord
from hil_datasets.step_files.reader import read_facts, read_step, read_told
from hil_datasets.step_files.readouts import MappedReadouts

StepT = TypeVar("StepT", StepRecord, StepFacts)

CHIPS_FILE = "chips.json"
"""Lies in a folder that holds no run itself, but one for each of several chips."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The folder of one run."""

    path: Path
    """The folder."""

    @property
    def campaign_path(self) -> Path:
        """The campaign file as it was run."""
        return self.path / "campaign.toml"

    @property
    def journal_path(self) -> Path:
        """What happened, in order."""
        return self.path / "journal.jsonl"

    @property
    def index_path(self) -> Path:
        """The index over all steps."""
        return self.path / "campaign.h5"

    @property
    def journal(self) -> Journal:
        """The journal, for appending."""
        return Journal(self.journal_path)

    def step_path(self, key: StepKey) -> Path:
        """Return the file of a step."""
        return self.path / "steps" / f"{key.name}.h5"

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's events."""
        return read_journal(self.journal_path)

    def read_campaign(self) -> bytes:
        """Return the campaign file as it was run, byte for byte.

        Raises
        ------
        DatasetError
            If it is missing, no regular file, or cannot be read.
        """
        return read_regular(self.campaign_path)

    def finished_steps(self) -> list[StepKey]:
        """Return the steps that the journal calls finished, in the order they were."""
        return list(self.said().finished)

    def skipped_steps(self) -> dict[StepKey, str]:
        """Return why each step was skipped that the journal calls skipped, in its order.

        A step that was taken after all is none of them.

        Raises
        ------
        DatasetError
            If the journal cannot be read, or calls a step skipped that was not planned, or is never
            skipped.
        """
        return skipped_in(self.journal_path, self.events())

    def read_step(self, key: StepKey) -> StepRecord:
        """Return a finished step, held to what the journal says of it.

        Raises
        ------
        DatasetError
            If the journal does not call it finished, or its file cannot be read whole, or holds
            another step, or one of another run.
        """
        return self._checked(key, read_step, self.said())

    def read_steps(
        self,
        *,
        kinds: Collection[StepKind] = tuple(StepKind),
        keys: Collection[StepKey] | None = None,
    ) -> Iterator[StepRecord]:
        """Yield finished steps, one in memory at a time, sorted as their keys are.

        Parameters
        ----------
        kinds
            Kinds of the steps; all by default.
        keys
            Which steps of these; all by default.

        Raises
        ------
        DatasetError
            If a finished step cannot be read whole, is not the step that its name says or that
            the journal tells of, is of another chip than those before it, or there is none.
        """
        said = self.said()
        yield from said.read_all(
            said.wanted(kinds=kinds, keys=keys),
            read=lambda key: self._checked(key, read_step, said),
            place_of=lambda key: str(self.step_path(key)),
        )

    def read_facts(self, key: StepKey) -> StepFacts:
        """Return a finished step without its readouts, which are not looked at.

        Raises
        ------
        DatasetError
            As `read_step`; damage to readouts is not seen.
        """
        return self._checked(key, read_facts, self.said())

    def readouts(self, key: StepKey) -> Readouts:
        """Return the readouts of a finished step; nothing is read before it is asked for.

        Step and content hash that the file tells are then held to the journal, as `read_facts`
        does it.
        """
        return MappedReadouts(self.step_path(key), hold=partial(self._hold_told, key))

    def _hold_told(self, key: StepKey, file: h5py.File) -> None:
        place, said = str(self.step_path(key)), self.said()
        said.check_finished(key)
        said.check_told(read_told(file, place), key, place=place)

    def said(self) -> JournaledSteps:
        """Return what the journal says of finished steps."""
        return JournaledSteps.of(str(self.path), self.events())

    def _checked(self, key: StepKey, read: Callable[[Path], StepT], said: JournaledSteps) -> StepT:
        path = self.step_path(key)
        said.check_finished(key)
        step = read(path)
        said.check(step, key, place=str(path))
        return step


class RunSnapshot(RunDirectory):
    """The folder of a run as it was when it was opened: its journal is read once."""

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's events when they were first asked for."""
        return list(self._events)

    def said(self) -> JournaledSteps:
        """Return what the journal said of finished steps when that was first asked for."""
        return self._said

    @cached_property
    def _events(self) -> list[dict[str, Any]]:
        return read_journal(self.journal_path)

    @cached_property
    def _said(self) -> JournaledSteps:
        return RunDirectory.said(self)


_BEGUN = frozenset({"campaign.toml", "campaign.resolved.json", "steps", "lock.json"})
"""What a run may have before its journal begins; nothing of it is of use without one."""
_BEGUN_PARTS = ("campaign.", "lock.json")


def make_run_folder(path: Path) -> RunDirectory:
    """Make the folder of a new run, and nothing in it.

    Raises
    ------
    ConfigError
        As `create_run`.
    """
    check_run_folder(path)
    with _names_failures(path):
        path.mkdir(parents=True, exist_ok=True)
    return RunDirectory(path)


def check_run_folder(path: Path) -> None:
    """Raise ConfigError, as `create_run`, if a folder must not become a run; make nothing."""
    with _names_failures(path):
        refusal = _refusal(path)
    if refusal:
        raise ConfigError(str(path), [Problem("", refusal)])


def create_run(path: Path, campaign: bytes) -> RunDirectory:
    """Make the folder of a new run, with its campaign file.

    What is left of a run that ended before its journal began is replaced.

    Raises
    ------
    ConfigError
        If the folder holds a run or anything else, lies inside that of a run, or cannot be
        written. Nothing is overwritten.
    """
    run = make_run_folder(path)
    with _names_failures(path):
        (path / "steps").mkdir(exist_ok=True)
        with finished_file(run.campaign_path) as part:
            part.write_bytes(campaign)
        for written in (path / "steps", path, path.parent):
            sync_file(written)
    return run


@contextmanager
def _names_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError is a name that no file can have
        if isinstance(error, HilError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            str(path), [Problem("", f"cannot be used as output folder: {reason}")]
        ) from error


def _refusal(path: Path) -> str:
    """Say why a folder must not become a run; nothing if it may."""
    other = "choose another folder with --out (nothing was changed)"
    real = Path(os.path.realpath(path))
    for parent in real.parents:
        if RunDirectory(parent).journal_path.exists():
            return f"lies inside the run {parent}; {other}"
    if path.is_dir() and RunDirectory(path).journal_path.exists():
        return _held(RunDirectory(path)) + other
    if path.is_dir() and not _is_free(path):
        return f"is not empty; {other}"
    present = next(parent for parent in real.parents if parent.exists())
    for name in real.relative_to(present).parts:
        (present / name).exists()  # raises now, not half-way down, where a name is too long
    return ""


def _is_free(path: Path) -> bool:
    steps = path / "steps"
    names = {entry.name for entry in path.iterdir()}
    parts = {name for name in names if name.startswith(_BEGUN_PARTS) and name.endswith(PART_SUFFIX)}
    return names - parts <= _BEGUN and not (steps.is_dir() and any(steps.iterdir()))


def _held(run: RunDirectory) -> str:
    try:
        stop = last_stop(run.events())
    except DatasetError:
        return "already holds a run; "
    if stop is not None and stop.get("status") in {"complete", "incomplete"}:
        return "already holds a run; "
    return f"already holds a run that has not come to its end: hil resume {run.path} goes on; or "


def open_directory(path: Path) -> RunDirectory:
    """Open the folder of an existing run.

    Raises
    ------
    DatasetError
        If it is none.
    """
    run = RunDirectory(path)
    try:
        if not run.journal_path.is_file():
            from hil_datasets.found_runs import words_of_runs_below  # noqa: PLC0415 - builds on this

            kind = "file or folder" if path.suffix else "folder"  # the packed run.hil.h5, perhaps
            missing = f"no such {kind}"
            what = missing if not path.exists() else "no run: it has no journal.jsonl"
            if path.is_dir():
                what += words_of_runs_below(path)
            if path.is_file():
                what += "; of a packed file hil data unpack makes a folder"
            if (path / CHIPS_FILE).is_file():
                found = sorted(str(run.parent) for run in path.glob("*/journal.jsonl"))
                what = f"holds the runs of several chips, give one of them: {', '.join(found)}"
            raise DatasetError(str(path), [Problem("", what)])
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    return run
