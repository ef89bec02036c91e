"""Whether runs can be made one: every reason why they cannot."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.journal import BEGINNINGS, last_stop
from hil_datasets.journal_plan import key_of
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunSnapshot, open_directory
from hil_datasets.run_files import read_run_file
from hil_datasets.step import StepKey

_ENDED = ("complete", "incomplete")
_MOST_NAMED = 5
_ROWS_AND_COLUMNS = ("rows", "columns", "cores", "counter_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSource:
    """A run that shall become part of another one."""

    run: RunSnapshot
    """The run."""
    journal_sha256: str
    """Hash of its journal."""
    events: tuple[dict[str, Any], ...]
    """What happened."""
    lines: tuple[dict[str, Any], ...]
    """The same as JSON has it."""
    steps: tuple[StepKey, ...]
    """Its finished steps, in the order they were."""
    traits: Mapping[str, frozenset[str]]
    """What all runs must have in common: of each trait every value that a step or the journal
    has, as text."""

    @property
    def place(self) -> tuple[str, str]:
        """What runs are sorted by: when they began."""
        return str(self.events[0].get("utc", "")), self.journal_sha256

    @property
    def described(self) -> dict[str, Any]:
        """What a `merge` event says of it."""
        return {"journal_sha256": self.journal_sha256, "steps": [key.name for key in self.steps]}


def read_source(path: Path) -> MergeSource:
    """Read what a run has to have in common with others; every step file is checked.

    Raises
    ------
    DatasetError
        If it is no folder of a run, or cannot be read whole.
    """
    if path.is_file():
        message = (
            f"is no folder of a run; if it is a packed file, hil data unpack {path} --out FOLDER "
            "makes one of it, which can be given here"
        )
        raise DatasetError(str(path), [Problem("", message)])
    run = RunSnapshot(open_directory(path).path)
    events, journal = run.events(), read_regular(run.journal_path)
    traits: dict[str, set[str]] = {}
    keys = run.finished_steps()
    for name, value in (*_journal_traits(run, events), *_step_traits(run, keys)):
        traits.setdefault(name, set()).add(value)
    return MergeSource(
        run=run,
        journal_sha256=hashlib.sha256(journal).hexdigest(),
        events=tuple(events),
        lines=tuple(json.loads(line) for line in journal.split(b"\n")[: len(events)]),
        steps=tuple(keys),
        traits={name: frozenset(values) for name, values in traits.items()},
    )


def check_mergeable(sources: Sequence[MergeSource]) -> None:
    """Raise DatasetError, with every reason, unless runs can be made one."""
    problems = [*_unfinished(sources), *_collisions(sources), *_differences(sources)]
    problems += _visits(sources)
    if problems:
        raise DatasetError("cannot be merged", problems)


def _journal_traits(
    run: RunSnapshot, events: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for event in events:
        if event["event"] not in BEGINNINGS:
            continue
        if "identity" in event:
            yield "chip", _chip(event["identity"])
        for name in _ROWS_AND_COLUMNS:
            if name in event.get("geometry", {}):
                yield f"geometry ({name})", str(event["geometry"][name])
        resolved = f"{event.get('config') or 'campaign'}.resolved.json"
        if (run.path / resolved).is_file():
            # A replay would conclude the steps of all by the options of one.
            yield "calibration options", _options(run, resolved)


def _options(run: RunSnapshot, resolved: str) -> str:
    try:
        document = json.loads(read_run_file(run, resolved))
        return json.dumps(document.get("calibration", {}), sort_keys=True)
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        message = f"is no JSON object: {error}"
        raise DatasetError(str(run.path / resolved), [Problem("", message)]) from error


def _step_traits(run: RunSnapshot, keys: Sequence[StepKey]) -> Iterator[tuple[str, str]]:
    for key in keys:
        facts = run.read_facts(key)
        yield "chip", _chip(asdict(facts.origin.chip))
        yield "geometry (columns)", str(len(facts.conclusion.flags))
        yield "geometry (counter_bits)", str(facts.origin.counter_bits)
        # The shift is each tile's own.
        fmt = facts.conclusion.fmt.to_dict() | {"shift": None}
        yield "NMPU format", ", ".join(f"{name} {value}" for name, value in sorted(fmt.items()))


def _chip(identity: Mapping[str, str]) -> str:
    # Its firmware may be another one later; the journal says which.
    return ", ".join(f"{name} {value}" for name, value in identity.items() if name != "firmware")


def _unfinished(sources: Sequence[MergeSource]) -> Iterator[Problem]:
    if len(sources) < 2:
        yield Problem("", "give at least two runs")
    for source in sources:
        stop = last_stop(source.events)
        where = str(source.run.path)
        if not source.steps:
            yield Problem(where, "has no finished step")
        if stop is None or stop.get("status") not in _ENDED:
            yield Problem(where, f"has not come to its end: hil resume {where} goes on")


def _collisions(sources: Sequence[MergeSource]) -> Iterator[Problem]:
    for number, later in enumerate(sources):
        for earlier in sources[:number]:
            if later.journal_sha256 == earlier.journal_sha256:
                yield Problem(str(later.run.path), f"is the same run as {earlier.run.path}")
                continue
            both = sorted(_touched(later) & _touched(earlier))
            if both:
                names = ", ".join(key.name for key in both[:_MOST_NAMED])
                more = f" and {len(both) - _MOST_NAMED} more" if len(both) > _MOST_NAMED else ""
                message = f"has {names}{more} as {earlier.run.path} has"
                yield Problem(str(later.run.path), message)


def _touched(source: MergeSource) -> set[StepKey]:
    """Return the steps that a run has finished or skipped."""
    return {key_of(event) for event in source.events if event["event"] in {"step", "skip"}}


def _differences(sources: Sequence[MergeSource]) -> Iterator[Problem]:
    names = dict.fromkeys(name for source in sources for name in source.traits)
    for name in names:
        first = next(source for source in sources if name in source.traits)
        for source in sources:
            found = source.traits.get(name, frozenset())
            if found - first.traits[name] or len(first.traits[name]) > 1:
                told = " and ".join(sorted(found))
                due = " and ".join(sorted(first.traits[name]))
                message = f"{name}: {told}; {first.run.path} has {due}"
                yield Problem(str(source.run.path), message)


def _visits(sources: Sequence[MergeSource]) -> Iterator[Problem]:
    """Yield visits that are two circumstances under one number."""
    known: dict[int, tuple[Any, Path]] = {}
    for source in sources:
        for event in source.events:
            terms = event.get("visits", ()) if event["event"] in BEGINNINGS else ()
            for number, visit in enumerate(terms):
                said = (dict(visit.settings), visit.due_s)
                before, whose = known.setdefault(number, (said, source.run.path))
                if before != said:
                    message = f"visit {number} is {_words(said)}; in {whose} it is {_words(before)}"
                    yield Problem(str(source.run.path), message)


def _words(said: Any) -> str:
    settings, due_s = said
    words = [f"{name}={value:g}" for name, value in settings.items()]
    words += [] if due_s is None else [f"{due_s:g} s after programming"]
    return " ".join(words) or "without settings"
