"""A run as Python sees it: lazy, typed, the same for a folder and a packed file."""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hil.core.errors import DatasetError, Problem
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.journal import last_stop
from hil_datasets.named_parts import NamedParts
from hil_datasets.opened import open_source
from hil_datasets.opened_step import OpenedStep, as_table
from hil_datasets.run_source import RunSource
from hil_datasets.step import StepKey, StepKind

if TYPE_CHECKING:
    import xarray

_MOST_SHOWN = 24
"""Steps that a notebook shows."""


class OpenedRun:
    """A run that was opened for reading.

    Parameters
    ----------
    source
        What holds it.
    """

    def __init__(self, source: RunSource) -> None:
        self.source = source
        """What holds it."""

    @property
    def path(self) -> Path:
        """The folder or file."""
        return self.source.path

    @cached_property
    def journal(self) -> list[dict[str, Any]]:
        """What happened, in order."""
        return self.source.events()

    @property
    def start(self) -> Mapping[str, Any]:
        """The journal's first event: chip, software, plan, hashes.

        Raises
        ------
        DatasetError
            If the journal has none.
        """
        for event in self.journal:
            if event["event"] == "start":
                return event
        raise DatasetError(str(self.path), [Problem("journal.jsonl", "has no start event")])

    @property
    def title(self) -> str:
        """Title of the campaign."""
        return str(self.start.get("title", ""))

    @property
    def status(self) -> str:
        """How it ended, as `hil info` says it; ``unfinished`` if it was cut off or still runs."""
        stop = last_stop(self.journal)
        return "unfinished" if stop is None else str(stop.get("status", ""))

    @cached_property
    def chip(self) -> ChipIdentity:
        """The chip that was measured.

        Raises
        ------
        DatasetError
            If neither the journal nor a step says.
        """
        identity = self.start.get("identity")
        if identity is not None:
            return ChipIdentity(**identity)
        return next(iter(self.steps.values())).origin.chip

    @cached_property
    def campaign(self) -> Mapping[str, Any]:
        """The campaign file as it was run, parsed; includes and ``--set`` are not in it."""
        try:
            return tomllib.loads(self.source.read_campaign().decode())
        except ValueError as error:
            message = f"is no TOML: {error}"
            raise DatasetError(str(self.path), [Problem("campaign.toml", message)]) from error

    @cached_property
    def steps(self) -> Mapping[StepKey, OpenedStep]:
        """Every finished step, sorted by core, read mode, visit and kind; its name is a key too."""
        steps = {key: OpenedStep(self.source, key) for key in sorted(self.source.finished_steps())}
        return NamedParts(steps, what="finished step", name_of=lambda key: key.name)

    @cached_property
    def cores(self) -> Mapping[int, Mapping[str, OpenedStep]]:
        """The newest calibration of each core and read mode, ``run.cores[3]["four_phase"]``.

        A core or read mode that is not there is a KeyError that names those that are.
        """
        cores: dict[int, dict[str, OpenedStep]] = defaultdict(dict)
        for key in newest_calibrations(self.steps):
            cores[key.core][str(key.read_mode)] = self.steps[key]
        named = {
            core: NamedParts(steps, what=f"calibration of core {core} in the read mode")
            for core, steps in cores.items()
        }
        return NamedParts(named, what="calibration of core")

    def step(
        self, core: int, read_mode: str, *, visit: int = 0, kind: str = StepKind.CALIBRATE
    ) -> OpenedStep:
        """Return one finished step.

        Parameters
        ----------
        core
            Core number.
        read_mode
            ``one_phase`` or ``four_phase``.
        visit
            Number of the visit, from 0.
        kind
            ``program``, ``calibrate``, ``probe``, ``verify`` or ``characterise``.

        Raises
        ------
        DatasetError
            If the run has no such finished step; those of the core are listed.
        """
        for key, step in self.steps.items():
            wanted = (core, read_mode, visit, kind)
            if (key.core, key.read_mode, key.visit, key.kind) == wanted:
                return step
        there = [key.name for key in self.steps if key.core == core]
        message = (
            f"has no finished step of core {core}, {read_mode}, visit {visit}, {kind}; of this "
            f"core there {'are ' + ', '.join(there) if there else 'is none'}"
        )
        raise DatasetError(str(self.path), [Problem("", message)])

    def to_xarray(self) -> "xarray.Dataset":
        """Return the newest calibrations as tables (core, read_mode, column).

        Raises
        ------
        MissingExtraError
            If xarray is not installed: ``pip install 'aimc-hil[xarray]'``.
        DatasetError
            If a step cannot be read, or there is none.
        """
        from hil_datasets.labelled import run_dataset  # noqa: PLC0415 - a library of an extra

        modes = {mode for steps in self.cores.values() for mode in steps}
        facts = [step.facts for steps in self.cores.values() for step in steps.values()]
        if not facts:
            raise DatasetError(str(self.path), [Problem("", "has no finished calibration")])
        dataset = run_dataset(facts, [mode for mode in ReadMode if mode in modes])
        told = {"title": self.title, "path": str(self.path), "status": self.status}
        return dataset.assign_attrs(told)

    def history(self) -> "xarray.Dataset":
        """Return the errors of all steps over (core, read_mode, visit, kind), and their age.

        Raises
        ------
        MissingExtraError
            If xarray is not installed: ``pip install 'aimc-hil[xarray]'``.
        DatasetError
            If a step cannot be read, or there is none.
        """
        from hil_datasets.labelled_history import history_dataset  # noqa: PLC0415 - an extra

        if not self.steps:
            raise DatasetError(str(self.path), [Problem("", "has no finished step")])
        dataset = history_dataset(self.source.read_facts(key) for key in self.steps)
        return dataset.assign_attrs({"title": self.title, "path": str(self.path)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what was read; no file is kept open, so nothing has to be closed."""
        for name in ("steps", "cores"):
            self.__dict__.pop(name, None)

    def __iter__(self) -> Iterator[OpenedStep]:
        """Iterate over the finished steps."""
        return iter(self.steps.values())

    def __len__(self) -> int:
        """Return the number of finished steps."""
        return len(self.steps)

    def __repr__(self) -> str:
        return (
            f"<run {str(self.path)!r}: {self.title!r}, {self.chip}, {self.status}, "
            f"{len(self)} finished steps>"
        )

    def _repr_html_(self) -> str:
        # Only the journal is read: a run of thousands of steps is shown at once.
        errors = {
            event["step"]: event.get("errors", {}).get("nmpu")
            for event in self.journal
            if event["event"] == "step" and "step" in event
        }
        rows: dict[str, Any] = {
            "title": self.title,
            "chip": self.chip,
            "status": self.status,
            "began": self.start.get("utc", ""),
        }
        for key in list(self.steps)[:_MOST_SHOWN]:
            error = errors.get(key.name)
            rows[key.name] = "" if error is None else f"NMPU error {100 * error:.2f} %"
        if len(self) > _MOST_SHOWN:
            rows["..."] = f"{len(self) - _MOST_SHOWN} more steps"
        return as_table(f"run {self.path}", rows)


def open_run(path: str | Path) -> OpenedRun:
    """Open a run for reading: a folder that `hil run` has made, or a packed file.

    Only its journal is read; steps are when they are looked at.

    Parameters
    ----------
    path
        The folder or file.

    Raises
    ------
    DatasetError
        If it is neither.

    Examples
    --------
    >>> run = open_run("tests/datasets/format_1")
    >>> run.cores[0]["four_phase"].raw.shape
    (64, 2, 6)
    """
    source = open_source(Path(path))
    source.finished_steps()  # a journal that cannot be read is said now, not in the middle
    return OpenedRun(source)
