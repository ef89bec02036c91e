"""What the files of a run say of each other: hashes, names, chips, corrections."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from hil.core.errors import DatasetError
from hil_datasets.integrity.finding import Finding, FindingKind
from hil_datasets.integrity.journal_check import JOURNAL, CheckedJournal
from hil_datasets.integrity.repair_notes import RepairNotes
from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_sequence import file_of, file_problem
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step_files.concluded import concluded_misfit
from hil_datasets.step_files.stored_errors import errors_misfit
from hil_datasets.step_files.told_facts import facts_misfit
from hil_datasets.step_programming import StepProgrammings
from hil_datasets.trace.beginning import MAPPING_FILE

_REFERENCE, _FOREIGN = FindingKind.REFERENCE, FindingKind.FOREIGN
_NAMING = frozenset({"skip", "fault", "failure", "suspect", "pause", "continue", "begin"})
"""Events that name a step of the run."""

Facts = Mapping[str, Mapping[str, Any]]
"""What each step file says of itself, by its name in the run."""


def check_campaigns(
    run: RunDirectory, journal: CheckedJournal, repairs: RepairNotes
) -> Iterator[Finding]:
    """Yield campaign files that are missing, or not those that the journal tells of."""
    wanted: dict[str, str | None] = {}
    for event in journal.of(*BEGINNINGS):
        name = event.get("config") or "campaign"
        for file, key in (
            (f"{name}.toml", "campaign_sha256"),
            (f"{name}.resolved.json", "resolved_sha256"),
        ):
            if file.endswith(".toml") or key in event:
                wanted.setdefault(file, event.get(key))
    yield from _mapping(run, journal, repairs)
    for file, sha256 in wanted.items():
        if file in repairs.lost_files:
            continue
        if PurePosixPath(file).name != file:
            yield Finding(
                kind=_REFERENCE, path=JOURNAL, message=f"names {file!r}, no file of a run"
            )
            continue
        try:
            found = hashlib.sha256(read_regular(run.path / file)).hexdigest()
        except DatasetError as error:
            yield Finding(kind=_REFERENCE, path=file, message=error.problems[0].message)
            continue
        if sha256 is not None and found != sha256:
            message = f"was changed since the run: its SHA-256 is {found}, the journal's {sha256}"
            yield Finding(kind=FindingKind.HASH, path=file, message=message)


def mapping_hashes(journal: CheckedJournal) -> set[str]:
    """Return the hash of the mapping file that a run keeps; nothing if it keeps none.

    A run that was fitted again or merged tells of the mapping of another, whose file it may lack.
    """
    if journal.of("merge"):
        return set()
    return {
        event["mapping_sha256"]
        for event in journal.of(*BEGINNINGS)
        if "mapping_sha256" in event and "refit_of" not in event
    }


def _mapping(run: RunDirectory, journal: CheckedJournal, repairs: RepairNotes) -> Iterator[Finding]:
    """Yield a mapping file that is missing, or not the one that the run was converted with."""
    wanted = mapping_hashes(journal)
    if not wanted or MAPPING_FILE in repairs.lost_files:
        return
    try:
        found = hashlib.sha256(read_regular(run.path / MAPPING_FILE)).hexdigest()
    except DatasetError as error:
        yield Finding(kind=_REFERENCE, path=MAPPING_FILE, message=error.problems[0].message)
        return
    if found not in wanted:
        message = (
            f"was changed since the run: its SHA-256 is {found}, the journal's "
            f"{' or '.join(sorted(wanted))}"
        )
        yield Finding(kind=FindingKind.HASH, path=MAPPING_FILE, message=message)


def check_references(
    run: RunDirectory, journal: CheckedJournal, facts: Facts, repairs: RepairNotes
) -> Iterator[Finding]:
    """Yield what journal and step files say of each other and is not so."""
    yield from _steps_of_journal(run, journal)
    yield from _unnamed_files(run, journal)
    yield from _facts_against_journal(journal, facts)
    yield from _chips(journal, facts)
    yield from _corrections(journal, facts, repairs)
    yield from _programmings(journal, facts)
    yield from _names_in_events(journal)
    yield from _unfinished(journal, repairs)


def _steps_of_journal(run: RunDirectory, journal: CheckedJournal) -> Iterator[Finding]:
    for key, event in journal.steps.items():
        file = file_of(key.name)
        if not (run.path / file).exists():
            message = "no such file, and the journal calls the step finished"
            yield Finding(kind=_REFERENCE, path=file, message=message)
        if message := file_problem(event):
            yield Finding(kind=_REFERENCE, path=JOURNAL, message=message)


def _unnamed_files(run: RunDirectory, journal: CheckedJournal) -> Iterator[Finding]:
    named = {file_of(key.name) for key in journal.steps}
    suspect = {event["file"] for event in journal.of("suspect") if "file" in event}
    for folder, names in (("steps", named), ("suspect", suspect)):
        suffix = ".h5" if folder == "steps" else ".npz"
        for path in sorted((run.path / folder).glob(f"*{suffix}")):
            file = f"{folder}/{path.name}"
            if file not in names:
                yield Finding(kind=_REFERENCE, path=file, message="the journal does not name it")
    for file in sorted(suspect):
        place = PurePosixPath(file)
        is_inside = place.parent == PurePosixPath("suspect") and place.name not in {"", ".."}
        if not is_inside or not (run.path / file).is_file():
            message = "no such file, and the journal says that suspect readouts are in it"
            yield Finding(kind=_REFERENCE, path=file, message=message)


def _facts_against_journal(journal: CheckedJournal, facts: Facts) -> Iterator[Finding]:
    hashes = {
        event["campaign_sha256"] for event in journal.of(*BEGINNINGS) if "campaign_sha256" in event
    }
    events = {file_of(key.name): event for key, event in journal.steps.items()}
    for file, said in facts.items():
        if "name" in said and file_of(said["name"]) != file:
            yield Finding(kind=_FOREIGN, path=file, where="/", message=f"holds step {said['name']}")
        event = events.get(file, {})
        message = errors_misfit(_errors_of(said), event.get("errors", {}))
        if "errors" in said and message:
            yield Finding(kind=FindingKind.HASH, path=file, where="/verification", message=message)
        if "concluded_sha256" in said:
            journaled = event.get("concluded_sha256", "")
            if message := concluded_misfit(said["concluded_sha256"], journaled):
                yield Finding(kind=FindingKind.HASH, path=file, where="/", message=message)
        if "facts_sha256" in said:
            journaled = event.get("facts_sha256", "")
            if message := facts_misfit(said["facts_sha256"], journaled):
                yield Finding(kind=FindingKind.HASH, path=file, where="/", message=message)
        wanted = event.get("raw_sha256")
        for name, allowed in (
            ("raw_sha256", {wanted} if wanted else set()),
            ("campaign_sha256", hashes),
        ):
            if allowed and name in said and said[name] not in allowed:
                message = (
                    f"belongs to another run: its {name} is {said[name]}, the journal's "
                    f"{' or '.join(sorted(allowed))}"
                )
                yield Finding(kind=_FOREIGN, path=file, where="/", message=message)


def notes_of_journal(journal: CheckedJournal) -> Iterator[str]:
    """Yield what a journal of older software does not tell, so that nobody can hold steps to it."""
    untold = [key for key, event in journal.steps.items() if "concluded_sha256" not in event]
    if untold:
        yield (
            f"{JOURNAL}: does not hold the conclusions of {len(untold)} of {len(journal.steps)} "
            "steps (older software wrote it): whether they were changed is not seen"
        )
    unsaid = [
        key
        for key, event in journal.steps.items()
        if "concluded_sha256" in event and "facts_sha256" not in event
    ]
    if unsaid:
        yield (
            f"{JOURNAL}: does not hold what {len(unsaid)} of {len(journal.steps)} steps say of "
            "chip, tile and circumstance (older software wrote it): whether that was changed is "
            "not seen"
        )
    for event in journal.of("suspect"):
        if "programming" in event:
            vectors, file = event.get("vectors", 0), event.get("file", "")
            yield (
                f"{event.get('step', '')} was begun anew: {vectors} vectors of a former "
                f"programming are not used ({file})"
            )


def _errors_of(said: Mapping[str, Any]) -> dict[str, float]:
    """Return the errors that a step file tells, as they came through JSON."""
    told = said.get("errors", {})
    return {name: math.nan if value is None else value for name, value in told.items()}


def _without_firmware(chip: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in chip.items() if name != "firmware"}


def _chips(journal: CheckedJournal, facts: Facts) -> Iterator[Finding]:
    """Yield steps of another chip than the journal's, or than the first step's."""
    wanted, whose = None, "the journal's"
    for event in journal.of(*BEGINNINGS):
        if "identity" in event and wanted is None:
            wanted = _without_firmware(event["identity"])
    for file, said in sorted(facts.items()):
        if "chip" not in said:
            continue
        chip = _without_firmware(said["chip"])
        if wanted is None:
            wanted, whose = chip, f"that of {file}"
        elif chip != wanted:
            message = f"is of the chip {_name(chip)}: {whose} is {_name(wanted)}"
            yield Finding(kind=_FOREIGN, path=file, where="/", message=message)


def _name(chip: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in chip.items())


def _corrections(journal: CheckedJournal, facts: Facts, repairs: RepairNotes) -> Iterator[Finding]:
    """Yield steps that judge a correction which no step of this run has made."""
    made = {key.name: event["raw_sha256"] for key, event in journal.steps.items()}
    for file, said in facts.items():
        source = said.get("correction_of")
        if source is None:
            continue
        step, sha256 = source["step"], source["raw_sha256"]
        if sha256 == made.get(step) or sha256 in repairs.former_hashes.get(step, ()):
            continue
        what = "no step of this run" if step not in made else f"{step}, whose hash is {made[step]}"
        message = f"attribute correction_of: names {step} with the hash {sha256}: that is {what}"
        yield Finding(kind=_REFERENCE, path=file, where="/circumstance", message=message)


def _programmings(journal: CheckedJournal, facts: Facts) -> Iterator[Finding]:
    """Yield steps whose readouts are of more than one programming of their core."""
    lines = ((line.number, line.event) for line in journal.lines if line.event)
    programmings = StepProgrammings(lines)
    for key in journal.steps:
        file = file_of(key.name)
        read_s = facts.get(file, {}).get("read_s", (math.nan, math.nan))
        if message := programmings.problem(key, read_s=tuple(read_s)):
            yield Finding(kind=FindingKind.SEQUENCE, path=file, where="/raw", message=message)


def _names_in_events(journal: CheckedJournal) -> Iterator[Finding]:
    """Yield events of steps that the run does not have."""
    if not journal.planned:
        return
    known = {name for event in journal.of(*BEGINNINGS) for name in event.get("planned", ())}
    known |= {key.name for key in journal.steps}
    known |= {event.get("step", "") for event in journal.of("repair")}
    for line in journal.lines:
        event = line.event
        what = event.get("event", "")
        if what not in _NAMING:
            continue
        name = event.get("step", "")  # empty where a fault of the link was in none
        if name and name not in known:
            message = f"{what} event: names {name!r}, which is no step of this run"
            yield Finding(
                kind=_REFERENCE, path=JOURNAL, where=f"line {line.number}", message=message
            )


def _unfinished(journal: CheckedJournal, repairs: RepairNotes) -> Iterator[Finding]:
    """Yield steps that were planned and never came to their end."""
    done = {key.name for key in journal.steps} | {key.name for key in journal.skipped}
    failed = {event.get("step", "") for event in journal.of("failure")}
    for name in journal.planned:
        if name not in done | failed | repairs.lost_steps:
            message = f"step {name} was planned and is not finished"
            yield Finding(kind=FindingKind.UNFINISHED, path=JOURNAL, message=message, step=name)
    last = journal.events[-1]["event"] if journal.events else ""
    if journal.events and last != "stop":
        message = f"has no stop after its last event, {last}: the run was killed, or is running"
        yield Finding(kind=FindingKind.UNFINISHED, path=JOURNAL, message=message)
