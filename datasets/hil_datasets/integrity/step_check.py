"""Looking at a step file: its seal, its schema, its content, and the times of its blocks."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hil.core.errors import DatasetError
from hil_datasets.integrity.block_check import check_blocks
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.regular_file import check_regular
from hil_datasets.seal import check_rest, check_seal, read_seal, seal_of
from hil_datasets.step_files.content import StepContent
from hil_datasets.step_files.reader import StepExamination, examine_step
from hil_datasets.step_files.stored_errors import errors_to_json
from hil_datasets.step_programming import read_span_s
from hil_datasets.step_timing import BlockQuality

_IDS = ("attribute id:", "attribute parents:")
"""How problems of ids begin."""


def check_step(path: Path, *, is_quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a step file, then what it says of itself.

    A checksum of all that HDF5 looks at comes first: its answer stands even if that ends this
    process.
    """
    try:
        check_regular(path)
    except DatasetError as error:
        yield problem(FindingKind.REFERENCE, "", error.problems[0].message)
        return
    except OSError as error:
        yield problem(FindingKind.UNREADABLE, "", f"cannot be read: {error.strerror or error}")
        return
    with ThreadPoolExecutor(max_workers=1) as threads:
        hashing: Future[None] | None = None
        is_sealed = True
        try:
            hashing = _begin_check(path, threads, is_quick=is_quick)
        except (OSError, ValueError) as error:
            is_sealed = False
            yield problem(FindingKind.CHECKSUM, "/", str(error))
        found = examine_step(path, reads_arrays=not is_quick)
        yield from tell(found)
        try:
            if hashing is not None:
                hashing.result()
        except (OSError, ValueError) as error:
            is_sealed = False
            yield problem(FindingKind.CHECKSUM, "/", str(error))
    is_whole = not any(each.where == "/raw" for each in found.problems)
    if not is_sealed and found.content is not None and is_whole:
        message = "its readouts still match their content hash: hil data repair saves them"
        yield {"note": message}


def _begin_check(path: Path, threads: ThreadPoolExecutor, *, is_quick: bool) -> Future[None] | None:
    """Compare the seal; all of it while the file is looked at, if HDF5 will find no damage.

    HDF5 does not look at the readouts: that the checksum of the rest fits is enough for it.

    Raises
    ------
    OSError, ValueError
        If it does not fit, or there is none.
    """
    if is_quick:
        seal_of(path)
        return None
    try:
        if read_seal(path).crc32c is not None:
            check_rest(path)
            return threads.submit(check_seal, path)
    except ValueError:
        pass
    check_seal(path)  # which says what is wrong
    return None


def tell(found: StepExamination) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a step that was looked at, then what it says of itself."""
    for each in found.problems:
        is_hash = "raw_sha256" in each.message or each.message.startswith(_IDS)
        kind = FindingKind.HASH if is_hash else FindingKind.SCHEMA
        yield problem(kind, each.where, each.message)
    yield {"facts": _facts(found)}
    yield from _block_problems(found)
    if found.content is not None and not found.problems:
        yield from _gaps(found)


def problem(kind: FindingKind, where: str, message: str) -> dict[str, Any]:
    """Return a problem as it goes to the parent process."""
    return {"problem": [str(kind), where, message]}


def _block_problems(found: StepExamination) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with single blocks, also where the content hash already says so."""
    if found.content is None:
        return
    attributes = found.attributes
    try:
        timing = found.content.timing()
    except DatasetError:
        return  # that was told
    if timing is not None:
        vectors = attributes["calibration_vectors"] + attributes["verification_vectors"]
        bits = attributes["counter_bits"]
        raw = found.content.counts
        for finding in check_blocks(timing, raw, counter_bits=bits, vectors=vectors):
            yield problem(*finding)


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
        facts["errors"] = errors_to_json(content.errors())
        read_s = read_span_s(None if found.content is None else content.timing())
        if all(map(math.isfinite, read_s)):
            facts["read_s"] = read_s
        if found.content is not None and not found.problems:
            facts["concluded_sha256"] = content.concluded_sha256()
            facts["facts_sha256"] = content.facts_sha256()
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
    # A repair holds out what it has left, wherever the blocks begin.
    is_restored = (
        timing.blocks is not None and (timing.blocks.quality & BlockQuality.RESTORED).any()
    )
    is_split = 0 < calibration < vectors and not is_restored
    if is_split and calibration not in timing.first_vector:
        message = f"no block begins with vector {calibration}, the first that is held out"
        yield problem(FindingKind.SEQUENCE, "/timing/first_vector", message)
