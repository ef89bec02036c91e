"""From a run, in a folder or packed otherwise, to one packed file."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from hil.core.errors import DatasetError, Problem
from hil_datasets.journal import BEGINNINGS, parse_journal
from hil_datasets.journaled_steps import JournaledSteps
from hil_datasets.packed.compression import COMPRESSIONS, Compression
from hil_datasets.packed.layout import is_packed_file, is_suspect_file
from hil_datasets.packed.new_file import check_free
from hil_datasets.packed.packed_run import NO_READOUTS, PackedRun
from hil_datasets.packed.stored_step import StoredStep, stored_step
from hil_datasets.packed.trial import (
    SMALLEST_SAMPLE_BYTES,
    CompressionTrial,
    sample_of,
    try_compressions,
)
from hil_datasets.packed.writer import PackContent, PackedEntry, write_pack
from hil_datasets.regular_file import check_regular, read_regular
from hil_datasets.run_directory import RunDirectory
from hil_datasets.run_source import NoReadoutsError, RunSource
from hil_datasets.seal import check_quickly
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_files.content import StepContent
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.group import StepGroup

JOURNAL = "journal.jsonl"

OnProgress = Callable[[int, int], None]
"""Called with the steps that are packed and those there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a run is packed."""

    compression: Compression | None = None
    """How readouts are stored; None to try on the run's own and choose."""
    is_portable: bool = True
    """Whether only compressions are tried that need no plug-in: a file that is sent away is opened
    by people who do not know what it was packed with."""
    has_readouts: bool = True
    """Whether readouts are packed."""
    may_replace: bool = False
    """Whether a file that exists may be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What was packed."""

    path: Path
    """The file."""
    compression: Compression
    """How its readouts are stored."""
    trial: CompressionTrial | None
    """What was tried before; None where the compression was given or there was nothing to try."""
    steps: int
    """How many steps it has."""
    readout_bytes: int
    """Size of their readouts, not compressed."""
    file_bytes: int
    """Size of the file."""
    left_out: tuple[str, ...]
    """Files of the run's folder that are not in it."""


def pack_run(
    source: RunSource,
    path: Path,
    options: PackOptions | None = None,
    *,
    on_progress: OnProgress = lambda _done, _all: None,
) -> PackReport:
    """Pack a run into one file; every hash of every step is compared on the way.

    Parameters
    ----------
    source
        The run.
    path
        The file to make.
    options
        How.
    on_progress
        Who is told how far it is.

    Raises
    ------
    ConfigError
        If the file exists and may not be replaced, or the compression needs what is not installed.
    NoReadoutsError
        If readouts are wanted of a run that was packed without them.
    DatasetError
        If the run cannot be read whole, or lacks its index, or the file cannot be written.
    """
    options = options or PackOptions()
    check_free(path, may_replace=options.may_replace, keeps_readouts=options.has_readouts)
    journal = _read_file(source, JOURNAL)  # once: a run that is being written goes on meanwhile
    events = parse_journal(source.path / JOURNAL, journal)
    said = JournaledSteps.of(str(source.path), events)
    keys = sorted(said.finished)
    if isinstance(source, RunDirectory):
        _check_index(source, events, keys)
    trial = None
    compression = options.compression or COMPRESSIONS["none"]
    if options.compression is None and options.has_readouts and keys:
        sample = sample_of(source.readouts(keys[0]))
        if sum(array.nbytes for array in sample) >= SMALLEST_SAMPLE_BYTES:
            trial = try_compressions(sample, is_portable=options.is_portable)
            compression = trial.chosen
    names, left_out = _names_of(source, has_readouts=options.has_readouts)
    steps = _Steps(source, said, has_readouts=options.has_readouts, on_progress=on_progress)
    content = PackContent(
        entry=entry_of(source, events, keys),
        files=((name, journal if name == JOURNAL else _read_file(source, name)) for name in names),
        steps=steps,
        has_readouts=options.has_readouts,
        compression=compression,
    )
    write_pack(path, content, may_replace=options.may_replace)
    return PackReport(
        path=path,
        compression=compression,
        trial=trial,
        steps=len(keys),
        readout_bytes=steps.readout_bytes,
        file_bytes=path.stat().st_size,
        left_out=left_out,
    )


