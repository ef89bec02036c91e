"""Writing a step file: blocks as they arrive, conclusions at the end, then its final name."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.circumstance import circumstance_to_attributes
from hil_datasets.concluded import concluded_arrays, concluded_attributes
from hil_datasets.durable import (
    MAKING_SUFFIX,
    PART_SUFFIX,
    WriteLatch,
    finished_file,
    names_failed_writes,
    sync_file,
)
from hil_datasets.schema import (
    FILE_FORMAT,
    FORMAT_VERSION,
)
from hil_datasets.step import StepConclusion, StepKey, StepOrigin
from hil_datasets.step_conditions import (
    Condition,
    conditions_to_arrays,
    conditions_to_attributes,
)
from hil_datasets.step_file import create_dataset, make_finished, write_attributes, written_hdf5
from hil_datasets.step_part import (
    Extent,
    PartMark,
    StepLayout,
    StepPart,
    block_spans,
    held_out_span,
    stored_arrays,
)
from hil_datasets.step_timing import StepTiming

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
        _check_circumstance(key, origin)
        self._path = path
        self._part = path.with_name(path.name + PART_SUFFIX)
        self._origin = origin
        self._layout = layout
        self._clock = clock
        self._synced_s = clock()
        self._is_written = np.zeros(
            origin.calibration_vectors + origin.verification_vectors, dtype=np.bool_
        )
        self._mark = PartMark(config_sha256="" if layout is None else layout.config_sha256)
        if part is None:
            with names_failed_writes(self._part):
                self._make_part(key, weights, began)
        with names_failed_writes(self._part):
            self._latch = WriteLatch(self._part, is_new=False)
        self._file = h5py.File(self._latch, "r+")
        if part is not None:
            self._is_written[: part.extent.vectors] = True
            self._mark = replace(self._mark, written=part.extent, synced=part.extent)
            with names_failed_writes(self._part):
                self._latch.write_head(self._mark.to_bytes())
        self.first_missing = self._mark.written.vectors
        """The first vector that was not stored when the writer was made, or went back last."""

    def _make_part(
        self, key: StepKey, weights: npt.NDArray[np.int8], began: tuple[str, float]
    ) -> None:
        """Make a part without vectors under another name: half of one does not open."""
        origin, layout = self._origin, self._layout
        vectors, (rows, columns) = len(self._is_written), weights.shape
        attributes = {
            "file_format": FILE_FORMAT,
            "format_version": FORMAT_VERSION,
            "core": key.core,
            "read_mode": str(key.read_mode),
        }
        making = self._path.with_name(self._path.name + MAKING_SUFFIX)
        with written_hdf5(making, mode="w") as file:
            write_attributes(file, attributes | _origin_attributes(origin))
            create_dataset(file, "weights", weights.shape, weights)
            create_dataset(file, "inputs", (vectors, rows))
            create_dataset(file, "raw", (vectors, 2, columns))
            create_dataset(file, "expected", (vectors, columns))
            if layout is not None:
                first_vector = np.array(layout.blocks, np.int64)
                create_dataset(file, "timing/first_vector", first_vector.shape, first_vector)
                for name in ("timing/began_s", "timing/ended_s"):
                    create_dataset(file, name, first_vector.shape)
                names = ("timing/began_utc", "timing/since_run_began_s")
                write_attributes(file, dict(zip(names, began, strict=True)))
                if layout.keeps_outputs:
                    create_dataset(
                        file, "verification/outputs", (origin.verification_vectors, columns)
                    )
        with making.open("r+b") as made:
            made.write(self._mark.to_bytes())
        sync_file(making)
        making.replace(self._part)
        sync_file(self._part.parent)

    def write_block(
        self,
        first_vector: int,
        *,
        inputs: npt.NDArray[np.int8],
        counts: npt.NDArray[np.uint16],
        expected: npt.NDArray[np.int32],
        outputs: npt.NDArray[np.int8] | None = None,
        times: tuple[float, float] | None = None,
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
        """
        block = slice(first_vector, first_vector + len(inputs))
        held_out = held_out_span(
            block.start,
            block.stop,
            self._origin.calibration_vectors,
            keeps=outputs is not None and self._layout is not None and self._layout.keeps_outputs,
        )
        arrays: list[npt.NDArray[Any]] = [inputs, counts, expected]
        with names_failed_writes(self._part):
            for name, array in zip(("inputs", "raw", "expected"), arrays, strict=True):
                self._file[name][block] = array
            if held_out is not None and outputs is not None:
                self._file["verification/outputs"][held_out] = outputs
                arrays.append(outputs)
            if times is not None and self._layout is not None:
                place = self._layout.blocks.index(first_vector)
                self._file["timing/began_s"][place], self._file["timing/ended_s"][place] = times
            self._file.flush()
            self._latch.check()
            if self._layout is not None and first_vector == self._mark.written.vectors:
                self._note_written(self._mark.written.extended(len(inputs), arrays))
        self._is_written[block] = True

    def _note_written(self, extent: Extent) -> None:
        synced = self._mark.synced
        if self._clock() - self._synced_s >= _SYNC_EVERY_S:
            self._latch.sync()
            synced, self._synced_s = extent, self._clock()
        self._mark = replace(self._mark, written=extent, synced=synced)
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
            arrays = stored_arrays(self._file, slice(first, stop), held_out)
            extent = extent.extended(stop - first, arrays)
        return extent

    def stored_block(self, first: int, stop: int) -> StoredBlock:
        """Return what is stored of some vectors."""
        calibration_vectors = self._origin.calibration_vectors
        keeps = self._layout is not None and self._layout.keeps_outputs
        held_out = held_out_span(first, stop, calibration_vectors, keeps=keeps)
        _, counts, expected, *outputs = stored_arrays(self._file, slice(first, stop), held_out)
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
            arrays |= timing.to_arrays()
            attributes |= timing.to_attributes()
        arrays |= conditions_to_arrays(conditions)
        attributes |= _origin_attributes(self._origin) | conditions_to_attributes(conditions)
        with names_failed_writes(self._path):
            self.close()
            self._latch.check()
            making = self._path.with_name(self._path.name + MAKING_SUFFIX)
            try:
                with finished_file(self._path, suffix=MAKING_SUFFIX):
                    raw_sha256 = make_finished(self._part, making, arrays, attributes)
            finally:
                making.unlink(missing_ok=True)
            self._part.unlink()
        return raw_sha256

    def close(self) -> None:
        """Close the file; without `finish` it stays a ``.part`` file."""
        self._file.close()
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


def _check_circumstance(key: StepKey, origin: StepOrigin) -> None:
    circumstance = origin.circumstance
    if (key.kind, key.visit) != (circumstance.kind, circumstance.visit):
        raise ValueError(
            f"{key.name}: its origin is of visit {circumstance.visit}, {circumstance.kind}"
        )


def _origin_attributes(origin: StepOrigin) -> dict[str, Any]:
    return asdict(origin) | circumstance_to_attributes(origin.circumstance)
