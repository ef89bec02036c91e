"""When the blocks of a salvaged step were read, as far as its file still says it."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.step_files.block_notes import BlockNote
from hil_datasets.step_timing import UNKNOWN_SEQUENCE, BlockNotes, BlockQuality, StepTiming


def salvaged_timing(
    said: Mapping[str, Any], raw: npt.NDArray[np.uint16], *, counter_bits: int
) -> StepTiming | None:
    """Return the timing of the vectors that are left; None if it is lost.

    Every block is marked as restored. A block that is whole keeps its check sum, one that was cut
    gets a new one; faults of the link are lost with the end of the file.

    Parameters
    ----------
    said
        What the guarded reader has saved of the step.
    raw
        The counts that are left, shape (vector, polarity, column).
    counter_bits
        Width of the counters.
    """
    stored, attributes = said["timing"], said["attributes"]
    names = ("timing/began_utc", "timing/since_run_began_s")
    if "timing/first_vector" not in stored or any(name not in attributes for name in names):
        return None
    firsts = [first for first in stored["timing/first_vector"] if 0 <= first < len(raw)]
    ends = [*stored["timing/first_vector"][1:], said["total"]]
    count = len(firsts)
    try:
        return StepTiming(
            began_utc=attributes[names[0]],
            since_run_began_s=attributes[names[1]],
            first_vector=np.array(firsts, np.int64),
            began_s=np.array(stored["timing/began_s"][:count], np.float64),
            ended_s=np.array(stored["timing/ended_s"][:count], np.float64),
            blocks=_notes(stored, firsts, ends, raw, top=(1 << counter_bits) - 1),
        )
    except (ValueError, OverflowError):
        return None


def _notes(
    stored: Mapping[str, list[int]],
    firsts: list[int],
    ends: list[int],
    raw: npt.NDArray[np.uint16],
    *,
    top: int,
) -> BlockNotes:
    is_noted = "timing/crc32c" in stored
    sums, numbers, qualities = [], [], []
    for place, (first, stop) in enumerate(pairwise((*firsts, len(raw)))):
        befell = BlockQuality(stored["timing/quality"][place]) if is_noted else BlockQuality(0)
        note = BlockNote.of(
            raw[first:stop],
            sequence=stored["timing/sequence"][place] if is_noted else UNKNOWN_SEQUENCE,
            quality=(befell & ~BlockQuality.OVERFLOW) | BlockQuality.RESTORED,
            top=top,
        )
        is_whole = is_noted and stop == ends[place]
        sums.append(stored["timing/crc32c"][place] if is_whole else note.crc32c)
        numbers.append(note.sequence)
        qualities.append(note.quality)
    return BlockNotes(
        crc32c=np.array(sums, np.uint32),
        sequence=np.array(numbers, np.int64),
        quality=np.array(qualities, np.uint8),
    )
