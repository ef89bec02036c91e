"""A finished evaluation as a file among runs: what it is, and whether it is what it was."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from hil.core.errors import DatasetError, Problem
from hil.inference.conditions.outcome import Evaluation
from hil.inference.findings.content_digest import CONTENT_SHA256, content_digest
from hil.inference.findings.result_file import FILE_FORMAT, UNREADABLE, read_evaluation
from hil.inference.findings.store import RESULT_FILE, SUBJECT

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def find_evaluation(path: Path) -> Path | None:
    """Return the HDF5 file of an evaluation, of a path that is one or its folder; None if not.

    Nothing is opened as HDF5 that does not say what it is: indexes of runs are nobody's to trust.

    Raises
    ------
    DatasetError
        If it is the folder of an evaluation that has not finished, or cannot be read.
    """
    try:
        if path.is_dir():
            if not (path / SUBJECT).is_file():
                return None
            if (path / RESULT_FILE).is_file():
                return path / RESULT_FILE
            message = (
                "is an evaluation that has not finished: run the same hil evaluate again, it goes "
                "on where it was stopped"
            )
            raise DatasetError(str(path), [Problem("", message)])
        return path if path.is_file() and _says_so(path) else None
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror or error}")
        raise DatasetError(str(path), [problem]) from error


def _says_so(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(FILE_FORMAT.encode()) >= 0


def evaluation_facts(path: Path) -> dict[str, Any]:
    """Return what an evaluation is of, as JSON holds it.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    found = read_evaluation(path)
    conditions = [result.condition for result in found.results]
    return {
        "kind": "evaluation",
        "path": str(path),
        "bytes": path.stat().st_size,
        "evaluation_id": found.id,
        "model": found.model,
        "read_mode": found.read_mode,
        "images": len(found.labels),
        "layers": len(found.layers),
        "conditions": len(conditions),
        "corrections": list(dict.fromkeys(one.correction for one in conditions)),
        "ages_s": sorted({one.age_s for one in conditions}),
        **{name: value for name, value in found.identity.items() if name not in _NAMED},
        "software": [f"{name} {version}" for name, version in found.software.items()],
    }


_NAMED = ("model", "read_mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvaluation:
    """An evaluation, and whether it is what it was."""

    evaluation: Evaluation
    """What it holds."""
    problems: tuple[str, ...]
    """What was changed since it was written."""
    notes: tuple[str, ...] = ()
    """What nobody can know."""


def check_evaluation(path: Path) -> CheckedEvaluation:
    """Read an evaluation, and compute its id and the hash of its content again.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    found = read_evaluation(path)
    try:
        with h5py.File(path, "r") as file:
            stored = str(file.attrs.get("evaluation_id", "nothing"))
            said = str(file.attrs.get(CONTENT_SHA256, "nothing"))
            digest = content_digest(file)
    except UNREADABLE as error:
        raise DatasetError(str(path), [Problem("", f"cannot be read: {error}")]) from error
    problems, notes = [], []
    if stored != found.id:
        problems.append(f"evaluation_id: stored {stored}, what was predicted gives {found.id}")
    if found.format_version == 1:
        notes.append(_NOT_COVERED)
    elif said != digest:
        problems.append(
            f"{CONTENT_SHA256}: stored {said}, what the file holds gives {digest}: datasets or "
            "attributes were changed"
        )
    return CheckedEvaluation(evaluation=found, problems=tuple(problems), notes=tuple(notes))


_NOT_COVERED = (
    "a file of format version 1 has no hash of its content: labels, baselines, errors of layers, "
    "calibrations, attributes and evaluation.json are not covered"
)
