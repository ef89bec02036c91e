"""Writing a step file: blocks as they arrive, conclusions at the end, then its final name."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hil_datasets.check_sum import extended_crc, joined_crc
from hil_datasets.durable import (
    MAKING_SUFFIX,
    PART_SUFFIX,
    WriteLatch,
    finished_file,
    names_failed_writes,
)
from hil_datasets.step import StepConclusion, StepKey, StepOrigin
from hil_datasets.step_conditions import (
    Condition,
    conditions_to_arrays,
    conditions_to_attributes,
)
from hil_datasets.step_files.block_notes import BlockNote, NotedBlocks, NotePlaces
from hil_datasets.step_files.concluded import (
    concluded_arrays,
    concluded_attributes,
    concluded_ids,
    id_attributes,
)
from hil_datasets.step_files.file import make_finished
from hil_datasets.step_files.new_part import check_circumstance, make_part, origin_attributes
from hil_datasets.step_files.part import (
    Extent,
    PartMark,
    StepLayout,
    StepPart,
    block_spans,
    held_out_span,
    placed_rows,
    stored_arrays,
)
from hil_datasets.step_files.schema import (
    FORMAT_VERSION,
)
from hil_datasets.step_timing import UNKNOWN_SEQUENCE, BlockQuality, StepTiming

_SYNC_EVERY_S = 1.0
"""How much of a step a power failure can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """Some vectors of a part."""

    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Shape (vector, column)."""
    outputs: npt.NDArray[np.int8] | None
    """What the device's NMPU made of held-out vectors, shape (vector, column)."""


