"""The files of a run besides its steps, copied where they are whole."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hil.core.errors import DatasetError
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.integrity.journal_check import CheckedJournal
from hil_datasets.integrity.references import mapping_hashes
from hil_datasets.journal import BEGINNINGS
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory
from hil_datasets.trace.beginning import MAPPING_FILE

_LINES = "known-answers.jsonl"


def copy_campaigns(
    run: RunDirectory, repaired: RunDirectory, journal: CheckedJournal
) -> dict[str, str]:
    """Copy the campaign files that are those of the journal; return why others are lost."""
    lost: dict[str, str] = {}
    for file, sha256 in _campaigns(journal):
        if Path(file).name != file:
            continue
        try:
            content = read_regular(run.path / file)
        except DatasetError as error:
            lost[file] = error.problems[0].message
            (repaired.path / file).unlink(missing_ok=True)
            continue
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            lost[file] = "was changed since the run"
            (repaired.path / file).unlink(missing_ok=True)
            continue
        (repaired.path / file).write_bytes(content)
    return lost


def _campaigns(journal: CheckedJournal) -> Iterator[tuple[str, str | None]]:
    """Yield the campaign files that a journal names, each with its hash if that is said."""
    events = journal.of(*BEGINNINGS)
    if not events:
        yield "campaign.toml", None
    seen: set[str] = set()
    for event in events:
        name = event.get("config") or "campaign"
        if name in seen:
            continue
        seen.add(name)
        yield f"{name}.toml", event.get("campaign_sha256")
        if "resolved_sha256" in event:
            yield f"{name}.resolved.json", event["resolved_sha256"]
    for sha256 in mapping_hashes(journal):
        yield MAPPING_FILE, sha256


def copy_others(
    run: RunDirectory, repaired: RunDirectory, journal: CheckedJournal, reader: GuardedReader
) -> dict[str, str]:
    """Copy suspect readouts, known answers and the log; return why some are lost."""
    lost: dict[str, str] = {}
    for event in journal.of("suspect"):
        file = event.get("file")
        if file is None:
            continue
        reason = _why_not_suspect(run, file, reader)
        if reason:
            lost[file] = reason
            continue
        (repaired.path / "suspect").mkdir(exist_ok=True)
        shutil.copyfile(run.path / file, repaired.path / file)
    for path in sorted([run.path / _LINES, *run.path.glob("log*.jsonl")]):
        if not path.is_file():
            continue
        try:
            content = read_regular(path)
        except DatasetError as error:
            lost[path.name] = "; ".join(problem.message for problem in error.problems)
            continue
        # A line that was cut short is none.
        (repaired.path / path.name).write_bytes(content[: content.rfind(b"\n") + 1])
    return lost


def _why_not_suspect(run: RunDirectory, file: str, reader: GuardedReader) -> str:
    """Say why suspect readouts cannot be kept; nothing if they can."""
    if Path(file).parent != Path("suspect") or Path(file).name in {"", ".."}:
        return "is no file of this run"
    if not (run.path / file).is_file():
        return "is missing"
    try:
        answers = reader.ask("suspect", run.path / file)
    except ReaderEndedError as error:
        return str(error)
    return next((each["problem"][2] for each in answers if "problem" in each), "")
