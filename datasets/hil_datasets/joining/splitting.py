"""Making several runs of one: each holds some of its steps, and is a run of its own.

The step files are copied byte for byte. A part's journal is that of the run without the events of
other steps; a `split` event names the run that it comes from by content. Events that belong to no
step are in the first part alone.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import names_failed_writes, sync_file
from hil_datasets.index import write_index
from hil_datasets.joining.merge_check import MergeSource, read_source
from hil_datasets.joining.merging import copy_step, copy_suspect, write_events
from hil_datasets.journal import BEGINNINGS, last_stop
from hil_datasets.journal_plan import key_of
from hil_datasets.new_folder import check_new_folder, new_folder
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import create_run
from hil_datasets.step import StepKey

_KNOWN_ANSWERS = "known-answers.jsonl"


class SplitBy(StrEnum):
    """What the steps of a part have in common."""

    CORE = "core"
    MODE = "mode"
    VISIT = "visit"


_PART_OF: Mapping[SplitBy, Callable[[StepKey], str]] = {
    SplitBy.CORE: lambda key: f"core{key.core:02d}",
    SplitBy.MODE: lambda key: str(key.read_mode),
    SplitBy.VISIT: lambda key: f"visit{key.visit:02d}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPart:
    """A run that was made of part of another one."""

    run: Path
    """The new run."""
    steps: tuple[StepKey, ...]
    """Its finished steps, in the order they were."""


def split_run(path: Path, by: SplitBy, out: Path, *, utc: str) -> tuple[SplitPart, ...]:
    """Make several runs of one.

    Parameters
    ----------
    path
        The run, which is only read: a folder.
    by
        What the steps of a part have in common.
    out
        The folder to make, with a folder in it for each part: ``core03``, ``four_phase`` or
        ``visit01``. It gets its name when all of them are whole.
    utc
        The time, ISO 8601.

    Raises
    ------
    DatasetError
        If it cannot be read whole, has not come to its end, or has a step that judges the
        calibration of another part, with every such step; or a part cannot be written.
    ConfigError
        If the folder `out` holds anything, or cannot be used. Nothing was made then.
    """
    check_new_folder(out)
    source = read_source(path)
    parts: dict[str, list[StepKey]] = {}
    for key in source.steps:
        parts.setdefault(_PART_OF[by](key), []).append(key)
    _check_splittable(source, by)
    names = sorted(parts)
    with new_folder(out) as made:
        for number, name in enumerate(names):
            wanted = _Wanted(by=by, name=name, keys=tuple(parts[name]), has_rest=number == 0)
            _write_part(source, wanted, made / name, utc=utc)
    return tuple(SplitPart(run=out / name, steps=tuple(parts[name])) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which events and steps a part gets."""

    by: SplitBy
    name: str
    keys: tuple[StepKey, ...]
    has_rest: bool

    def has(self, event: Mapping[str, Any], names: Mapping[str, str]) -> bool:
        """Return whether a part gets an event; `names` has the part of each step by its name."""
        what = event["event"]
        if what in {"step", "skip"}:
            return _PART_OF[self.by](key_of(event)) == self.name
        if what == "program" and not event.get("step"):
            return event.get("core") in {key.core for key in self.keys}
        if what in BEGINNINGS | {"stop"}:
            return True
        part = names.get(event.get("step", ""))
        return self.has_rest if part is None else part == self.name


def _check_splittable(source: MergeSource, by: SplitBy) -> None:
    run, where = source.run, str(source.run.path)
    problems: list[Problem] = []
    stop = last_stop(source.events)
    if not source.steps:
        problems.append(Problem("", "has no finished step"))
    if stop is None or stop.get("status") not in {"complete", "incomplete"}:
        problems.append(Problem("", f"has not come to its end: hil resume {where} goes on"))
    by_name = {key.name: key for key in source.steps}
    for key in source.steps:
        of = run.read_facts(key).origin.circumstance.correction_of
        if of is None or of.step not in by_name:
            continue
        home = _PART_OF[by](by_name[of.step])
        if home != _PART_OF[by](key):
            message = f"judges the calibration {of.step}, which would be in another part, {home}"
            problems.append(Problem(key.name, message))
    if problems:
        raise DatasetError(where, problems)


