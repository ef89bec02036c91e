"""How a run came to be that measured nothing: converted, fitted again, or replayed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError
from hil_datasets.content_id import StepIds
from hil_datasets.run_files import read_run_file
from hil_datasets.run_source import RunSource
from hil_datasets.trace.links import LinkState, SoughtParent, TraceLink

MAPPING_FILE = "mapping.toml"
"""Name of the mapping file in a run that was converted."""
RECORDING = "recording"
"""Name of the link to the files that it was converted from."""


def beginning_links(
    source: RunSource, step: str, beginning: Mapping[str, Any]
) -> Iterator[TraceLink]:
    """Yield what a run was made of that measured nothing itself; nothing of one that did.

    Parameters
    ----------
    source
        The run.
    step
        Name of the step that is traced.
    beginning
        The ``start`` or ``resume`` event before it.
    """
    # The beginning of what was fitted again says what that of its run said, too.
    if isinstance(beginning.get("refit_of"), Mapping):
        yield _fitted_again(step, beginning)
    elif isinstance(beginning.get("replay_of"), Mapping):
        yield _replayed(step, beginning)
    elif isinstance(beginning.get("converted_from"), Mapping):
        yield _mapping(source, beginning)
        yield _recording(beginning)


def sought_parent(
    step: str, beginning: Mapping[str, Any], ids: StepIds, raw_sha256: str, *, has_readouts: bool
) -> SoughtParent | None:
    """Return which step of another run a trace goes on with; None if it ends in this run.

    Parameters
    ----------
    step
        Name of the step that is traced.
    beginning
        The ``start`` or ``resume`` event before it.
    ids
        Its ids.
    raw_sha256
        Content hash of its readouts.
    has_readouts
        Whether the run holds them.
    """
    if isinstance(beginning.get("refit_of"), Mapping):
        before = str(beginning["refit_of"].get(step, ""))
        return SoughtParent(raw_sha256=raw_sha256, coefficients_id=before)
    if isinstance(beginning.get("replay_of"), Mapping):
        run = str(beginning.get("replayed_run") or "")
        return SoughtParent(raw_sha256=raw_sha256, run=run)
    if not has_readouts:
        return SoughtParent(raw_sha256=raw_sha256, coefficients_id=ids.coefficients)
    return None


def _fitted_again(step: str, beginning: Mapping[str, Any]) -> TraceLink:
    before = str(beginning["refit_of"].get(step, ""))
    options = beginning.get("options")
    said = options if isinstance(options, Mapping) else {}
    told = {
        "step": step,
        "coefficients_before": before or None,
        **({"fit": said["fit"]} if said.get("fit") else {}),
        "set": list(said.get("set") or ["nothing"]),
        "calibration_vectors": said.get("calibration_vectors") or "as before",
    }
    reason = "by hil calibrate fit, from the readouts of a run that had these coefficients"
    return TraceLink(
        name="fitted again",
        state=LinkState.UNCHECKED,
        reason=reason,
        content_id=before,
        facts=told,
    )


def _replayed(step: str, beginning: Mapping[str, Any]) -> TraceLink:
    raw = str(beginning["replay_of"].get(step, ""))
    told = {"run": beginning.get("replayed_run") or None, "step": step}
    return TraceLink(
        name="replayed",
        state=LinkState.UNCHECKED,
        reason="by hil replay, from a run that has these readouts",
        content_id=raw,
        facts=told,
    )


def _mapping(source: RunSource, beginning: Mapping[str, Any]) -> TraceLink:
    due = str(beginning.get("mapping_sha256", ""))
    found = dict(_mapping_files(source))
    same = [name for name, sha256 in found.items() if sha256 == due]
    if same:
        state, reason = LinkState.OK, "the file has this SHA-256"
    elif found:
        state = LinkState.BROKEN
        reason = "; ".join(f"{name} has the SHA-256 {sha256}" for name, sha256 in found.items())
    else:
        state, reason = LinkState.BROKEN, f"{MAPPING_FILE}: no such file"
    return TraceLink(
        name="mapping",
        state=state,
        reason=reason,
        content_id=due,
        facts={"file": (same or [MAPPING_FILE])[0]},
    )


def _mapping_files(source: RunSource) -> Iterator[tuple[str, str]]:
    """Yield each mapping file and its SHA-256: of several runs that were merged there are several.

    They are ``mapping.toml``, ``mapping.2.toml`` and so on.
    """
    for number in count(1):
        name = MAPPING_FILE if number == 1 else f"mapping.{number}.toml"
        try:
            content = read_run_file(source, name)
        except DatasetError:
            return
        yield name, hashlib.sha256(content).hexdigest()


def _recording(beginning: Mapping[str, Any]) -> TraceLink:
    files = beginning["converted_from"]
    reason = "files that hil data convert read, with their SHA-256; they are not in the run"
    return TraceLink(
        name=RECORDING,
        state=LinkState.UNCHECKED,
        reason=reason,
        facts={
            "files": {str(name): str(sha256) for name, sha256 in files.items()},
            "readouts": "synthesised from slopes and intercepts"
            if beginning.get("synthesised")
            else "as recorded",
        },
    )


def checked_recording(link: TraceLink, folders: Iterable[Path]) -> TraceLink:
    """Return the link to the files of a recording, held to those of them that are in folders."""
    if link.name != RECORDING or link.facts is None:
        return link
    found = {
        path: (_sha256_of(path), sha256)
        for name, sha256 in link.facts["files"].items()
        for path in (folder / Path(name).name for folder in folders)
        if path.is_file()
    }
    wrong = [
        f"{path} has the SHA-256 {has}, it was {due}"
        for path, (has, due) in found.items()
        if has != due
    ]
    if wrong:
        return replace(link, state=LinkState.BROKEN, reason="; ".join(wrong))
    if {path.name for path in found} == set(link.facts["files"]):
        reason = f"every file has its SHA-256: {', '.join(map(str, found))}"
        return replace(link, state=LinkState.OK, reason=reason)
    return link


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"that cannot be read: {error}"
