"""Reading a packed file, trusting nothing in it.

The CRC-32C of the whole file is compared once, before HDF5 sees it, and again if the file has
changed since. Then everything is held to the layout and to the size of the file before room is made
for it; no link is followed, and no filter is used that no packed file is written with.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.journal import parse_journal
from hil_datasets.journaled_steps import JournaledSteps, skipped_in
from hil_datasets.packed.layout import FILES_GROUP, PACK_FORMAT, STEPS_GROUP
from hil_datasets.packed.opened_pack import OpenedPack, opened_pack
from hil_datasets.packed.stored_step import StoredStep, stored_step
from hil_datasets.regular_file import check_regular
from hil_datasets.run_source import NoReadoutsError, Readouts, StepFacts
from hil_datasets.seal import check_quickly
from hil_datasets.step import StepKey, StepKind, StepRecord
from hil_datasets.step_files.reader import read_group, read_group_facts


class PackedRun:
    """A run in one file, read as a folder is (`RunSource`).

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checked: tuple[int, ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def check(self) -> None:
        """Raise DatasetError unless it is a packed file, undamaged, of a version that is read."""
        with self._opened() as pack:
            pack.attributes()

    @cached_property
    def has_readouts(self) -> bool:
        """Whether it was packed with readouts."""
        with self._opened() as pack:
            return pack.has_readouts

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's events."""
        return list(self._events)

    def read_campaign(self) -> bytes:
        """Return the campaign file as it was run, byte for byte."""
        return self.read_file("campaign.toml")

    def finished_steps(self) -> list[StepKey]:
        """Return the steps that the journal calls finished, in the order they were."""
        return list(self._said.finished)

    def skipped_steps(self) -> dict[StepKey, str]:
        """Return why each step was skipped that the journal calls skipped, in its order."""
        return skipped_in(self._path_of_journal, self._events)

    def read_step(self, key: StepKey) -> StepRecord:
        """Return a finished step whole, every hash checked.

        Raises
        ------
        NoReadoutsError
            If the run was packed without readouts.
        DatasetError
            If there is no such step, or it cannot be read whole, or is one of another run.
        """
        self._said.check_finished(key)
        self._check_readouts()
        with self._opened() as pack:
            step = pack.step(key.name, needs_readouts=True)
            record = read_group(
                step.group, source=self._place_of(key), most_bytes=step.most_bytes, is_packed=True
            )
        self._said.check(record, key, place=self._place_of(key))
        return record

    def read_steps(
        self,
        *,
        kinds: Collection[StepKind] = tuple(StepKind),
        keys: Collection[StepKey] | None = None,
    ) -> Iterator[StepRecord]:
        """Yield finished steps, one in memory at a time, sorted as their keys are."""
        wanted = self._said.wanted(kinds=kinds, keys=keys)
        yield from self._said.read_all(wanted, read=self.read_step, place_of=self._place_of)

    def read_facts(self, key: StepKey) -> StepFacts:
        """Return a finished step without its readouts, which are not looked at."""
        self._said.check_finished(key)
        with self._opened() as pack:
            step = pack.step(key.name, needs_readouts=False)
            facts = read_group_facts(
                step.group, source=self._place_of(key), most_bytes=step.most_bytes, is_packed=True
            )
        self._said.check(facts, key, place=self._place_of(key))
        return facts

    def readouts(self, key: StepKey) -> Readouts:
        """Return the readouts of a finished step; nothing is read before it is asked for.

        Raises
        ------
        NoReadoutsError
            If the run was packed without readouts.
        DatasetError
            If there is no such step.
        """
        self._said.check_finished(key)
        self._check_readouts()
        return _PackedReadouts(self, key)

    def file_names(self) -> list[str]:
        """Return the names of the run's other files, as they are in its folder."""
        with self._opened() as pack:
            return pack.file_names()

    def read_file(self, name: str) -> bytes:
        """Return one of them, byte for byte."""
        with self._opened() as pack:
            return pack.read_file(name)

    def stored_bytes(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return what the arrays of each step take, and the size of each of the other files."""
        with self._opened() as pack:
            steps = {name: pack.stored_bytes(name) for name in pack.step_names()}
            return steps, {name: len(pack.read_file(name)) for name in pack.file_names()}

    def stored(self, key: StepKey) -> StoredStep:
        """Return a finished step as it is stored, its hashes not compared."""
        with self._opened() as pack:
            step = pack.step(key.name, needs_readouts=pack.has_readouts)
            return stored_step(key.name, step)

    @cached_property
    def _events(self) -> tuple[dict[str, Any], ...]:
        return tuple(parse_journal(self._path_of_journal, self.read_file("journal.jsonl")))

    @cached_property
    def _said(self) -> JournaledSteps:
        return JournaledSteps.of(str(self._path), self._events)

    @property
    def _path_of_journal(self) -> Path:
        return Path(f"{self._path}:{FILES_GROUP}/journal.jsonl")

    def _place_of(self, key: StepKey) -> str:
        return f"{self._path}:{STEPS_GROUP}/{key.name}"

    def _check_readouts(self) -> None:
        if not self.has_readouts:
            raise NoReadoutsError(str(self._path), [Problem("", NO_READOUTS)])

    @contextmanager
    def _opened(self) -> Iterator[OpenedPack]:
        """Open the file, after its check sum if that was not compared since it last changed."""
        try:
            check_regular(self._path)
            stat = self._path.stat()
            state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if state != self._checked:
                check_quickly(self._path, form=PACK_FORMAT)
                self._checked = state
        except OSError as error:
            reason = error.strerror or str(error)
            raise DatasetError(
                str(self._path), [Problem("", f"cannot be read: {reason}")]
            ) from error
        except ValueError as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(str(self._path), [Problem("/", str(error))]) from error
        with opened_pack(self._path) as pack:
            yield pack


NO_READOUTS = (
    "was packed without its readouts (hil data pack --without-raw): weights, inputs and counts are "
    "not in it, only their hashes"
)
"""What is said where somebody asks for them."""


class _PackedReadouts:
    """The readouts of one step of a packed file, read and checked whole at the first look.

    A chunk can say anything of how many values it holds: only the content hash tells whether they
    are those that were read.
    """

    def __init__(self, run: PackedRun, key: StepKey) -> None:
        self._run = run
        self._key = key

    @property
    def weights(self) -> npt.NDArray[np.int8]:
        """Programmed weights, shape (row, column)."""
        return self._record.weights

    @property
    def inputs(self) -> npt.NDArray[np.int8]:
        """Input vectors, shape (vector, row): calibration, then verification."""
        return self._record.inputs

    @property
    def raw(self) -> npt.NDArray[np.uint16]:
        """Counter codes, shape (vector, polarity, column)."""
        return self._record.raw

    @property
    def expected(self) -> npt.NDArray[np.int32]:
        """Expected outputs, shape (vector, column), product units."""
        return self._record.expected

    @cached_property
    def _record(self) -> StepRecord:
        return self._run.read_step(self._key)


def open_packed(path: Path) -> PackedRun:
    """Open a packed file; its check sum is compared, and its beginning.

    Raises
    ------
    DatasetError
        If it is missing, damaged, no packed file, or one of another version.
    """
    run = PackedRun(path)
    run.check()
    return run
