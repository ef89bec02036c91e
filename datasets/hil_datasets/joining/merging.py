"""Making one run of several: runs of one chip that took different steps.

The step files are copied byte for byte. The journals follow one another, in the order in which the
runs began: the `start` of each but the first becomes a `resume`, with its own campaign file under a
numbered name, as if one run had gone on with another plan. A `merge` event names the sources by
content.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import finished_file, sync_file
from hil_datasets.index import write_index
from hil_datasets.joining.merge_check import MergeSource, check_mergeable, read_source
from hil_datasets.journal import BEGINNINGS, event_line, last_stop
from hil_datasets.new_folder import check_new_folder, new_folder
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.run_files import read_run_file
from hil_datasets.step import StepKey

_KNOWN_ANSWERS = "known-answers.jsonl"
_FIRST = "campaign"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge has made."""

    run: Path
    """The new run."""
    sources: tuple[Path, ...]
    """The runs that it was made of, in the order in which they began."""
    steps: tuple[StepKey, ...]
    """Its finished steps, sorted."""


def merge_runs(paths: Sequence[Path], out: Path, *, utc: str) -> MergeReport:
    """Make one run of several.

    Parameters
    ----------
    paths
        The runs, which are only read: folders, at least two.
    out
        Folder of the new run.
    utc
        The time, ISO 8601.

    Raises
    ------
    DatasetError
        If they do not fit together, with every reason; or one cannot be read whole, or the new one
        not be written.
    ConfigError
        If the folder `out` cannot be used.
    """
    check_new_folder(out)
    sources = sorted((read_source(path) for path in paths), key=lambda each: each.place)
    check_mergeable(sources)
    with new_folder(out) as made:
        merged = create_run(made, sources[0].run.read_campaign())
        names = _copy_campaigns(sources, merged)
        for source in sources:
            _copy_files(source, merged)
            _copy_mappings(source, merged)
        for folder in ("steps", "suspect"):
            if (made / folder).is_dir():
                sync_file(made / folder)
        write_index(merged, [key for source in sources for key in source.steps])
        write_events(merged, _joined(sources, names, utc))
    return MergeReport(
        run=out,
        sources=tuple(source.run.path for source in sources),
        steps=tuple(sorted(key for source in sources for key in source.steps)),
    )


def write_events(run: RunDirectory, events: Iterable[Mapping[str, Any]]) -> None:
    """Write a journal whole, of events as JSON has them."""
    lines = [event_line(**{"utc": "", **event}) for event in events]
    with finished_file(run.journal_path) as part:
        part.write_bytes(b"".join(lines))


def copy_step(source: RunDirectory, target: RunDirectory, key: StepKey) -> None:
    """Copy a step file byte for byte, and sync it."""
    with finished_file(target.step_path(key)) as part:
        shutil.copyfile(source.step_path(key), part)


def copy_suspect(source: RunDirectory, target: RunDirectory, event: Mapping[str, Any]) -> None:
    """Copy the readouts that a `suspect` event tells of; nothing of another event.

    Raises
    ------
    DatasetError
        If the file is missing, or none of the run's.
    """
    if event["event"] != "suspect" or "file" not in event:
        return
    place = PurePosixPath(event["file"])
    path = source.path / "suspect" / place.name
    if place != PurePosixPath("suspect") / place.name or not path.is_file():
        problem = Problem("journal.jsonl", f"{event['file']!r} is no file of suspect readouts")
        raise DatasetError(str(source.path), [problem])
    (target.path / "suspect").mkdir(exist_ok=True)
    shutil.copyfile(path, target.path / "suspect" / place.name)


def _copy_campaigns(sources: Sequence[MergeSource], merged: RunDirectory) -> list[dict[str, str]]:
    """Copy the campaign files, each content once; return of each source old names to new ones."""
    names: list[dict[str, str]] = []
    known: dict[tuple[bytes, bytes | None], str] = {}
    number = 0
    for source in sources:
        renamed: dict[str, str] = {}
        for event in source.events:
            old = event.get("config") or _FIRST if event["event"] in BEGINNINGS else None
            if old is None or old in renamed:
                continue
            number += 1
            resolved = source.run.path / f"{old}.resolved.json"
            content = (
                read_run_file(source.run, f"{old}.toml"),
                read_run_file(source.run, resolved.name) if resolved.is_file() else None,
            )
            new = known.setdefault(content, f"{_FIRST}.{number}" if known else _FIRST)
            renamed[old] = new
            (merged.path / f"{new}.toml").write_bytes(content[0])
            if content[1] is not None:
                (merged.path / f"{new}.resolved.json").write_bytes(content[1])
        names.append(renamed)
    return names


def _copy_files(source: MergeSource, merged: RunDirectory) -> None:
    for key in source.steps:
        copy_step(source.run, merged, key)
    for event in source.events:
        copy_suspect(source.run, merged, event)
    answers = source.run.path / _KNOWN_ANSWERS
    if answers.is_file():
        with (merged.path / _KNOWN_ANSWERS).open("ab") as file:
            file.write(read_regular(answers))


def _copy_mappings(source: MergeSource, merged: RunDirectory) -> None:
    """Copy the mapping files of a run that was converted, each content once."""
    known = [path.read_bytes() for path in merged.path.glob("mapping*.toml")]
    for file in sorted(source.run.path.glob("mapping*.toml")):
        content = read_regular(file)
        if content not in known:
            known.append(content)
            name = "mapping.toml" if len(known) == 1 else f"mapping.{len(known)}.toml"
            (merged.path / name).write_bytes(content)


def _joined(
    sources: Sequence[MergeSource], names: Sequence[Mapping[str, str]], utc: str
) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    planned: dict[str, None] = {}
    for number, (source, renamed) in enumerate(zip(sources, names, strict=True)):
        for event in source.lines:
            if event["event"] not in BEGINNINGS:
                events.append(event)
                continue
            planned.update(dict.fromkeys(event.get("planned", ())))
            events.append(_beginning(event, renamed, list(planned), is_first=number == 0))
    events.append({"event": "merge", "utc": utc, "sources": [each.described for each in sources]})
    events.append(_last_stop(sources, utc))
    return events


def _beginning(
    event: Mapping[str, Any], renamed: Mapping[str, str], planned: list[str], *, is_first: bool
) -> dict[str, Any]:
    """Return a beginning as it is in the joined journal."""
    name = renamed[event.get("config") or _FIRST]
    changed = {key: value for key, value in event.items() if key != "config"}
    changed["event"] = event["event"] if is_first else "resume"
    if "planned" in event:
        changed["planned"] = planned
    return changed | ({} if name == _FIRST else {"config": name})


def _last_stop(sources: Sequence[MergeSource], utc: str) -> dict[str, Any]:
    stops = [last_stop(source.events) or {} for source in sources]
    faults: dict[str, int] = {}
    for stop in stops:
        for kind, count in stop.get("faults", {}).items():
            faults[kind] = faults.get(kind, 0) + count
    is_complete = all(stop.get("status") == "complete" for stop in stops)
    return {
        "event": "stop",
        "utc": utc,
        "status": "complete" if is_complete else "incomplete",
        "reason": "",
        "failed": [line for stop in stops for line in stop.get("failed", ())],
        "faults": faults,
    }
