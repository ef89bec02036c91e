"""How fast a chip was in earlier runs, from the timing that their step files keep."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hil.core.errors import DatasetError
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepRecord
from hil_datasets.step_files.reader import read_step

_MOST_STEPS = 8
_LARGEST_FILE = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPace:
    """What earlier runs of a chip took."""

    vector_s: Mapping[ReadMode, float] = field(default_factory=dict)
    """Seconds per vector while blocks were read, all in; by read mode."""
    program_s: float | None = None
    """The longest time from a step's beginning to its first block; None if nothing tells."""
    steps: int = 0
    """Steps that it comes from."""
    runs: tuple[str, ...] = ()
    """Folders of their runs."""


def read_pace(folder: Path, *, chip: ChipIdentity | None, resource: str) -> RecordedPace:
    """Return what the newest steps of a chip in the runs of a folder took.

    Parameters
    ----------
    folder
        Folder of runs, such as the one that the output folder is going to lie in.
    chip
        The chip; runs of another firmware of it count, runs of another serial number do not. None
        where nobody has asked the device: then runs of the same resource count.
    resource
        Resource string of the device.
    """
    found: list[tuple[Path, StepRecord]] = []
    for path in _newest_first(folder):
        record = _readable(path)
        if record is not None and _is_of(record, chip, resource):
            found.append((path, record))
            if len(found) == _MOST_STEPS:
                break
    return pace_of(found)


def _newest_first(folder: Path) -> Iterator[Path]:
    try:
        runs = [path for path in folder.iterdir() if RunDirectory(path).journal_path.is_file()]
        files = [file for run in runs for file in (run / "steps").glob("*.h5")]
        dated = sorted(((file.stat().st_mtime, file) for file in files), reverse=True)
    except OSError:
        return
    # Of a folder with runs of many other chips, not all are looked through.
    yield from (file for _, file in dated[: 8 * _MOST_STEPS])


def _readable(path: Path) -> StepRecord | None:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return None
        record = read_step(path)
    except (DatasetError, OSError):
        return None  # a damaged run tells nothing; it is not what this is about
    return record if record.timing is not None else None


def _is_of(record: StepRecord, chip: ChipIdentity | None, resource: str) -> bool:
    if chip is None:
        return record.origin.resource == resource
    recorded = record.origin.chip
    return (recorded.manufacturer, recorded.model, recorded.serial) == (
        chip.manufacturer,
        chip.model,
        chip.serial,
    )


def pace_of(found: Iterable[tuple[Path | None, StepRecord]]) -> RecordedPace:
    """Return what recorded steps took, each with its file if it has one; all have a timing."""
    found = list(found)
    seconds: dict[ReadMode, float] = defaultdict(float)
    vectors: dict[ReadMode, int] = defaultdict(int)
    starts = []
    for _, record in found:
        timing = record.timing
        assert timing is not None  # noqa: S101 - see _readable
        seconds[record.key.read_mode] += float((timing.ended_s - timing.began_s).sum())
        vectors[record.key.read_mode] += len(record.inputs)
        starts.append(float(timing.began_s[0]))
    return RecordedPace(
        vector_s={mode: seconds[mode] / vectors[mode] for mode in seconds},
        program_s=max(starts, default=None),
        steps=len(found),
        runs=tuple(sorted({str(path.parent.parent) for path, _ in found if path is not None})),
    )
