"""The journal of a repaired run: the good lines of the old one, and what was lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hil_datasets.durable import finished_file
from hil_datasets.integrity.journal_check import CheckedJournal, JournalLine
from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_sequence import file_of, file_problem
from hil_datasets.run_directory import RunDirectory, key_of
from hil_datasets.step import StepKey
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.stored_errors import errors_to_json

_AFTER_STOP = BEGINNINGS | {"repair", "merge", "split", "stop"}
"""What comes after the `stop` of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoss:
    """What became of a step that was not whole."""

    step: str
    """Its name."""
    state: str
    """``salvaged``, ``lost``, or ``found``: whole, and the journal did not say so any more, or not
    as a run says it."""
    vectors: int = 0
    """How many vectors were saved, where not all were."""
    vectors_lost: int = 0
    """How many were not."""
    proof: str = ""
    """What proves the saved readouts: ``seal``, ``raw_sha256``, ``crc`` or ``none``."""
    raw_sha256: str = ""
    """Content hash of what was saved."""
    was_raw_sha256: str = ""
    """Content hash that the journal had for it."""
    lost: tuple[str, ...] = ()
    """What is lost, or why all is."""


def doubted_steps(journal: CheckedJournal) -> dict[str, tuple[str, ...]]:
    """Return what the journal says of single steps as no run does, by their names."""
    found: dict[str, list[str]] = {}
    earlier: dict[StepKey, JournalLine] = {}
    for line in journal.lines:
        if line.event.get("event") != "step":
            continue
        key = key_of(line.event)
        if key in earlier and line.event["raw_sha256"] != earlier[key].event["raw_sha256"]:
            words = (
                f"line {earlier[key].number} of the journal, whose readouts are others: its file "
                f"fits line {line.number}, and may be of another run"
            )
            found.setdefault(key.name, []).append(words)
        earlier[key] = line
        if file_problem(line.event):
            found.setdefault(key.name, []).append("the name of its file in the journal")
    return {name: tuple(words) for name, words in found.items()}


def write_beginnings(repaired: RunDirectory, journal: CheckedJournal) -> None:
    """Write what says with which campaign file a run went on last; the whole journal follows."""
    lines = [line.content for line in journal.lines if line.event.get("event") in BEGINNINGS]
    repaired.journal_path.write_bytes(b"".join(line + b"\n" for line in lines))


def write_journal(
    run: RunDirectory,
    repaired: RunDirectory,
    journal: CheckedJournal,
    losses: Mapping[str, StepLoss],
    kept: Mapping[StepKey, Mapping[str, Any]],
    *,
    files_lost: Mapping[str, str],
    utc: str,
) -> tuple[int, ...]:
    """Write the journal of a repaired run; return the old one's lines that are not in it.

    Lines of steps that are lost or were changed are left out on purpose; their `repair`
    events say so.
    """
    kept_lines = _without_misplaced(journal.lines)
    copied, dropped = _copied(kept_lines, losses, files_lost)
    good = {line.number for line in kept_lines}
    lost_lines = tuple(line.number for line in journal.lines if line.number not in good)
    if journal.cut_short:
        lost_lines += (len(journal.lines) + 1,)
    lines = [_content_of(line) for line in copied]
    if not any(line.event["event"] == "start" for line in copied):
        lines.insert(0, _json(_start(run, repaired, kept, utc)))
    events = _repairs(run, losses, files_lost, lost_lines=lost_lines, utc=utc)
    named = {key_of(line.event) for line in copied if line.event["event"] == "step"}
    events += [
        {"event": "step", "utc": utc, **event, "errors": errors_to_json(event["errors"])}
        for key, event in kept.items()
        if key not in named
    ]
    if events or not copied or copied[-1].event["event"] != "stop":
        failed = [loss.step for loss in losses.values() if loss.state == "lost"]
        reason = f"a repair: {len(dropped)} steps changed or lost"
        stop = {"event": "stop", "utc": utc, "status": "incomplete", "reason": reason}
        events.append({**stop, "failed": failed})
    lines += [_json(event) for event in events]
    with finished_file(repaired.journal_path) as part:
        part.write_bytes(b"".join(line + b"\n" for line in lines))
    return lost_lines


