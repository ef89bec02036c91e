"""A run on disk: where its files are, how it begins, what of it is finished.

::

    RUN/campaign.toml        the campaign file, byte for byte
    RUN/journal.jsonl        what happened, in order
    RUN/steps/STEP.h5        one file per finished step
    RUN/campaign.h5          index: virtual datasets over the steps, tables of coefficients
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ReadMode
from hil_datasets.durable import sync_file
from hil_datasets.journal import Journal, read_journal
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

    def finished_steps(self) -> list[StepKey]:
        """Return the steps that the journal calls finished, in the order they were."""
        keys = []
        for event in self.events():
            if event["event"] == "step":
                core, read_mode = event.get("core"), event.get("read_mode")
                if type(core) is not int or core < 0 or read_mode not in list(ReadMode):
                    problem = Problem("", f"a step event is damaged: {event}")
                    raise DatasetError(str(self.journal_path), [problem])
                keys.append(StepKey(core, ReadMode(read_mode)))
        return keys

    def read_steps(self) -> Iterator[StepRecord]:
        """Yield every finished step, one in memory at a time, sorted by core and read mode.

        Raises
        ------
        DatasetError
            If a finished step cannot be read whole or is not the step that its name says, or
            there is none.
        """
        keys = sorted(set(self.finished_steps()))
        if not keys:
            raise DatasetError(str(self.path), [Problem("", "this run has no finished step")])
        for key in keys:
            path = self.step_path(key)
            record = read_step(path)
            if record.key != key:
                raise DatasetError(str(path), [Problem("/", f"holds step {record.key.name}")])
            yield record


def create_run(path: Path, campaign: bytes) -> RunDirectory:
    """Make the folder of a new run, with its campaign file.

    Raises
    ------
    ConfigError
        If the folder exists and is not empty, or cannot be written. Nothing is overwritten.
    """
    run = RunDirectory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            what = "already holds a run" if run.journal_path.exists() else "is not empty"
            raise ConfigError(
                str(path),
                [Problem("", f"{what}; choose another folder with --out (nothing was changed)")],
            )
        (path / "steps").mkdir()
        run.campaign_path.write_bytes(campaign)
        for written in (run.campaign_path, path, path.parent):
            sync_file(written)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            str(path), [Problem("", f"cannot be used as output folder: {reason}")]
        ) from error
    return run


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