def _write_part(source: MergeSource, wanted: _Wanted, target: Path, *, utc: str) -> None:
    part = create_run(target, source.run.read_campaign())
    with names_failed_writes(target):
        files = [*source.run.path.glob("campaign*"), *source.run.path.glob("mapping*.toml")]
        for file in sorted(files):
            if file.suffix in {".toml", ".json"} and file.name != "campaign.toml":
                (target / file.name).write_bytes(read_regular(file))
        for key in wanted.keys:
            copy_step(source.run, part, key)
        names = dict(_parts_of_names(source, wanted.by))
        events = [event for event in source.events if wanted.has(event, names)]
        lines = [
            line
            for event, line in zip(source.events, source.lines, strict=True)
            if wanted.has(event, names)
        ]
        for event in events:
            copy_suspect(source.run, part, event)
        _copy_answers(source, wanted, target, names)
        for folder in ("steps", "suspect"):
            if (target / folder).is_dir():
                sync_file(target / folder)
        write_index(part, wanted.keys)
        write_events(part, [*_planned_only(lines, wanted, names), *_end(source, wanted, utc)])


def _parts_of_names(source: MergeSource, by: SplitBy) -> Iterator[tuple[str, str]]:
    """Yield of every step that the journal tells of its name and its part."""
    for event in source.events:
        if event["event"] in {"step", "skip"}:
            key = key_of(event)
            yield key.name, _PART_OF[by](key)
        for name in event.get("planned", ()):
            yield name, _part_of_name(name, by)


def _part_of_name(name: str, by: SplitBy) -> str:
    """Return the part of a step that was planned and never taken, from its name."""
    core, _, rest = name.partition("_")
    if by is SplitBy.CORE:
        return core
    if by is SplitBy.MODE:
        return "_".join(rest.split("_")[:2])
    visit = name.partition("_visit")[2].partition("_")[0]
    return f"visit{visit or '00'}"


def _copy_answers(
    source: MergeSource, wanted: _Wanted, target: Path, names: Mapping[str, str]
) -> None:
    answers = source.run.path / _KNOWN_ANSWERS
    if not answers.is_file():
        return
    kept = [
        line
        for line in read_regular(answers).splitlines(keepends=True)
        if _part_of_line(line, names) == wanted.name
    ]
    (target / _KNOWN_ANSWERS).write_bytes(b"".join(kept))


def _part_of_line(line: bytes, names: Mapping[str, str]) -> str | None:
    try:
        step = json.loads(line).get("step", "")
    except (ValueError, AttributeError, RecursionError):
        return None
    return names.get(step) if isinstance(step, str) else None


def _planned_only(
    lines: Sequence[Mapping[str, Any]], wanted: _Wanted, names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for line in lines:
        changed = dict(line)
        if changed["event"] in BEGINNINGS and "planned" in changed:
            changed["planned"] = [
                name for name in changed["planned"] if names.get(name) == wanted.name
            ]
        yield changed


def _end(source: MergeSource, wanted: _Wanted, utc: str) -> Iterator[dict[str, Any]]:
    stop = dict(last_stop(source.events) or {})
    names = dict(_parts_of_names(source, wanted.by))
    failed = [
        line
        for line in stop.get("failed", ())
        if names.get(str(line).partition(":")[0], wanted.name) == wanted.name
    ]
    yield {
        "event": "split",
        "utc": utc,
        "by": str(wanted.by),
        "part": wanted.name,
        "steps": [key.name for key in wanted.keys],
        "journal_sha256": source.journal_sha256,
    }
    yield stop | {
        "utc": utc,
        "status": "incomplete" if failed else "complete",
        "failed": failed,
    }