def _json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, allow_nan=False).encode()


def _content_of(line: JournalLine) -> bytes:
    """Return a line that is kept; a step's with the name of the file that it has."""
    if line.event["event"] != "step" or not file_problem(line.event):
        return line.content
    content = json.loads(line.content)
    return _json(content | {"file": file_of(key_of(line.event).name)})


def _without_misplaced(lines: Sequence[JournalLine]) -> list[JournalLine]:
    """Return the lines that can be read, without beginnings and ends that are none.

    These are a second `start`, a `stop` after which the run goes on without a `resume`, and all
    lines of a step but the last.
    """
    good = [line for line in lines if line.event]
    last = {key_of(line.event): line.number for line in good if line.event["event"] == "step"}
    goes_on = {
        line.number
        for line, follows in pairwise(good)
        if line.event["event"] == "stop" and follows.event["event"] not in _AFTER_STOP
    }
    kept: list[JournalLine] = []
    has_begun = False
    for line in good:
        what = line.event["event"]
        is_second = what == "start" and has_begun
        is_earlier = what == "step" and last[key_of(line.event)] != line.number
        has_begun = has_begun or what == "start"
        if not (is_second or is_earlier or line.number in goes_on):
            kept.append(line)
    return kept


def _copied(
    lines: Sequence[JournalLine], losses: Mapping[str, StepLoss], files_lost: Mapping[str, str]
) -> tuple[list[JournalLine], list[JournalLine]]:
    """Return the lines that the new journal has too, and those of steps that are not as said."""
    changed = {name for name, loss in losses.items() if loss.state == "lost" or loss.raw_sha256}
    copied: list[JournalLine] = []
    dropped: list[JournalLine] = []
    for line in lines:
        what = line.event["event"]
        is_changed = what == "step" and key_of(line.event).name in changed
        is_gone = what == "suspect" and line.event.get("file") in files_lost
        (dropped if is_changed or is_gone else copied).append(line)
    return copied, dropped


def _start(
    run: RunDirectory,
    repaired: RunDirectory,
    kept: Mapping[StepKey, Mapping[str, Any]],
    utc: str,
) -> dict[str, Any]:
    """Return a start event made from a step: the journal's own is lost."""
    event: dict[str, Any] = {"event": "start", "utc": utc}
    for key in kept:
        origin = read_step(repaired.step_path(key)).origin
        return event | {
            "utc": origin.measured_utc,
            "title": origin.title,
            "campaign": str(run.campaign_path.absolute()),
            "campaign_sha256": origin.campaign_sha256,
            "resource": origin.resource,
            "chip": str(origin.chip),
            "software": origin.software,
        }
    return event


def _repairs(
    run: RunDirectory,
    losses: Mapping[str, StepLoss],
    files_lost: Mapping[str, str],
    *,
    lost_lines: tuple[int, ...],
    utc: str,
) -> list[dict[str, Any]]:
    """Return a `repair` event for the run and for each step and file that is not what it was."""
    common = {"event": "repair", "utc": utc, "of": _of(run.path)}
    events: list[dict[str, Any]] = []
    if lost_lines:
        numbers = ", ".join(map(str, lost_lines[:20])) + (", ..." if len(lost_lines) > 20 else "")
        lost = [f"lines of the journal: {numbers}"]
        events.append(common | {"lines_lost": len(lost_lines), "lost": lost})
    for loss in losses.values():
        said = {
            "vectors": loss.vectors,
            "vectors_lost": loss.vectors_lost,
            "proof": loss.proof,
            "raw_sha256": loss.raw_sha256,
            "was_raw_sha256": loss.was_raw_sha256,
        }
        about = {"step": loss.step, "state": loss.state, "lost": list(loss.lost)}
        events.append(common | about | {name: value for name, value in said.items() if value})
    events += [common | {"file": file, "lost": [why]} for file, why in files_lost.items()]
    return events


def _of(path: Path) -> str:
    # A folder's name need not be UTF-8, and a journal is.
    return str(path.absolute()).encode(errors="backslashreplace").decode()