class StepWriter:
    """A step file under construction, ``STEP.h5.part``.

    From the moment this returns, the partial file opens with any HDF5 reader and holds every block
    that was written, whatever becomes of this process. `finish` works on a copy, so that this stays
    so until the finished file has its name.

    Parameters
    ----------
    path
        Final name of the file.
    key, origin
        Which step, and where its data come from.
    weights
        Programmed weights, shape (row, column).
    layout
        How its vectors are measured; without it the part cannot be gone on with.
    began
        When the step began, ISO 8601, and seconds since the run did.
    part
        What `read_part` has found of the step, to go on with it.
    clock
        Monotonic seconds: written blocks are forced to the disk once a second.

    Raises
    ------
    DatasetError
        If the file cannot be written; so do `write_block` and `finish`.
    ValueError
        If key and origin name different kinds or visits.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: StepKey,
        origin: StepOrigin,
        weights: npt.NDArray[np.int8],
        layout: StepLayout | None = None,
        began: tuple[str, float] = ("", 0.0),
        part: StepPart | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_circumstance(key, origin)
        self._path = path
        self._part = path.with_name(path.name + PART_SUFFIX)
        self._origin = origin
        self._layout = layout
        blocks = () if layout is None else layout.blocks
        self._place_of = {first: place for place, first in enumerate(blocks)}
        self._notes = NotedBlocks()
        self._top_code = (1 << origin.counter_bits) - 1
        self._clock = clock
        self._synced_s = clock()
        self._is_written = np.zeros(
            origin.calibration_vectors + origin.verification_vectors, dtype=np.bool_
        )
        self._mark = PartMark(config_sha256="" if layout is None else layout.config_sha256)
        if part is None:
            with names_failed_writes(self._part):
                make_part(path, key=key, origin=origin, weights=weights, layout=layout, began=began)
        with names_failed_writes(self._part):
            self._latch = WriteLatch(self._part, is_new=False)
            self._stored = placed_rows(self._part, self._latch.fileno())
            self._places = NotePlaces(self._stored, self._latch)
        if part is not None:
            self._is_written[: part.extent.vectors] = True
            self._notes.recall(self._stored, self._place_of, part.extent.vectors)
            self._mark = replace(self._mark, written=part.extent, synced=part.extent)
            with names_failed_writes(self._part):
                self._latch.write_head(self._mark.to_bytes())
        self.first_missing = self._mark.written.vectors
        """The first vector that was not stored when the writer was made, or went back last."""

    def write_block(
        self,
        first_vector: int,
        *,
        inputs: npt.NDArray[np.int8],
        counts: npt.NDArray[np.uint16],
        expected: npt.NDArray[np.int32],
        outputs: npt.NDArray[np.int8] | None = None,
        times: tuple[float, float] | None = None,
        sequence: int = UNKNOWN_SEQUENCE,
        quality: BlockQuality = BlockQuality(0),  # noqa: B008 - it is a number
    ) -> None:
        """Store the readouts of one block and hand them to the operating system.

        Parameters
        ----------
        first_vector
            Index of the block's first vector in the step.
        inputs
            Shape (vector, row).
        counts
            Shape (vector, polarity, column).
        expected
            Shape (vector, column).
        outputs
            What the device's NMPU made of held-out vectors, shape (vector, column).
        times
            When reading it began and ended, seconds since the step began.
        sequence
            Which readout of the step it is, from 0.
        quality
            What befell it; that it holds overflow codes is seen here.
        """
        block = slice(first_vector, first_vector + len(inputs))
        held_out = held_out_span(
            block.start,
            block.stop,
            self._origin.calibration_vectors,
            keeps=outputs is not None and self._layout is not None and self._layout.keeps_outputs,
        )
        stored_counts = self._stored["raw"].placement.as_stored(counts)
        note = self._notes.add(
            first_vector, stored_counts, sequence=sequence, quality=quality, top=self._top_code
        )
        crc = self._mark.written.crc
        with names_failed_writes(self._part):
            # The counts, which were just looked at, go first: a cache does not hold all.
            self._put("raw", first_vector, stored_counts)
            crc = extended_crc(crc, self._put("inputs", first_vector, inputs))
            crc = _extended_by_counts(crc, stored_counts, note)
            crc = extended_crc(crc, self._put("expected", first_vector, expected))
            if held_out is not None and outputs is not None:
                stored = self._put("verification/outputs", held_out.start, outputs)
                crc = extended_crc(crc, stored)
            if times is not None and self._layout is not None:
                self._places.write(self._place_of[first_vector], times, note)
            self._latch.check()
            if self._layout is not None and first_vector == self._mark.written.vectors:
                self._note_written(Extent(block.stop, crc))
        self._is_written[block] = True

    def _put(self, path: str, first: int, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Hand some rows of a dataset to the operating system; return them as they are stored."""
        place = self._stored[path].placement
        stored = place.as_stored(rows)
        self._latch.write_at(stored.data, place.start_of(first, len(stored)))
        return stored

    def _note_written(self, extent: Extent) -> None:
        synced = self._mark.synced
        if self._clock() - self._synced_s >= _SYNC_EVERY_S:
            self._latch.sync()
            synced, self._synced_s = extent, self._clock()
        self._mark = PartMark(config_sha256=self._mark.config_sha256, written=extent, synced=synced)
        self._latch.write_head(self._mark.to_bytes())

    def go_back_to(self, vector: int) -> None:
        """Count what is stored from a vector on as never written: it is to be read again.

        Parameters
        ----------
        vector
            First vector of a block, or the end of what is stored.

        Raises
        ------
        DatasetError
            If the file cannot be read or written.
        ValueError
            If no block that is stored, or comes next, begins there.
        """
        stored = int(np.argmin(np.append(self._is_written, np.False_)))
        is_between = self._layout is None or vector in (*self._layout.blocks, stored)
        if not (0 <= vector <= stored and is_between):
            raise ValueError(f"vector {vector}: no stored block begins there, {stored} are stored")
        if self._layout is not None:
            with names_failed_writes(self._part):
                written = self._extent_of(self._layout, vector)
                is_synced = self._mark.synced.vectors <= vector
                synced = self._mark.synced if is_synced else written
                self._mark = replace(self._mark, written=written, synced=synced)
                self._latch.check()
                self._latch.write_head(self._mark.to_bytes())
                self._latch.sync()
        self._is_written[vector:] = False
        self._notes.forget(vector)
        self.first_missing = vector

    def _extent_of(self, layout: StepLayout, vectors: int) -> Extent:
        """Return the extent of the first vectors, block by block as they were written."""
        extent = Extent()
        for first, stop in block_spans(layout, len(self._is_written)):
            if stop > vectors:
                break
            held_out = held_out_span(
                first, stop, self._origin.calibration_vectors, keeps=layout.keeps_outputs
            )
            arrays = stored_arrays(self._stored, slice(first, stop), held_out)
            extent = extent.extended(stop - first, arrays)
        return extent

    def stored_block(self, first: int, stop: int) -> StoredBlock:
        """Return what is stored of some vectors."""
        calibration_vectors = self._origin.calibration_vectors
        keeps = self._layout is not None and self._layout.keeps_outputs
        held_out = held_out_span(first, stop, calibration_vectors, keeps=keeps)
        _, counts, expected, *outputs = stored_arrays(self._stored, slice(first, stop), held_out)
        return StoredBlock(
            counts=counts, expected=expected, outputs=outputs[0] if outputs else None
        )

    def finish(
        self,
        conclusion: StepConclusion,
        timing: StepTiming | None = None,
        conditions: Sequence[Condition] = (),
    ) -> str:
        """Store the conclusions, sync the file, give it its name; return its readouts' hash.

        Parameters
        ----------
        conclusion
            What was concluded.
        timing
            When the blocks were read, if that is known.
        conditions
            What the bench instruments showed, if there were any.

        Raises
        ------
        ValueError
            If the readouts of some vector were never written.
        """
        if not self._is_written.all():
            missing = int(np.argmin(self._is_written))
            raise ValueError(f"{self._path.name}: vector {missing} was never written")
        arrays, attributes = concluded_arrays(conclusion), concluded_attributes(conclusion)
        if timing is not None:
            timing = self._notes.complete(timing, self._stored["raw"], top=self._top_code)
            arrays |= timing.to_arrays()
            attributes |= timing.to_attributes()
        arrays |= conditions_to_arrays(conditions)
        attributes |= origin_attributes(self._origin) | conditions_to_attributes(conditions)
        attributes["format_version"] = FORMAT_VERSION  # of a part that older software began

        def named(raw_sha256: str) -> dict[str, Any]:
            circumstance = self._origin.circumstance
            return id_attributes(concluded_ids(conclusion, raw_sha256, circumstance))

        with names_failed_writes(self._path):
            self.close()
            self._latch.check()
            making = self._path.with_name(self._path.name + MAKING_SUFFIX)
            try:
                with finished_file(self._path, suffix=MAKING_SUFFIX):
                    raw_sha256 = make_finished(self._part, making, arrays, attributes, named)
            finally:
                making.unlink(missing_ok=True)
            self._part.unlink()
        return raw_sha256

    def close(self) -> None:
        """Close the file; without `finish` it stays a ``.part`` file."""
        self._latch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _extended_by_counts(crc: int, counts: npt.NDArray[np.uint16], note: BlockNote) -> int:
    """Return a CRC-32C with the counts of a block after it, which are read once."""
    # The note's is of little-endian counts, that of the head of those in the file.
    if sys.byteorder == "little":
        return joined_crc(crc, note.crc32c, counts.nbytes)
    return extended_crc(crc, counts)
