"""What is known of each block of a step that is being written, besides its readouts."""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hil_datasets.check_sum import extended_crc
from hil_datasets.durable import WriteLatch
from hil_datasets.step_files.placement import PlacedRows
from hil_datasets.step_files.schema import STEP_DATASET_BY_PATH
from hil_datasets.step_timing import UNKNOWN_SEQUENCE, BlockNotes, BlockQuality, StepTiming

BLOCK_DATASETS = (
    "timing/began_s",
    "timing/ended_s",
    "timing/crc32c",
    "timing/sequence",
    "timing/quality",
)
"""What a part keeps of each block."""
_PACKED = {
    dtype: struct.Struct(f"={code}").pack_into
    for dtype, code in (("float64", "d"), ("int64", "q"), ("uint32", "I"), ("uint8", "B"))
}
"""How one value is stored, in the order of bytes of this machine, which is that of its files."""
_OVERFLOWN = tuple(
    BlockQuality(bits) | BlockQuality.OVERFLOW for bits in range(1 + sum(BlockQuality))
)
"""Each quality with overflow: an enumeration takes longer to say so."""
_TOGETHER_BYTES = 16 << 10
"""Up to this, all notes of a part are written with one system call instead of one each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNote:
    """One block."""

    vectors: int
    """How many vectors it has."""
    crc32c: int
    """CRC-32C of its counts, little-endian."""
    sequence: int
    """Which readout of the step it is."""
    quality: BlockQuality
    """What befell it."""

    @classmethod
    def of(
        cls, counts: npt.NDArray[np.uint16], *, sequence: int, quality: BlockQuality, top: int
    ) -> "BlockNote":
        """Return the note of a block.

        Parameters
        ----------
        counts
            Its counts, shape (vector, polarity, column).
        sequence, quality
            Which readout it is, and what befell it.
        top
            The highest code of the counters, which says overflow.
        """
        has_overflow = bool(counts.size) and int(counts.max()) >= top
        return cls(
            vectors=len(counts),
            crc32c=extended_crc(0, counts.astype("<u2", copy=False)),
            sequence=sequence,
            quality=_OVERFLOWN[quality] if has_overflow else quality,
        )


class NotePlaces:
    """Where a part keeps what is known of its blocks: each value is written to its place.

    The notes of few blocks lie close together. Then they are kept in memory as the file has them,
    with whatever HDF5 has put in between, and all written again for each block: that takes less
    time than five system calls. Nobody else changes these bytes before the step is finished.

    Parameters
    ----------
    stored
        The datasets of the part; older software did not make all of `BLOCK_DATASETS`.
    latch
        The file.
    """

    def __init__(self, stored: Mapping[str, PlacedRows], latch: WriteLatch) -> None:
        self._latch = latch
        found = [
            (column, _PACKED[STEP_DATASET_BY_PATH[path].dtype], stored[path].placement)
            for column, path in enumerate(BLOCK_DATASETS)
            if path in stored
        ]
        self._first = min((place.offset for _, _, place in found), default=0)
        stop = max((place.start_of(place.shape[0], 0) for _, _, place in found), default=0)
        self._are_together = stop - self._first <= _TOGETHER_BYTES
        content = (
            os.pread(latch.fileno(), stop - self._first, self._first)
            if self._are_together
            else bytes(8)
        )
        if self._are_together and len(content) != stop - self._first:
            raise OSError("the file ends before the notes of its blocks")
        self._content = memoryview(bytearray(content))
        self._columns = [
            (column, pack_into, place.offset, place.row_bytes) for column, pack_into, place in found
        ]

    def write(self, block: int, times: tuple[float, float], note: BlockNote) -> None:
        """Hand what is known of a block to the operating system."""
        values = (*times, note.crc32c, note.sequence, note.quality)
        content, first = self._content, self._first
        if self._are_together:
            for column, pack_into, offset, size in self._columns:
                pack_into(content, offset - first + block * size, values[column])
            self._latch.write_at(content, first)
            return
        for column, pack_into, offset, size in self._columns:
            pack_into(content, 0, values[column])
            self._latch.write_at(content[:size], offset + block * size)


class NotedBlocks:
    """The blocks of a step that is being written."""

    def __init__(self) -> None:
        self._notes: dict[int, BlockNote] = {}

    def add(
        self,
        first_vector: int,
        counts: npt.NDArray[np.uint16],
        *,
        sequence: int,
        quality: BlockQuality,
        top: int,
    ) -> BlockNote:
        """Note a block; parameters are those of `BlockNote.of`, and its first vector."""
        note = BlockNote.of(counts, sequence=sequence, quality=quality, top=top)
        self._notes[first_vector] = note
        return note

    def forget(self, vector: int) -> None:
        """Forget the blocks from a vector on."""
        self._notes = {first: note for first, note in self._notes.items() if first < vector}

    def recall(
        self, stored: Mapping[str, PlacedRows], places: Mapping[int, int], vectors: int
    ) -> None:
        """Note what an earlier process has noted in a part.

        Parameters
        ----------
        stored
            The datasets of the part; older software did not store all.
        places
            Place of each block by its first vector.
        vectors
            How many vectors are whole.
        """
        if "timing/crc32c" not in stored:
            return
        firsts = [first for first in places if first < vectors]
        columns = [
            stored[path][0 : len(firsts)].tolist()
            for path in ("timing/crc32c", "timing/sequence", "timing/quality")
        ]
        for (first, stop), crc32c, sequence, quality in zip(
            pairwise((*firsts, vectors)), *columns, strict=True
        ):
            self._notes[first] = BlockNote(
                vectors=stop - first,
                crc32c=crc32c,
                sequence=sequence,
                quality=BlockQuality(quality),
            )

    def complete(self, timing: StepTiming, raw: PlacedRows, *, top: int) -> StepTiming:
        """Return the timing of the whole step with what is known of its blocks.

        Parameters
        ----------
        timing
            Its blocks; what a recording says of them stays.
        raw
            Its counts, for what was not noted: a replay may read other blocks than it repeats.
        top
            The highest code of the counters.
        """
        if timing.blocks is not None:
            return timing
        notes = []
        for first, stop in pairwise((*timing.first_vector.tolist(), raw.placement.shape[0])):
            note = self._notes.get(first)
            if note is None or note.vectors != stop - first:
                no_quality = BlockQuality(0)
                note = BlockNote.of(
                    raw[first:stop], sequence=UNKNOWN_SEQUENCE, quality=no_quality, top=top
                )
            notes.append(note)
        quality = np.array([note.quality for note in notes], np.uint8)
        hit = [fault.block for fault in timing.faults]
        quality[hit] |= np.uint8(BlockQuality.LINK_FAULT)
        blocks = BlockNotes(
            crc32c=np.array([note.crc32c for note in notes], np.uint32),
            sequence=np.array([note.sequence for note in notes], np.int64),
            quality=quality,
        )
        return replace(timing, blocks=blocks)
