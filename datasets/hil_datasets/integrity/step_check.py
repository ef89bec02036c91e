"""Looking at a step file: its seal, its schema, its content, and the times of its blocks."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hil.core.errors import DatasetError
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.regular_file import check_regular
from hil_datasets.seal import check_seal, seal_of
from hil_datasets.step_content import StepContent
from hil_datasets.step_reader import StepExamination, examine_step


def check_step(path: Path, *, is_quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a step file, then what it says of itself.

    The checksum comes first: its answer stands even if HDF5 ends this process.
    """
    try:
        check_regular(path)
    except DatasetError as error:
        yield problem(FindingKind.REFERENCE, "", error.problems[0].message)
        return
    except OSError as error:
        yield problem(FindingKind.UNREADABLE, "", f"cannot be read: {error.strerror or error}")
        return
    try:
        (seal_of if is_quick else check_seal)(path)
        is_sealed = True
    except (OSError, ValueError) as error:
        is_sealed = False
        yield problem(FindingKind.CHECKSUM, "/", str(error))
    found = examine_step(path, reads_arrays=not is_quick)
    for each in found.problems:
        is_hash = "raw_sha256" in each.message
        kind = FindingKind.HASH if is_hash else FindingKind.SCHEMA
        yield problem(kind, each.where, each.message)
    if not is_sealed and not found.problems and not is_quick:
        message = "its readouts still match their content hash: hil data repair saves them"
        yield {"note": message}
    yield {"facts": _facts(found)}
    if found.content is not None and not found.problems:
        yield from _gaps(found)


def problem(kind: FindingKind, where: str, message: str) -> dict[str, Any]:
    """Return a problem as it goes to the parent process."""
    return {"problem": [str(kind), where, message]}


def _facts(found: StepExamination) -> dict[str, Any]:
    """Return what a file says of itself that the rest of the run has to agree with."""
    names = ("campaign_sha256", "raw_sha256")
    facts = {name: found.attributes[name] for name in names if name in found.attributes}
    try:
        content = found.content or StepContent("", found.attributes, {})
        facts["name"] = content.key().name
        source = content.circumstance().correction_of
        facts["correction_of"] = None if source is None else asdict(source)
        facts["chip"] = asdict(content.chip())
    except (DatasetError, LookupError):
        return facts
    return facts


def _gaps(found: StepExamination) -> Iterator[dict[str, Any]]:
    """Yield blocks that reach further than the longest request: one is missing behind them."""
    timing = None if found.content is None else found.content.timing()
    calibration = found.attributes["calibration_vectors"]
    vectors = calibration + found.attributes["verification_vectors"]
    if timing is None or len(timing.first_vector) < 2:
        return
    ends = np.append(timing.first_vector[1:], vectors)
    sizes = ends - timing.first_vector
    for place in range(1, len(sizes)):
        first, end = int(timing.first_vector[place]), int(ends[place])
        if sizes[place] > sizes[0] and first != calibration:
            message = (
                f"no block begins in vectors {first + int(sizes[0])} to {end - 1}: "
                f"blocks have {sizes[0]} vectors"
            )
            yield problem(FindingKind.SEQUENCE, "/timing/first_vector", message)
    if 0 < calibration < vectors and calibration not in timing.first_vector:
        message = f"no block begins with vector {calibration}, the first that is held out"
        yield problem(FindingKind.SEQUENCE, "/timing/first_vector", message)
