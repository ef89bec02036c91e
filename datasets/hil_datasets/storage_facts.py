"""What a run takes on the disk, and what names it: versions, sizes, ids, times."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.content_id import set_id
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.journal import BEGINNINGS, last_stop
from hil_datasets.opened import open_source
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.seal import STEP_FORM, seal_of
from hil_datasets.step_files.reader import read_facts
from hil_datasets.step_files.schema import RAW_DATASETS

_KINDS = (
    ("steps/", ".h5", "step files"),
    ("steps/", "", "partial step files"),
    ("suspect/", "", "suspect readouts"),
    ("campaign.h5", "", "index"),
    ("campaign", "", "campaign files"),
    ("journal.jsonl", "", "journal"),
    ("", "", "other files"),
)
"""How the name of a file begins and ends, and what it is; the first that fits."""
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LONGEST_START = 16
_STEP_IN_INDEX = re.compile(r"/(?:visits/\d+/\w+/)?cores/\d+/[a-z]+_phase")


def storage_facts(path: Path) -> dict[str, Any]:
    """Return the facts of a run's folder, packed file, step file or index, as JSON holds them.

    Raises
    ------
    DatasetError
        If it is none of these, or cannot be read.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(_LONGEST_START)
        if start.startswith(f"{STEP_FORM} ".encode()):
            return _step_facts(path)
        if start.startswith(_HDF5_SIGNATURE):
            return _index_facts(path)
    source = open_source(path)
    told = {"kind": "run" if path.is_dir() else "packed file", "path": str(path)}
    steps = [source.read_facts(key) for key in source.finished_steps()]
    stored = _folder(path) if path.is_dir() else _packed(path, steps)
    return told | stored | _run_facts(source, steps)


def _index_facts(path: Path) -> dict[str, Any]:
    """Return what an index holds; nothing seals it, so a process of its own looks into it."""
    with GuardedReader() as reader:
        try:
            answers = reader.ask("tree", path)
        except ReaderEndedError as error:
            raise DatasetError(str(path), [Problem("", str(error))]) from error
    paths = {answer["path"]: answer.get("what", "") for answer in answers if "path" in answer}
    if "/tables/finished" not in paths:
        message = "is neither a step file, nor a packed file, nor the index of a run"
        raise DatasetError(str(path), [Problem("/", message)])
    return {
        "kind": "index",
        "path": str(path),
        "bytes": path.stat().st_size,
        "steps": sum(bool(_STEP_IN_INDEX.fullmatch(name)) for name in paths),
        "tables": sum(
            what == "dataset" and name.count("/") > 1 and not _STEP_IN_INDEX.match(name)
            for name, what in paths.items()
        ),
        "notes": [answer["note"] for answer in answers if "note" in answer],
    }


def _step_facts(path: Path) -> dict[str, Any]:
    facts = read_facts(path)
    origin = facts.origin
    return {
        "kind": "step file",
        "path": str(path),
        "bytes": path.stat().st_size,
        "seal_sha256": seal_of(path),
        "step": facts.key.name,
        "vectors": _vectors([facts]),
        "chip": str(origin.chip),
        "measured_utc": origin.measured_utc,
        "campaign_sha256": origin.campaign_sha256,
        "raw_sha256": facts.raw_sha256,
        "correction_id": facts.ids.correction,
        "coefficients_id": facts.ids.coefficients,
        **_made_by([facts]),
    }


def _folder(path: Path) -> dict[str, Any]:
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            kind = _kind_of(str(file.relative_to(path)))
            files[kind] += 1
            sizes[kind] += file.lstat().st_size
    by_kind = {kind: {"files": files[kind], "bytes": sizes[kind]} for kind in sorted(files)}
    return {"bytes": sum(sizes.values()), "by_kind": by_kind, "compression": "none", "ratio": 1.0}


def _kind_of(name: str) -> str:
    return next(
        kind for begin, end, kind in _KINDS if name.startswith(begin) and name.endswith(end)
    )


def _packed(path: Path, steps: Iterable[StepFacts]) -> dict[str, Any]:
    from hil_datasets.packed.opened_pack import opened_pack  # noqa: PLC0415 - folders need none

    whole, stored = 0, 0
    with opened_pack(path) as pack:
        attributes = pack.attributes()
        for facts in steps:
            datasets, _ = pack.step(facts.key.name, needs_readouts=False).datasets()
            for name in RAW_DATASETS:
                if name in datasets:
                    whole += datasets[name].nbytes
                    stored += datasets[name].id.get_storage_size()
    return {
        "bytes": path.stat().st_size,
        "format_version": attributes["format_version"],
        "compression": attributes["compression"],
        "has_readouts": bool(attributes["has_readouts"]),
        "readout_bytes": whole,
        "stored_readout_bytes": stored,
        "ratio": whole / stored if stored else None,
    }


def _run_facts(source: RunSource, steps: list[StepFacts]) -> dict[str, Any]:
    events = source.events()
    if not events:
        raise DatasetError(str(source.path), [Problem("", "its journal has no event")])
    stop = last_stop(events)
    ids = {facts.key: facts.ids.coefficients for facts in steps}
    newest = newest_calibrations(ids)
    campaigns = dict.fromkeys(
        event["campaign_sha256"]
        for event in events
        if event["event"] in BEGINNINGS and "campaign_sha256" in event
    )
    return {
        "status": "unfinished" if stop is None else stop.get("status", ""),
        "began_utc": events[0].get("utc", ""),
        "ended_utc": events[-1].get("utc", ""),
        "title": next((event["title"] for event in events if "title" in event), ""),
        "chip": next((str(facts.origin.chip) for facts in steps), ""),
        "steps": dict(Counter(str(facts.key.kind) for facts in steps)),
        "vectors": _vectors(steps),
        "campaign_sha256": list(campaigns),
        "coefficients_id": set_id((key, ids[key]) for key in newest) if newest else None,
        **_made_by(steps),
    }


def _vectors(steps: Iterable[StepFacts]) -> int:
    return sum(
        facts.origin.calibration_vectors + facts.origin.verification_vectors for facts in steps
    )


def _made_by(steps: Iterable[StepFacts]) -> dict[str, Any]:
    """Return what software, commits, hosts and instruments the steps were made with."""
    versions: dict[str, None] = {}
    commits: dict[str, None] = {}
    hosts: dict[str, None] = {}
    instruments: dict[str, None] = {}
    for facts in steps:
        versions[facts.origin.software.get("aimc-hil", "unknown")] = None
        hosts[facts.origin.host] = None
        instruments.update(dict.fromkeys(each.instrument for each in facts.conditions))
        if facts.origin.provenance is not None:
            commits[facts.origin.provenance.commit] = None
    return {
        "software": [f"aimc-hil {version}" for version in versions],
        "commits": [commit for commit in commits if commit],
        "hosts": [host for host in hosts if host],
        "instruments": list(instruments),
    }
