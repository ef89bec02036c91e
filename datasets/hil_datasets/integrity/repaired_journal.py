"""The journal of a repaired run: the good lines of the old one, and what was lost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_datasets.durable import finished_file
from hil_datasets.integrity.journal_check import CheckedJournal, JournalLine
from hil_datasets.journal import BEGINNINGS
from hil_datasets.run_directory import RunDirectory, key_of
from hil_datasets.step import StepKey
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.stored_errors import errors_to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoss:
    """What became of a step that was not whole."""

    step: str
    """Its name."""
    state: str
    """``salvaged``, ``lost``, or ``found``: whole, and the journal did not say so any more."""
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
    copied, dropped = _copied(journal, losses, files_lost)
    lost_lines = tuple(line.number for line in journal.lines if not line.event)
    if journal.cut_short:
        lost_lines += (len(journal.lines) + 1,)
    lines = [line.content for line in copied]
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


def _copied(
    journal: CheckedJournal, losses: Mapping[str, StepLoss], files_lost: Mapping[str, str]
) -> tuple[list[JournalLine], list[JournalLine]]:
    """Return the lines that the new journal has too, and those of steps that are not as said."""
    changed = {name for name, loss in losses.items() if loss.state == "lost" or loss.raw_sha256}
    copied: list[JournalLine] = []
    dropped: list[JournalLine] = []
    finished: dict[StepKey, JournalLine] = {}
    for line in journal.lines:
        if not line.event:
            continue
        what = line.event["event"]
        if what == "step" and key_of(line.event).name in changed:
            dropped.append(line)
            continue
        if what == "suspect" and line.event.get("file") in files_lost:
            dropped.append(line)
            continue
        if what == "step":
            earlier = finished.get(key_of(line.event))
            if earlier is not None:  # finished twice: the later line is the one that holds
                copied.remove(earlier)
            finished[key_of(line.event)] = line
        if what == "start" and any(one.event["event"] == "start" for one in copied):
            continue
        copied.append(line)
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
