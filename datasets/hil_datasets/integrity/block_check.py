"""Whether the blocks of a step are what was read: check sums, numbers of readouts, quality bits."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.check_sum import extended_crc
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.step_timing import UNKNOWN_SEQUENCE, BlockNotes, BlockQuality, StepTiming

BlockFinding = tuple[FindingKind, str, str]
"""Kind of a problem, the object, and what is wrong with it."""


def check_blocks(
    timing: StepTiming, raw: npt.NDArray[np.uint16] | None, *, counter_bits: int, vectors: int
) -> Iterator[BlockFinding]:
    """Yield what is wrong with the blocks of a step.

    Parameters
    ----------
    timing
        What the file says of them; of files of format 1 nothing can be said.
    raw
        The counts, shape (vector, polarity, column); None where the file has none.
    counter_bits
        Width of the counters; the highest code says overflow.
    vectors
        How many vectors the step has.
    """
    notes = timing.blocks
    if notes is None:
        return
    spans = list(pairwise((*timing.first_vector.tolist(), vectors)))
    if raw is not None:
        for place, (first, stop) in enumerate(spans):
            yield from _check_counts(
                notes, place, raw[first:stop], first=first, top=(1 << counter_bits) - 1
            )
    yield from _check_sequence(notes, spans)
    for block in sorted({fault.block for fault in timing.faults}):
        if not notes.quality[block] & BlockQuality.LINK_FAULT:
            message = f"of block {block} has no link_fault: a fault of the link fell into it"
            yield FindingKind.SCHEMA, "/timing/quality", message


def _check_counts(
    notes: BlockNotes, place: int, counts: npt.NDArray[np.uint16], *, first: int, top: int
) -> Iterator[BlockFinding]:
    if extended_crc(0, counts.astype("<u2", copy=False)) != notes.crc32c[place]:
        message = (
            f"vectors {first} to {first + len(counts) - 1}, block {place}, do not match their "
            "CRC-32C"
        )
        yield FindingKind.CHECKSUM, "/raw", message
        return  # damaged counts say nothing of overflow
    says_overflow = bool(notes.quality[place] & BlockQuality.OVERFLOW)
    if says_overflow != bool(counts.max(initial=0) >= top):
        message = f"of block {place}: overflow is {says_overflow}, its counts say otherwise"
        yield FindingKind.SCHEMA, "/timing/quality", message


def _check_sequence(notes: BlockNotes, spans: list[tuple[int, int]]) -> Iterator[BlockFinding]:
    """Yield where readouts are missing that nothing explains."""
    known: list[tuple[int, Any]] = [
        (place, number)
        for place, number in enumerate(notes.sequence.tolist())
        if number != UNKNOWN_SEQUENCE
    ]
    for (_, before), (place, number) in pairwise(known):
        first, stop = spans[place]
        where = f"vectors {first} to {stop - 1}, block {place}"
        if number <= before:
            message = f"{where}: are readout {number}, after readout {before}"
            yield FindingKind.SEQUENCE, "/timing/sequence", message
        elif number > before + 1 and not notes.quality[place] & BlockQuality.MEASURED_AGAIN:
            message = f"{where}: are readout {number}, {number - before - 1} before it are missing"
            yield FindingKind.SEQUENCE, "/timing/sequence", message
