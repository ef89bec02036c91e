"""The folder of a study: what it is about, and every result, on disk as soon as it is known.

::

    STUDY/study.json       which recording, which software
    STUDY/results.jsonl    one JSON object per format and step
    STUDY/run/             the run, where the study made its own
    STUDY/demo/            network and images of --demo
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.explore.evaluate import FormatResult
from hil_datasets.durable import PART_SUFFIX, finished_file, names_failed_writes, sync_file
from hil_datasets.regular_file import read_regular

ResultKey = tuple[str, str]
"""Format text and content hash of a step: what tells one result from another."""
DESCRIPTION = "study.json"
"""What a study says of itself."""
RUN_FOLDER = "run"
"""Where a study that starts from a campaign file keeps the run."""
_DEMO_FOLDER = "demo"
"""Where a study by accuracy of the demo keeps what it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySubject:
    """What a study is about; results of another subject do not mix with it."""

    campaign_sha256: str
    """Hash of the campaign file: it says how to calibrate."""
    recording: Mapping[str, str]
    """Name of each step of the run to the content hash of its readouts."""
    software: str
    """Name and version of this software: another one may calibrate in another way."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, with the version of this file form."""
        return {"schema_version": 1, **asdict(self)}


class StudyFolder:
    """The results of a study, for reading and appending.

    Parameters
    ----------
    path
        The folder, which `open_study` checked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path / "results.jsonl"

    @property
    def results_path(self) -> Path:
        """The file of results."""
        return self._path

    def results(self) -> dict[ResultKey, FormatResult]:
        """Return every stored result.

        A damaged last line is what a crash left of it: it counts as nothing, and the next
        result takes its place.

        Raises
        ------
        DatasetError
            If the file cannot be read, or a line before the last is damaged.
        """
        found, _ = self._read()
        return {(result.format_text, result.raw_sha256): result for result in found}

    def append(self, result: FormatResult) -> None:
        """Append a result and sync it to the disk.

        Raises
        ------
        DatasetError
            If it cannot be written whole; what is written of it counts as nothing.
        """
        line = json.dumps(asdict(result)).encode() + b"\n"
        with names_failed_writes(self._path), self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other studies out of the folder, and drop a damaged last line.

        Raises
        ------
        ConfigError
            If another process studies in this folder now.
        DatasetError
            If the stored results cannot be read.
        """
        with names_failed_writes(self._path):
            file = self._path.open("ab")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                message = "another hil explore is at work in this folder; choose another --out"
                raise ConfigError(str(self._path.parent), [Problem("", message)]) from error
            with names_failed_writes(self._path):
                os.truncate(self._path, self._read()[1])
                sync_file(self._path.parent)
            yield

    def _read(self) -> tuple[list[FormatResult], int]:
        """Return the results, and how many bytes of the file they fill."""
        if not self._path.exists():
            return [], 0
        lines = read_regular(self._path).splitlines(keepends=True)
        found: list[FormatResult] = []
        length = 0
        for number, line in enumerate(lines, start=1):
            try:
                found.append(_parse_result(line))
            except (ValueError, TypeError, RecursionError) as error:
                if number == len(lines):
                    break
                problem = Problem(f"line {number}", f"is no result: {error}")
                raise DatasetError(str(self._path), [problem]) from error
            length += len(line)
        return found, length


def open_study(path: Path, subject: StudySubject) -> StudyFolder:
    """Open the folder of a study; make it if it is not there.

    Raises
    ------
    ConfigError
        If it holds something else or a study of something else, or cannot be used.
    DatasetError
        If what it says of itself is damaged.
    """
    check_usable(path)
    said = path / DESCRIPTION
    wanted = subject.to_dict()
    if not said.exists():
        with names_failed_writes(said), finished_file(said) as part:
            part.write_text(json.dumps(wanted, indent=1) + "\n")
        return StudyFolder(path)
    try:
        found = json.loads(read_regular(said))
        differing = [name for name in wanted if found.get(name) != wanted[name]]
    except (ValueError, RecursionError, AttributeError) as error:
        raise DatasetError(str(said), [Problem("", f"is no study: {error}")]) from error
    if differing:
        what = {
            "schema_version": "has another form",
            "software": f"was made by {found.get('software')}, this is {subject.software}",
        }.get(differing[0], "is about another recording")
        message = f"the study in this folder {what}; choose another folder with --out"
        raise ConfigError(str(path), [Problem("", message)])
    return StudyFolder(path)


def check_usable(path: Path) -> None:
    """Make the folder of a study if it is not there.

    Raises
    ------
    ConfigError
        If it cannot be made or read, or holds something that is no study.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Problem("", f"cannot be used as output folder: {reason}")
        raise ConfigError(str(path), [problem]) from error
    # A study that was killed at once has a `.part` of its description, and no more.
    own = {RUN_FOLDER, _DEMO_FOLDER, DESCRIPTION + PART_SUFFIX}
    if DESCRIPTION not in names and names - own:
        what = "holds a run" if "journal.jsonl" in names else "is not empty and holds no study"
        message = f"{what}; choose another folder with --out (nothing was changed)"
        raise ConfigError(str(path), [Problem("", message)])


def _parse_result(line: bytes) -> FormatResult:
    if not line.endswith(b"\n"):
        raise ValueError("it has no end")
    content = json.loads(line)
    if not isinstance(content, dict):
        raise TypeError("it is no object")
    result = FormatResult(**content)
    if not result.refusal and not isinstance(result.errors.get("nmpu"), float):
        raise ValueError("it has neither errors nor a refusal")
    return result