def _check_index(
    run: RunDirectory, events: Sequence[Mapping[str, Any]], keys: Sequence[StepKey]
) -> None:
    """Raise DatasetError if a run that has stopped lacks its index.

    A packed file has none: nobody would see any more that it is gone.
    """
    has_stopped = any(event["event"] == "stop" for event in events)
    if keys and has_stopped and not run.index_path.is_file():
        message = (
            "the index is missing, and the journal says that the run has stopped, so it had one: "
            "hil data verify says whether more is missing, hil data repair makes the index again"
        )
        raise DatasetError(str(run.index_path), [Problem("", message)])


def entry_of(
    source: RunSource, events: Sequence[Mapping[str, Any]], keys: Sequence[StepKey]
) -> PackedEntry:
    """Return what a packed file says of a run at first sight.

    Parameters
    ----------
    source
        The run.
    events
        Its journal's.
    keys
        Its finished steps that are packed, sorted.
    """
    begun = [event for event in events if event["event"] in BEGINNINGS]
    chip = ""
    if keys:
        identity = source.read_facts(keys[0]).origin.chip
        chip = f"{identity.manufacturer} {identity.model} {identity.serial}"
    calibrations = [key for key in keys if key.kind is StepKind.CALIBRATE]
    first = calibrations[0] if calibrations else None
    same_tile = (
        [key for key in calibrations if (key.core, key.read_mode) == (first.core, first.read_mode)]
        if first
        else []
    )
    return PackedEntry(
        title=str(begun[0].get("title", "")) if begun else "",
        campaign_sha256=hashlib.sha256(source.read_campaign()).hexdigest(),
        start_time=str(events[0].get("utc", "")) if events else "",
        end_time=str(events[-1].get("utc", "")) if events else "",
        chip=chip,
        plotted=same_tile[-1].name if same_tile else "",
    )


class _Steps:
    """The steps of a run as they are stored, read and checked one after the other."""

    def __init__(
        self,
        source: RunSource,
        said: JournaledSteps,
        *,
        has_readouts: bool,
        on_progress: OnProgress,
    ) -> None:
        self._source = source
        self._said = said
        self._has_readouts = has_readouts
        self._on_progress = on_progress
        self.readout_bytes = 0
        """Size of the readouts of those that were taken."""

    def __iter__(self) -> Iterator[StoredStep]:
        keys = sorted(self._said.finished)
        for done, key in enumerate(keys):
            self._on_progress(done, len(keys))
            step, place = self._read(key)
            if self._has_readouts and not step.readout_bytes:
                raise NoReadoutsError(str(self._source.path), [Problem("", NO_READOUTS)])
            content = StepContent(place, step.attributes, step.arrays, step.sizes)
            found = content.record() if step.readout_bytes else content.facts()
            self._said.check(found, key, place=place)
            if not self._has_readouts:
                step = step.without_readouts()
            self.readout_bytes += step.readout_bytes
            yield step
        self._on_progress(len(keys), len(keys))

    def _read(self, key: StepKey) -> tuple[StoredStep, str]:
        """Return a step, its seal checked, and where it was read from."""
        if isinstance(self._source, PackedRun):
            return self._source.stored(key), str(self._source.path)
        path = RunDirectory(self._source.path).step_path(key)
        return read_stored(path, key.name), str(path)


def read_stored(path: Path, name: str) -> StoredStep:
    """Return what a step file stores, its CRC-32C compared; its hashes are not.

    Raises
    ------
    DatasetError
        If it is missing, damaged, or not as the schema has it.
    """
    check_regular(path)
    try:
        check_quickly(path)
        with h5py.File(path, "r") as file:
            size = path.stat().st_size
            return stored_step(name, StepGroup(group=file, source=str(path), most_bytes=size))
    except DatasetError:
        raise
    except DAMAGE as error:
        raise DatasetError(str(path), [Problem("/", f"cannot be read: {error}")]) from error


def _names_of(source: RunSource, *, has_readouts: bool) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of a run that are packed besides its steps, and those that are not."""
    if isinstance(source, PackedRun):
        names = source.file_names()
    else:
        files = (path for path in source.path.rglob("*") if path.is_file())
        names = sorted(path.relative_to(source.path).as_posix() for path in files)
    kept = [
        name
        for name in names
        if is_packed_file(name) and (has_readouts or not is_suspect_file(name))
    ]
    known = {"campaign.h5", "lock.json", "progress.json", "stop-request.json"}
    left_out = [
        name
        for name in names
        if name not in kept
        and name not in known
        and not (name.startswith("steps/") and name.endswith(".h5"))
    ]
    return kept, tuple(left_out)


def _read_file(source: RunSource, name: str) -> bytes:
    return (
        source.read_file(name)
        if isinstance(source, PackedRun)
        else read_regular(source.path / name)
    )
