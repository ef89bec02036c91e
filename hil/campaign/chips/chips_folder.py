"""``chips.json``: the runs that belong together, because one campaign has begun them at once.

::

    OUT/chips.json       which chips, from which campaign file
    OUT/left/            a run directory like any other, for itself
    OUT/left.txt         what the process of that run has printed
    OUT/right/, OUT/right.txt
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import finished_file, names_failed_writes, sync_file
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import CHIPS_FILE, RunDirectory, make_run_folder

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipsFolder:
    """A folder with a run for each of several chips."""

    path: Path
    """The folder."""
    title: str
    """Title of the campaign."""
    campaign: str
    """The campaign file, an absolute path."""
    campaign_sha256: str
    """Hash of that file when the runs began."""
    assignments: tuple[str, ...]
    """What ``--set`` said."""
    chips: tuple[str, ...]
    """Names of the chips, in the file's order."""

    def run(self, chip: str) -> RunDirectory:
        """Return the run directory of a chip, which may not be there yet."""
        return RunDirectory(self.path / chip)

    def words(self, chip: str) -> Path:
        """Return the file with what a chip's process has printed."""
        return self.path / f"{chip}.txt"

    def has_begun(self, chip: str) -> bool:
        """Tell whether a chip's run has a journal: one without it begins anew."""
        return self.run(chip).journal_path.is_file()


def is_chips_folder(path: Path) -> bool:
    """Tell whether a folder holds the runs of several chips."""
    return (path / CHIPS_FILE).is_file()


def make_chips_folder(folder: ChipsFolder) -> None:
    """Make the folder of a new campaign of several chips.

    Raises
    ------
    ConfigError
        If it holds anything, lies inside a run, or cannot be made.
    DatasetError
        If ``chips.json`` cannot be written.
    """
    make_run_folder(folder.path)
    content = {"schema_version": _SCHEMA_VERSION, **asdict(folder)}
    del content["path"]
    path = folder.path / CHIPS_FILE
    with names_failed_writes(path):
        with finished_file(path) as part:
            part.write_bytes(json.dumps(content, indent=1).encode() + b"\n")
        sync_file(folder.path.absolute().parent)


def read_chips_folder(path: Path) -> ChipsFolder:
    """Read which runs belong together.

    Raises
    ------
    DatasetError
        If ``chips.json`` is missing, damaged, or of another version.
    """
    file = path / CHIPS_FILE
    try:
        value = json.loads(read_regular(file))
        return _folder_of(path, value)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        reason = f"is damaged: {error}; each run beside it goes on by itself"
        raise DatasetError(str(file), [Problem("", reason)]) from error


def _folder_of(path: Path, value: Mapping[str, Any]) -> ChipsFolder:
    if value["schema_version"] != _SCHEMA_VERSION:
        raise ValueError(f"version {value['schema_version']!r}, not {_SCHEMA_VERSION}")
    chips = tuple(map(str, value["chips"]))
    if not chips or any(Path(chip).name != chip or chip in {".", ".."} for chip in chips):
        raise ValueError("names no chips")
    return ChipsFolder(
        path=path,
        title=str(value["title"]),
        campaign=str(value["campaign"]),
        campaign_sha256=str(value["campaign_sha256"]),
        assignments=tuple(map(str, value["assignments"])),
        chips=chips,
    )
