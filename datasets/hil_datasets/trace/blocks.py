"""The raw frames behind a step: its blocks of vectors, and whether each is what was received."""

import math
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from hil_datasets.step_timing import BlockNotes, BlockQuality, StepTiming
from hil_datasets.trace.links import LinkState, TraceLink

_NAME = "blocks"


def blocks_link(
    timing: StepTiming | None,
    raw: npt.NDArray[np.uint16] | None,
    column: int,
    *,
    vectors: int,
) -> TraceLink:
    """Return the blocks of a step: which vectors, when they were read, through what.

    Parameters
    ----------
    timing
        When they were read; None if that is not stored.
    raw
        Counter codes, shape (vector, polarity, column); None if the file has none.
    column
        The column whose counts are told.
    vectors
        How many vectors the step has.
    """
    if timing is None:
        reason = "the file does not say when its blocks were read"
        return TraceLink(name=_NAME, state=LinkState.UNCHECKED, reason=reason)
    firsts = [*timing.first_vector.tolist(), vectors]
    blocks = [
        _block(timing, number, slice(firsts[number], firsts[number + 1]), raw, column)
        for number in range(len(timing.first_vector))
    ]
    state, reason = _checked(timing.blocks, blocks, has_raw=raw is not None)
    return TraceLink(name=_NAME, state=state, reason=reason, facts={"blocks": blocks})


def _block(
    timing: StepTiming,
    number: int,
    vectors: slice,
    raw: npt.NDArray[np.uint16] | None,
    column: int,
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "first_vector": vectors.start,
        "last_vector": vectors.stop - 1,
        "began_s": float(timing.began_s[number]),
        "ended_s": float(timing.ended_s[number]),
        "faults": [
            {
                "kind": fault.kind,
                "request": fault.request,
                "noticed_s": fault.noticed_s,
                "recovered_s": fault.recovered_s if math.isfinite(fault.recovered_s) else None,
            }
            for fault in timing.faults
            if fault.block == number
        ],
    }
    if timing.blocks is not None:
        told["crc32c"] = f"{int(timing.blocks.crc32c[number]):08x}"
        told["sequence"] = int(timing.blocks.sequence[number])
        told["quality"] = [
            str(bit.name).lower()
            for bit in BlockQuality
            if bit & int(timing.blocks.quality[number])
        ]
    if raw is not None:
        counts = np.ascontiguousarray(raw[vectors], dtype="<u2")
        told["found_crc32c"] = f"{google_crc32c.value(counts.tobytes()):08x}"
        for name, of_polarity in zip("pn", counts[:, :, column].T, strict=True):
            told[f"counts_{name}"] = [int(of_polarity.min()), int(of_polarity.max())]
    return told


def _checked(
    notes: BlockNotes | None, blocks: list[dict[str, Any]], *, has_raw: bool
) -> tuple[LinkState, str]:
    if notes is None:
        return LinkState.UNCHECKED, "the file has no check sum of each block: it is of format 1"
    counted = [int(place) for place in notes.sequence if place >= 0]
    problems = []
    if any(later <= earlier for earlier, later in pairwise(counted)):
        problems.append(f"sequence is {counted}: must ascend")
    if has_raw:
        problems += [
            f"the counts of vectors {block['first_vector']} to {block['last_vector']} have the "
            f"CRC-32C {block['found_crc32c']}, as received it was {block['crc32c']}"
            for block in blocks
            if block["found_crc32c"] != block["crc32c"]
        ]
    if problems:
        return LinkState.BROKEN, "; ".join(problems)
    if not has_raw:
        return LinkState.UNCHECKED, "this file holds no readouts"
    return LinkState.OK, "the counts of each have the CRC-32C that they had when they came"
