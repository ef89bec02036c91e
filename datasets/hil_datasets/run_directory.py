"""A run on disk: where its files are, how it begins, what of it is finished.

::

    RUN/campaign.toml        the campaign file, byte for byte
    RUN/journal.jsonl        what happened, in order
    RUN/steps/STEP.h5        one file per finished step
    RUN/campaign.h5          index: virtual datasets over the steps, tables of coefficients
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ChipIdentity
from hil_datasets.durable import sync_file
from hil_datasets.journal import Journal, read_journal
from hil_datasets.regular_file import read_regular
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_reader import read_step


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
        return list(_finished(self.events()))

    def read_step(self, key: StepKey) -> StepRecord:
        """Return a finished step, held to what the journal says of it.

        Raises
        ------
        DatasetError
            If the journal does not call it finished, or its file cannot be read whole, or holds
            another step, or one of another run.
        """
        events = self.events()
        finished = _finished(events)
        if key not in finished:
            problem = Problem("", f"this run has no finished step {key.name}")
            raise DatasetError(str(self.path), [problem])
        return self._read_checked(key, finished[key], _campaign_sha256(events))

    def read_steps(self) -> Iterator[StepRecord]:
        """Yield every finished step, one in memory at a time, sorted by core and read mode.

        Raises
        ------
        DatasetError
            If a finished step cannot be read whole, is not the step that its name says or that
            the journal tells of, is of another chip than those before it, or there is none.
        """
        events = self.events()
        finished, campaign_sha256 = _finished(events), _campaign_sha256(events)
        if not finished:
            raise DatasetError(str(self.path), [Problem("", "this run has no finished step")])
        chip: ChipIdentity | None = None
        for key, raw_sha256 in sorted(finished.items()):
            record = self._read_checked(key, raw_sha256, campaign_sha256)
            chip = chip or record.origin.chip
            if record.origin.chip != chip:
                message = f"is of the chip {record.origin.chip}: the steps before it are of {chip}"
                raise DatasetError(str(self.step_path(key)), [Problem("/", message)])
            yield record

    def _read_checked(
        self, key: StepKey, raw_sha256: str, campaign_sha256: str | None
    ) -> StepRecord:
        path = self.step_path(key)
        record = read_step(path)
        if record.key != key:
            raise DatasetError(str(path), [Problem("/", f"holds step {record.key.name}")])
        comparisons = (
            ("raw_sha256", record.raw_sha256, raw_sha256),
            ("campaign_sha256", record.origin.campaign_sha256, campaign_sha256),
        )
        problems = [
            Problem("/", f"belongs to another run: its {name} is {found}, the journal's {wanted}")
            for name, found, wanted in comparisons
            if wanted is not None and found != wanted
        ]
        if problems:
            raise DatasetError(str(path), problems)
        return record


def _finished(events: Iterable[Mapping[str, Any]]) -> dict[StepKey, str]:
    """Return the content hash of each step that is finished, in the order they were."""
    return {
        StepKey(event["core"], event["read_mode"]): event["raw_sha256"]
        for event in events
        if event["event"] == "step"
    }


def _campaign_sha256(events: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the hash of the campaign file, if the run began by saying it."""
    start = next((event for event in events if event["event"] == "start"), {})
    return start.get("campaign_sha256")


def create_run(path: Path, campaign: bytes) -> RunDirectory:
    """Make the folder of a new run, with its campaign file.

    Raises
    ------
    ConfigError
        If the folder exists and is not empty, lies inside that of a run, or cannot be written.
        Nothing is overwritten.
    """
    run = RunDirectory(path)
    try:
        refusal = _refusal(path)
        if not refusal:
            path.mkdir(parents=True, exist_ok=True)
            (path / "steps").mkdir()
            run.campaign_path.write_bytes(campaign)
            for written in (run.campaign_path, path, path.parent):
                sync_file(written)
    except (OSError, ValueError) as error:  # a ValueError is a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            str(path), [Problem("", f"cannot be used as output folder: {reason}")]
        ) from error
    if refusal:
        message = f"{refusal}; choose another folder with --out (nothing was changed)"
        raise ConfigError(str(path), [Problem("", message)])
    return run


def _refusal(path: Path) -> str:
    """Say why a folder must not become a run; nothing if it may."""
    real = Path(os.path.realpath(path))
    for parent in real.parents:
        if RunDirectory(parent).journal_path.exists():
            return f"lies inside the run {parent}"
    if path.is_dir() and any(path.iterdir()):
        holds_run = RunDirectory(path).journal_path.exists()
        return "already holds a run" if holds_run else "is not empty"
    present = next(parent for parent in real.parents if parent.exists())
    for name in real.relative_to(present).parts:
        (present / name).exists()  # raises now, not half-way down, where a name is too long
    return ""


def open_run(path: Path) -> RunDirectory:
    """Open the folder of an existing run.

    Raises
    ------
    DatasetError
        If it is none.
    """
    run = RunDirectory(path)
    try:
        if not run.journal_path.is_file():
            what = "no such folder" if not path.exists() else "no run: it has no journal.jsonl"
            raise DatasetError(str(path), [Problem("", what)])
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    return run
