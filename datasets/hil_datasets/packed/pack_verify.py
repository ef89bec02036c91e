"""Checking a packed file: the file, each of its steps, and all of them against its journal."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError
from hil_datasets.integrity.finding import Finding, FindingKind, RunFindings
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.integrity.journal_check import JOURNAL, check_journal
from hil_datasets.integrity.references import (
    check_campaigns,
    check_references,
    notes_of_journal,
)
from hil_datasets.integrity.repair_notes import RepairNotes
from hil_datasets.packed.compression import MOST_EXPANSION
from hil_datasets.packed.layout import FILES_GROUP, STEPS_GROUP, is_suspect_file
from hil_datasets.run_directory import RunDirectory

OnProgress = Callable[[int, int], None]
"""Called with the bytes that are checked and those there are."""


def verify_pack(
    path: Path,
    *,
    is_quick: bool = False,
    on_progress: OnProgress = lambda _done, _all: None,
    patience_s: float = 20.0,
) -> RunFindings:
    """Find everything that is wrong in a packed file.

    HDF5 opens it in a process of its own, see `GuardedReader`. Of a damaged file the notes say
    which steps are proven whole.

    Parameters
    ----------
    path
        The file.
    is_quick
        Leaves out what reads every byte: seal and content hashes.
    on_progress
        Who is told how far it is.
    patience_s
        How long an answer may take, besides the time that the bytes of the file take.
    """
    with (
        GuardedReader(patience_s=patience_s) as reader,
        tempfile.TemporaryDirectory(prefix="hil-verify-") as folder,
    ):
        check = _PackCheck(path, Path(folder), reader, is_quick=is_quick)
        return check.findings(on_progress)


class _PackCheck:
    def __init__(self, path: Path, folder: Path, reader: GuardedReader, *, is_quick: bool) -> None:
        self._path = path
        self._scratch = RunDirectory(folder)
        self._reader = reader
        self._is_quick = is_quick
        self._has_readouts = True
        self._steps: list[str] = []
        self._notes: list[str] = []
        self._facts: dict[str, dict[str, Any]] = {}
        self._damaged: set[str] = set()
        self._planned_steps = 0

    def findings(self, on_progress: OnProgress) -> RunFindings:
        size = _size_of(self._path)
        found = list(self._file(size))
        is_damaged = bool(found)
        for done, name in enumerate(self._steps):
            on_progress(size * done // len(self._steps), size)
            wrong = list(self._step(name, size))
            found += wrong
            if is_damaged and not wrong and self._has_readouts and not self._is_quick:
                self._notes.append(f"{STEPS_GROUP}/{name}: its readouts match their content hash")
        found += self._agreement()
        on_progress(size, size)
        return RunFindings(
            run=self._path,
            is_quick=self._is_quick,
            steps=len(self._steps),
            checked_bytes=size,
            findings=tuple(dict.fromkeys(found)),
            notes=tuple(self._notes),
            planned_steps=self._planned_steps,
        )

    def _file(self, size: int) -> Iterator[Finding]:
        """Yield what is wrong with the file besides its steps; learn which it has."""
        folder = str(self._scratch.path)
        (self._scratch.path / "steps").mkdir()
        for answer in self._asked("pack", self._path.name, size, folder=folder):
            if isinstance(answer, Finding):
                self._damaged.add(answer.where)
                yield answer
            else:
                self._has_readouts = bool(answer["pack"]["has_readouts"])
                self._steps = [str(name) for name in answer["pack"]["steps"]]
                if not self._has_readouts:
                    self._notes.append("packed without readouts: they cannot be compared")

    def _step(self, name: str, size: int) -> Iterator[Finding]:
        place = f"{STEPS_GROUP}/{name}"
        file = f"steps/{name}.h5"
        details: dict[str, Any] = {"name": name, "has_readouts": self._has_readouts}
        for answer in self._asked("packed_step", place, size, **details):
            if isinstance(answer, Finding):
                yield answer
            else:
                self._facts[file] = answer["facts"]
        (self._scratch.path / file).touch()

    def _agreement(self) -> Iterator[Finding]:
        """Yield what the parts of the file say of each other and is not so."""
        try:
            journal = check_journal(self._scratch.journal_path)
        except DatasetError as error:
            if self._steps or self._scratch.campaign_path.exists():
                message = error.problems[0].message
                finding = Finding(kind=FindingKind.REFERENCE, path=JOURNAL, message=message)
                yield from self._placed([finding])
            return
        self._planned_steps = len(journal.planned)
        repairs = RepairNotes.of(journal)
        self._notes += (*repairs.notes, *notes_of_journal(journal))
        found = list(journal.findings)
        found += check_campaigns(self._scratch, journal, repairs)
        found += check_references(self._scratch, journal, self._facts, repairs)
        for path in sorted((self._scratch.path / "suspect").glob("*.npz")):
            answers = self._asked("suspect", f"suspect/{path.name}", 0, path=path)
            found += [answer for answer in answers if isinstance(answer, Finding)]
        yield from self._placed(found)

    def _placed(self, found: Iterable[Finding]) -> Iterator[Finding]:
        """Yield findings about the files of a folder as they are about those of this file."""
        for finding in found:
            place = _packed_place(finding.path)
            is_left_out = is_suspect_file(finding.path) and not self._has_readouts
            is_missing = finding.message == "no such file"
            if is_left_out or (is_missing and place in self._damaged):
                continue  # what is damaged is there, and what damage it has was told
            message = "missing in this packed file" if is_missing else finding.message
            yield replace(finding, path=place, message=message)

    def _asked(
        self, what: str, place: str, size: int, *, path: Path | None = None, **details: Any
    ) -> Iterator[Finding | dict[str, Any]]:
        """Yield what the guarded reader finds, problems with their place in the file."""
        if what != "suspect":
            # What is stored of a packed file may become so many times more, and nothing beyond it.
            details |= {"other_bytes": (MOST_EXPANSION - 1) * size, "is_quick": self._is_quick}
        try:
            answers = self._reader.ask(what, path or self._path, **details)
        except ReaderEndedError as error:
            answers = error.said
            yield Finding(kind=FindingKind.UNREADABLE, path=place, message=str(error))
        for answer in answers:
            match answer:
                case {"problem": [kind, where, message]}:
                    where = where.removeprefix(place) or "/"
                    yield Finding(kind=FindingKind(kind), path=place, where=where, message=message)
                case {"pack": _} | {"facts": _}:
                    yield answer
                case {"note": note}:
                    self._notes.append(f"{place}: {note}")
                case _:
                    message = "reading it takes more memory than a file of its size can need"
                    yield Finding(kind=FindingKind.UNREADABLE, path=place, message=message)


def _packed_place(file: str) -> str:
    """Return where in a packed file a file of a run is."""
    if file.startswith("steps/"):
        return f"{STEPS_GROUP}/{Path(file).stem}"
    return f"{FILES_GROUP}/{file}"


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the reader says why
