"""Checking a whole run: each file by itself, and all of them against each other."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hil.scale.work_pool import WorkPool
from hil_datasets.durable import MAKING_SUFFIX, PART_SUFFIX
from hil_datasets.integrity.finding import Finding, FindingKind, RunFindings
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.integrity.index_check import words_of
from hil_datasets.integrity.journal_check import CheckedJournal, check_journal
from hil_datasets.integrity.pooled_reader import Answer, PooledReader, Question, Reader, ask_ahead
from hil_datasets.integrity.references import (
    check_campaigns,
    check_references,
    notes_of_journal,
)
from hil_datasets.integrity.repair_notes import RepairNotes
from hil_datasets.run_directory import RunDirectory, open_directory

OnProgress = Callable[[int, int], None]
"""Called with the bytes that are checked and those there are."""


def verify_run(
    path: Path,
    *,
    is_quick: bool = False,
    on_progress: OnProgress = lambda _done, _all: None,
    patience_s: float = 20.0,
    pool: WorkPool | None = None,
    answers: Sequence[Answer] | None = None,
) -> RunFindings:
    """Find everything that is wrong in a run, a folder or a packed file.

    Every HDF5 file is opened in a process of its own, see `GuardedReader`.

    Parameters
    ----------
    path
        The run's folder, or a packed file.
    is_quick
        Leaves out what reads every byte: seals, content hashes and the comparison of the index.
    on_progress
        Who is told how far it is.
    patience_s
        How long one file may take, besides the time that its bytes take.
    pool
        Workers that read the files; this process if left out. The findings do not depend on it.
    answers
        What readers have said when `questions_about` the run were asked, if they were.

    Raises
    ------
    DatasetError
        If there is no run, or its journal cannot be read at all.
    """
    if path.is_file():
        from hil_datasets.packed.pack_verify import verify_pack  # noqa: PLC0415 - folders need none

        return verify_pack(path, is_quick=is_quick, on_progress=on_progress, patience_s=patience_s)
    run = open_directory(path)
    journal = check_journal(run.journal_path)
    with GuardedReader(patience_s=patience_s) as guarded:
        reader: Reader = guarded
        if answers is not None:
            reader = PooledReader(guarded, questions_about(run, is_quick=is_quick), iter(answers))
        elif pool is not None:
            asked = questions_about(run, is_quick=is_quick)
            reader = ask_ahead(guarded, asked, pool=pool, patience_s=patience_s)
        check = _RunCheck(run, journal, reader, is_quick=is_quick, on_progress=on_progress)
        return check.findings()


class _RunCheck:
    def __init__(
        self,
        run: RunDirectory,
        journal: CheckedJournal,
        reader: Reader,
        *,
        is_quick: bool,
        on_progress: OnProgress,
    ) -> None:
        self._run = run
        self._journal = journal
        self._reader = reader
        self._is_quick = is_quick
        self._on_progress = on_progress
        self._notes: list[str] = []
        self._repairs = RepairNotes.of(journal)
        self._checked_bytes = 0
        self._facts: dict[str, dict[str, Any]] = {}

    def findings(self) -> RunFindings:
        files = _files_in(self._run)
        all_bytes = sum(size for _, size in files)
        found = list(self._journal.findings)
        found += check_campaigns(self._run, self._journal, self._repairs)
        steps = 0
        for path, size in files:
            found += self._check_file(path)
            steps += path.suffix == ".h5"
            self._checked_bytes += size
            self._on_progress(self._checked_bytes, all_bytes)
        found += check_references(self._run, self._journal, self._facts, self._repairs)
        found += self._check_index(are_steps_whole=not found)
        return RunFindings(
            run=self._run.path,
            is_quick=self._is_quick,
            steps=steps,
            checked_bytes=self._checked_bytes,
            findings=tuple(dict.fromkeys(found)),
            notes=(*self._repairs.notes, *notes_of_journal(self._journal), *self._notes),
            planned_steps=len(self._journal.planned),
        )

    def _check_file(self, path: Path) -> Iterator[Finding]:
        """Yield what is wrong with one file of the folders `steps` and `suspect`."""
        name = str(path.relative_to(self._run.path))
        if path.suffix == ".npz":
            yield from self._asked("suspect", name)
        elif path.suffix == ".h5":
            yield from self._asked("step", name, is_quick=self._is_quick)
        elif name.endswith(".h5" + PART_SUFFIX):
            yield from self._part(name)
        elif name.endswith((PART_SUFFIX, MAKING_SUFFIX)):
            message = "was being written when a process ended; nothing reads it: it may be removed"
            yield Finding(kind=FindingKind.UNFINISHED, path=name, message=message)
        else:
            message = "is no file of a run"
            yield Finding(kind=FindingKind.REFERENCE, path=name, message=message)

    def _part(self, name: str) -> Iterator[Finding]:
        found = list(self._asked("part", name))
        yield from found
        state = self._facts.pop(name, {}).get("state")
        if found or state is None:
            return
        step = Path(name).name.removesuffix(".h5" + PART_SUFFIX)
        if any(event.get("step") == step for event in self._journal.of("failure")):
            self._notes.append(f"{name}: what was read of a step that has failed")
            return
        proven, claimed, vectors = state
        message = f"is an unfinished step: {proven} of {vectors} vectors are there and whole"
        if claimed > proven:
            message += f", {claimed} were written"
        yield Finding(kind=FindingKind.UNFINISHED, path=name, message=message)

    def _check_index(self, *, are_steps_whole: bool) -> Iterator[Finding]:
        finished = sorted(self._journal.steps)
        name = self._run.index_path.name
        if not self._run.index_path.is_file():
            if finished and self._journal.of("stop"):
                message = "the index is missing: hil data repair makes it again"
                yield Finding(kind=FindingKind.REFERENCE, path=name, message=message)
            return
        stopped = bool(self._journal.events) and self._journal.events[-1]["event"] == "stop"
        size = self._run.index_path.stat().st_size
        yield from self._asked(
            "index",
            name,
            keys=[words_of(key) for key in finished],
            # While a run is written the index lags behind.
            compares=are_steps_whole and not self._is_quick and stopped,
            other_bytes=4 * size + (64 << 10) * len(finished),
        )

    def _asked(self, what: str, name: str, **details: Any) -> Iterator[Finding]:
        """Yield what the guarded reader finds in a file; keep what it tells besides."""
        try:
            answers = self._reader.ask(what, self._run.path / name, **details)
        except ReaderEndedError as error:
            answers = error.said
            yield Finding(kind=FindingKind.UNREADABLE, path=name, message=str(error))
        for answer in answers:
            match answer:
                case {"problem": [kind, where, message]}:
                    yield Finding(kind=FindingKind(kind), path=name, where=where, message=message)
                case {"facts": facts}:
                    self._facts[name] = facts
                case {"state": state}:
                    self._facts[name] = {"state": state}
                case {"note": note}:
                    self._notes.append(f"{name}: {note}")
                case _:
                    message = "reading it takes more memory than a file of its size can need"
                    yield Finding(kind=FindingKind.UNREADABLE, path=name, message=message)


def _files_in(run: RunDirectory) -> list[tuple[Path, int]]:
    """Return the files of steps and suspect readouts with their sizes, sorted by name."""
    found = []
    for folder in ("steps", "suspect"):
        try:
            entries = sorted((run.path / folder).iterdir())
        except OSError:
            continue
        for path in entries:
            try:
                found.append((path, path.stat().st_size))
            except OSError:  # a link to nothing: whoever reads it says so
                found.append((path, 0))
    return found


def questions_about(run: RunDirectory, *, is_quick: bool) -> list[Question]:
    """Return what is asked about the files, in the order in which they are checked."""
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (".npz", "suspect", {}),
        (".h5", "step", {"is_quick": is_quick}),
        (".h5" + PART_SUFFIX, "part", {}),
    )
    return [
        Question(what=what, path=path, details=details)
        for path, _ in _files_in(run)
        for suffix, what, details in kinds
        if path.name.endswith(suffix)
    ]
