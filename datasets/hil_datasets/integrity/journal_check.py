"""Reading a journal that may be damaged: the good lines, and what is wrong with the others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError
from hil_datasets.integrity.finding import Finding, FindingKind
from hil_datasets.journal import BEGINNINGS, parse_event
from hil_datasets.journal_sequence import order_problems, sequence_problems
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import key_of
from hil_datasets.step import StepKey

JOURNAL = "journal.jsonl"
_MOST_LINE_PROBLEMS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """One whole line of a journal."""

    number: int
    """From 1."""
    content: bytes
    """Without its newline."""
    event: Mapping[str, Any]
    """What it says; empty if it is no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedJournal:
    """A journal, as far as it can be read."""

    lines: tuple[JournalLine, ...]
    """Its whole lines, the bad ones too."""
    cut_short: bytes
    """What follows the last newline."""
    findings: tuple[Finding, ...]
    """What is wrong with it."""

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """The events that can be read, in order."""
        return [line.event for line in self.lines if line.event]

    def of(self, *names: str) -> list[Mapping[str, Any]]:
        """Return the events of some names."""
        return [event for event in self.events if event["event"] in names]

    @property
    def steps(self) -> dict[StepKey, Mapping[str, Any]]:
        """The last `step` event of each finished step."""
        return {key_of(event): event for event in self.of("step")}

    @property
    def skipped(self) -> dict[StepKey, Mapping[str, Any]]:
        """The last `skip` event of each step that was not taken after all."""
        skips = {key_of(event): event for event in self.of("skip")}
        return {key: event for key, event in skips.items() if key not in self.steps}

    @property
    def planned(self) -> tuple[str, ...]:
        """Names of the steps that the run was last going to take."""
        named = [event["planned"] for event in self.of(*BEGINNINGS) if "planned" in event]
        return tuple(named[-1]) if named else ()


def check_journal(path: Path) -> CheckedJournal:
    """Read a journal, its bad lines told and left out.

    Raises
    ------
    DatasetError
        If it is missing, no regular file, too large, or cannot be read.
    """
    *contents, cut_short = read_regular(path).split(b"\n")
    lines: list[JournalLine] = []
    findings: list[Finding] = []
    for number, content in enumerate(contents, start=1):
        event: dict[str, Any] = {}
        try:
            event = parse_event(path, number, content)
        except DatasetError as error:
            findings += [
                _finding(FindingKind.SCHEMA, problem.where, problem.message)
                for problem in error.problems
            ]
        lines.append(JournalLine(number=number, content=content, event=event))
        if len(findings) > _MOST_LINE_PROBLEMS:
            findings.append(_finding(FindingKind.SCHEMA, "", "and more: no further line is read"))
            break
    if cut_short:
        message = f"its last line was cut short after {len(cut_short)} bytes"
        findings.append(_finding(FindingKind.UNFINISHED, f"line {len(lines) + 1}", message))
    findings += _sequence(lines)
    return CheckedJournal(lines=tuple(lines), cut_short=cut_short, findings=tuple(findings))


def _finding(kind: FindingKind, where: str, message: str) -> Finding:
    return Finding(kind=kind, path=JOURNAL, where=where, message=message)


def _sequence(lines: Sequence[JournalLine]) -> Iterator[Finding]:
    """Yield what comes in an order in which no run writes it."""
    good = [(line.number, line.event) for line in lines if line.event]
    if not good or good[0][1]["event"] not in {"start", "repair"}:
        yield _finding(
            FindingKind.SEQUENCE, "line 1", "must be a start event: the beginning is gone"
        )
    for problem in (*sequence_problems(good), *order_problems(good)):
        yield _finding(FindingKind.SEQUENCE, problem.where, problem.message)
