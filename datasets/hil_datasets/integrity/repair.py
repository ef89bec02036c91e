"""Saving what can be saved of a damaged run, into a new one; the original is only read."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import CalibrationError, DatasetError, Problem
from hil_datasets.found_runs import words_of_runs_below
from hil_datasets.integrity.finding import RunFindings
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.integrity.index_check import words_of
from hil_datasets.integrity.journal_check import CheckedJournal, check_journal
from hil_datasets.integrity.kept_files import copy_campaigns, copy_others
from hil_datasets.integrity.repaired_journal import (
    StepLoss,
    doubted_steps,
    write_beginnings,
    write_journal,
)
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.integrity.salvaged_step import (
    Conclude,
    NotConcludedError,
    SalvagedReadouts,
    read_salvaged,
    store_salvaged,
)
from hil_datasets.integrity.steps_left import (
    PART,
    STEP,
    calibrations_first,
    never_taken,
    step_files,
)
from hil_datasets.integrity.superblock import HEAD_BYTES, mend_head
from hil_datasets.new_folder import new_folder
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.run_source import StepFacts
from hil_datasets.seal import check_seal
from hil_datasets.step import StepConclusion, StepKey
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.told_facts import facts_sha256

OnProgress = Callable[[int, int], None]
ConcludeBy = Callable[[RunDirectory], Conclude]
_HASHES = ("raw_sha256", "concluded_sha256", "facts_sha256")
_OTHER_FACTS = "what its file said of chip, tile, counters, circumstance, conditions or software"
_INDEX_BYTES = 128 << 20
"""Room for an index, in the process that reads or makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair has done."""

    run: Path
    """The new run."""
    whole: tuple[str, ...]
    """Steps whose files were copied as they are."""
    losses: tuple[StepLoss, ...]
    """Steps that are not what they were, and what is lost of each."""
    lines_lost: tuple[int, ...]
    """Lines of the journal that could not be kept, from 1."""
    files_lost: Mapping[str, str]
    """Other files that were not kept, and why."""
    findings: RunFindings
    """What is still wrong with the new run: nothing, if all went well."""


def repair_run(
    path: Path,
    out: Path,
    *,
    conclude: ConcludeBy,
    utc: str,
    on_progress: OnProgress = lambda _done, _all: None,
    patience_s: float = 20.0,
) -> RepairReport:
    """Save what can be saved of a run into a new one.

    Step files that are whole are copied byte for byte. Of the others the readouts are taken that
    are left, and the conclusions are drawn from them again.

    Parameters
    ----------
    path
        The damaged run, which is only read.
    out
        Folder of the new run.
    conclude
        Returns what calibrates from readouts as the campaign says. The folder that it is given
        has the campaign files that were saved, once the first step is concluded, and becomes `out`.
    utc
        The time, ISO 8601.
    on_progress
        Who is told how many of the steps are done.
    patience_s
        How long one file may take, besides the time that its bytes take.

    Raises
    ------
    DatasetError
        If there is nothing of a run, or the new one cannot be written.
    ConfigError
        If the folder `out` cannot be used.
    """
    run = RunDirectory(path)
    files = step_files(run)
    journal = _journal_of(run, files)
    campaign = run.read_campaign() if run.campaign_path.is_file() else b""
    with (
        new_folder(out) as made,
        GuardedReader(patience_s=patience_s) as reader,
        # Beside what becomes the run: a disk with room for it has room for one more of its steps.
        tempfile.TemporaryDirectory(prefix="salvage-", dir=made.parent) as scratch,
    ):
        repaired = create_run(made, campaign)
        repair = _Repair(
            run,
            repaired,
            journal,
            reader=reader,
            scratch=Path(scratch),
            conclude=conclude(repaired),
        )
        files_lost = copy_campaigns(run, repaired, journal)
        write_beginnings(repaired, journal)
        for done, (name, file) in enumerate(sorted(files.items(), key=calibrations_first), start=1):
            repair.take(name, file)
            on_progress(done, len(files))
        for key in sorted(journal.steps):
            if key.name not in files:
                repair.lose(key.name, "its file is missing")
        for name in never_taken(journal, files):
            repair.lose(name, "it was planned and never begun")
        files_lost |= copy_others(run, repaired, journal, reader)
        lines_lost = write_journal(
            run, repaired, journal, repair.losses, repair.kept, files_lost=files_lost, utc=utc
        )
        repair.write_index()
    return RepairReport(
        run=out,
        whole=tuple(repair.whole),
        losses=tuple(repair.losses.values()),
        lines_lost=lines_lost,
        files_lost=files_lost,
        findings=verify_run(out, patience_s=patience_s),
    )


def _journal_of(run: RunDirectory, files: Mapping[str, Path]) -> CheckedJournal:
    if run.journal_path.is_file():
        return check_journal(run.journal_path)
    if not files:
        what = "holds nothing of a run" + words_of_runs_below(run.path)
        what = what if run.path.exists() else "no such folder"
        raise DatasetError(str(run.path), [Problem("", what)])
    return CheckedJournal(lines=(), cut_short=b"", findings=())


class _Repair:
    def __init__(
        self,
        run: RunDirectory,
        repaired: RunDirectory,
        journal: CheckedJournal,
        *,
        reader: GuardedReader,
        scratch: Path,
        conclude: Conclude,
    ) -> None:
        self._run = run
        self._repaired = repaired
        self._reader = reader
        self._scratch = scratch
        self._conclude = conclude
        self._told = {key.name: event for key, event in journal.steps.items()}
        self._hashes = {name: event["raw_sha256"] for name, event in self._told.items()}
        self._doubts = doubted_steps(journal)
        self._words = {key.name: words_of(key) for key in journal.steps}
        self._conclusions: dict[str, StepConclusion] = {}
        self.whole: list[str] = []
        self.losses: dict[str, StepLoss] = {}
        self.kept: dict[StepKey, dict[str, Any]] = {}
        """The `step` event of each step that the new run holds."""

    def take(self, name: str, file: Path) -> None:
        """Copy a step that is whole, salvage another one, or say that it is lost."""
        is_part = file.name.endswith(PART)
        if not is_part and self._is_whole(name, file):
            self._keep(name, file)
            return
        try:
            readouts, was_marked = self._salvage(name, file, is_part=is_part)
            if readouts is None:
                # Only the marks of a writer were wrong with it.
                self._keep(name, self._scratch / "copy.h5")
                self._note(name, vectors=0, proof="seal", lost=("marks of an open file",))
                return
            self._store(name, readouts, is_part=is_part, was_marked=was_marked)
        except (NotConcludedError, CalibrationError, ReaderEndedError) as error:
            self.lose(name, str(error))

    def lose(self, name: str, reason: str) -> None:
        """Note that nothing of a step is left."""
        self._forget(name)
        # A file is told as what it is called in the run: the folder has another name until later.
        reason = reason.replace(f"{self._repaired.path}/", "")
        self.losses[name] = StepLoss(
            step=name, state="lost", was_raw_sha256=self._hashes.get(name, ""), lost=(reason,)
        )

    def write_index(self) -> None:
        """Write the index of the new run, in the process that may die of a step file."""
        keys = [words_of(key) for key in self.kept]
        if keys:
            self._reader.ask(
                "write_index", self._repaired.path, keys=keys, other_bytes=_INDEX_BYTES
            )

    def _forget(self, name: str) -> None:
        for suffix in (STEP, PART, ".h5.making"):
            (self._repaired.path / "steps" / f"{name}{suffix}").unlink(missing_ok=True)

    def _is_whole(self, name: str, file: Path) -> bool:
        try:
            answers = self._reader.ask("step", file)
        except ReaderEndedError:
            return False
        if any("facts" not in answer for answer in answers):
            return False
        facts: dict[str, Any] = next((each["facts"] for each in answers), {})
        told = self._told.get(name, {})
        return facts.get("name") == name and all(
            told.get(what, facts.get(what)) == facts.get(what) for what in _HASHES
        )

    def _keep(self, name: str, file: Path) -> None:
        target = self._repaired.path / "steps" / f"{name}{STEP}"
        shutil.copyfile(file, target)
        record = read_step(target)
        if record.key.name != name:
            raise NotConcludedError(f"it holds step {record.key.name}")
        self._remember(StepFacts.of(record))
        self.whole.append(name)
        if name not in self._hashes:
            self._note(name, state="found", lost=("its line of the journal",))
        elif name in self._doubts:
            self._note(name, state="found", lost=self._doubts[name])

    def _remember(self, step: StepFacts) -> None:
        key = step.key
        self._conclusions[key.name] = step.conclusion
        self.kept[key] = {
            "core": key.core,
            "read_mode": str(key.read_mode),
            "visit": key.visit,
            "kind": str(key.kind),
            "file": f"steps/{key.name}{STEP}",
            "raw_sha256": step.raw_sha256,
            "concluded_sha256": concluded_sha256(step.conclusion),
            "facts_sha256": facts_sha256(key, step.origin, step.conditions),
            "errors": step.conclusion.errors,
        }

    def _salvage(
        self, name: str, file: Path, *, is_part: bool
    ) -> tuple[SalvagedReadouts | None, bool]:
        """Return the readouts of a copy with a mended head; None if that makes the file whole."""
        copy, size = self._scratch / "copy.h5", file.stat().st_size
        shutil.copyfile(file, copy)
        try:
            with copy.open("r+b") as stream:
                head = mend_head(stream.read(HEAD_BYTES), file_bytes=size)
                stream.seek(0)
                stream.write(head.content)
        except ValueError as error:
            raise NotConcludedError(f"its first bytes are gone: {error}") from error
        if head.was_marked and not is_part:
            try:
                check_seal(copy)
            except ValueError:
                pass
            else:
                if self._is_whole(name, copy):
                    return None, True
        answers = self._reader.ask(
            "salvage",
            copy,
            into=str(self._scratch),
            file_bytes=size,
            is_part=is_part,
            raw_sha256=self._hashes.get(name),
            index=str(self._run.index_path.absolute()) if self._run.index_path.is_file() else "",
            words=self._words.get(name),
            other_bytes=_INDEX_BYTES,
        )
        return read_salvaged(answers, self._scratch, name), head.was_marked

    def _store(
        self, name: str, readouts: SalvagedReadouts, *, is_part: bool, was_marked: bool
    ) -> None:
        source = readouts.origin.circumstance.correction_of
        judged = None if source is None else self._conclusions.get(source.step)
        if source is not None and judged is None:
            raise NotConcludedError(f"{source.step}, whose correction it judges, is lost")
        raw_sha256, conclusion = store_salvaged(
            self._repaired.step_path(readouts.key), readouts, judged, self._conclude
        )
        stored = StepFacts(
            key=readouts.key,
            origin=readouts.origin,
            conclusion=conclusion,
            raw_sha256=raw_sha256,
            conditions=readouts.conditions,
        )
        self._remember(stored)
        lost = ["the device's NMPU outputs, the times of its blocks"]
        facts = self.kept[readouts.key]["facts_sha256"]
        if (
            not readouts.vectors_lost
            and self._told.get(name, {}).get("facts_sha256", facts) != facts
        ):
            lost.append(_OTHER_FACTS)
        if readouts.vectors_lost:
            lost.insert(0, f"vectors {len(readouts.raw)} to {readouts.total - 1}")
        if not is_part:
            lost.append("its conclusions, which were drawn again")
        if was_marked:
            lost.append("marks of an open file")
        self._note(
            name,
            vectors=len(readouts.raw),
            vectors_lost=readouts.vectors_lost,
            proof=readouts.proof,
            raw_sha256=raw_sha256,
            lost=tuple(lost),
        )

    def _note(self, name: str, *, state: str = "salvaged", **loss: Any) -> None:
        was = "" if state == "found" else self._hashes.get(name, "")  # found, it is what it was
        self.losses[name] = StepLoss(step=name, state=state, was_raw_sha256=was, **loss)
