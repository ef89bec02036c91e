"""Writing a step file: blocks as they arrive, conclusions at the end, then its final name."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.durable import PART_SUFFIX, WriteLatch, finished_file, names_failed_writes
from hil_datasets.schema import (
    FILE_FORMAT,
    FORMAT_VERSION,
    QUALITY_DATASETS,
    STEP_ATTRIBUTES,
    STEP_DATASET_BY_PATH,
    AttributeKind,
    DatasetSpec,
)
from hil_datasets.seal import SEAL_BYTES, seal_file
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, hash_readouts
from hil_datasets.step_conditions import (
    Condition,
    conditions_to_arrays,
    conditions_to_attributes,
)
from hil_datasets.step_timing import StepTiming
from hil_datasets.stored_errors import errors_to_json

_STORED_AS: dict[AttributeKind, Callable[[Any], Any]] = {
    AttributeKind.TEXT: str,
    AttributeKind.INTEGER: int,
    AttributeKind.REAL: float,
    AttributeKind.JSON: partial(json.dumps, allow_nan=False),
}


class StepWriter:
    """A step file under construction, ``STEP.h5.part``.

    From the moment this returns until `finish` begins, the partial file opens with any HDF5 reader
    and holds every block that was written, whatever becomes of this process.

    Parameters
    ----------
    path
        Final name of the file.
    key, origin
        Which step, and where its data come from.
    weights
        Programmed weights, shape (row, column).

    Raises
    ------
    DatasetError
        If the file cannot be written; so do `write_block` and `finish`.
    """

    def __init__(
        self, path: Path, *, key: StepKey, origin: StepOrigin, weights: npt.NDArray[np.int8]
    ) -> None:
        self._path = path
        self._part = path.with_name(path.name + PART_SUFFIX)
        vectors = origin.calibration_vectors + origin.verification_vectors
        rows, columns = weights.shape
        self._is_written = np.zeros(vectors, dtype=np.bool_)
        attributes = {
            "file_format": FILE_FORMAT,
            "format_version": FORMAT_VERSION,
            "core": key.core,
            "read_mode": str(key.read_mode),
        }
        with names_failed_writes(self._part):
            self._latch = WriteLatch(self._part)
        self._file = h5py.File(self._latch, "w", userblock_size=SEAL_BYTES)
        try:
            with names_failed_writes(self._part):
                self._write_attributes(attributes | asdict(origin))
                self._create("weights", weights.shape, weights)
                self._create("inputs", (vectors, rows))
                self._create("raw", (vectors, 2, columns))
                self._create("expected", (vectors, columns))
                self._flush()
        except BaseException:
            self.close()
            raise

    def write_block(
        self,
        first_vector: int,
        *,
        inputs: npt.NDArray[np.int8],
        counts: npt.NDArray[np.uint16],
        expected: npt.NDArray[np.int32],
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
        """
        block = slice(first_vector, first_vector + len(inputs))
        with names_failed_writes(self._part):
            self._file["inputs"][block] = inputs
            self._file["raw"][block] = counts
            self._file["expected"][block] = expected
            self._flush()
        self._is_written[block] = True

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
        with names_failed_writes(self._path):
            arrays, attributes = _concluded_arrays(conclusion), _concluded_attributes(conclusion)
            if timing is not None:
                arrays |= timing.to_arrays()
                attributes |= timing.to_attributes()
            arrays |= conditions_to_arrays(conditions)
            attributes |= conditions_to_attributes(conditions)
            for path, array in arrays.items():
                self._create(path, array.shape, array)
            # From the file, not from memory: what is hashed is what will be read.
            weights, inputs, raw = (self._file[path][...] for path in ("weights", "inputs", "raw"))
            raw_sha256 = hash_readouts(weights, inputs, raw)
            self._write_attributes(attributes | {"raw_sha256": raw_sha256})
            self.close()
            self._latch.check()
            seal_file(self._part)
            with finished_file(self._path):
                pass
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

    def _flush(self) -> None:
        self._file.flush()
        self._latch.check()

    def _write_attributes(self, attributes: dict[str, Any]) -> None:
        for spec in STEP_ATTRIBUTES:
            if spec.path in attributes:
                value = _STORED_AS[spec.kind](attributes[spec.path])
                self._file[spec.owner].attrs[spec.name] = value

    def _create(
        self, path: str, shape: tuple[int, ...], array: npt.NDArray[Any] | None = None
    ) -> None:
        spec = STEP_DATASET_BY_PATH[path]
        # Its place in the file is fixed at once: blocks then change no metadata, so that a crash
        # in the middle of one cannot leave the file unreadable.
        placement = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        placement.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = self._file.create_dataset(
            path, shape=shape, dtype=spec.dtype, data=array, dcpl=placement
        )
        describe(dataset, spec)


def describe(dataset: h5py.Dataset, spec: DatasetSpec) -> None:
    """Attach unit, long name and names of the axes."""
    dataset.attrs["units"] = spec.units
    dataset.attrs["long_name"] = spec.long_name
    for axis, name in enumerate(spec.axes):
        dataset.dims[axis].label = name


def _concluded_arrays(conclusion: StepConclusion) -> dict[str, npt.NDArray[Any]]:
    correction, registers = conclusion.correction, conclusion.registers
    arrays: dict[str, npt.NDArray[Any]] = {
        "correction/a_p": correction.a_p,
        "correction/a_n": correction.a_n,
        "correction/b": correction.b,
        "correction/a_p_se": conclusion.a_p_se,
        "correction/a_n_se": conclusion.a_n_se,
        "correction/b_se": conclusion.b_se,
        "correction/residual_rms": conclusion.residual_rms,
        "correction/r_squared": conclusion.r_squared,
        "correction/saturated_counts": conclusion.saturated_counts,
        "coefficients/scale_p": registers.scale_p,
        "coefficients/scale_n": registers.scale_n,
        "coefficients/offset": registers.offset,
        "coefficients/swap": registers.swap.astype(np.uint8),
        "coefficients/flags": conclusion.flags,
        "verification/column_rms": conclusion.column_rms,
    }
    if conclusion.quality is not None:
        arrays |= {
            path: getattr(conclusion.quality, path.rpartition("/")[2]) for path in QUALITY_DATASETS
        }
    if conclusion.outputs is not None:
        arrays["verification/outputs"] = conclusion.outputs
    return arrays


def _concluded_attributes(conclusion: StepConclusion) -> dict[str, Any]:
    return {
        "correction/output_lsb": float(conclusion.output_lsb),
        "correction/global_gain": float(conclusion.global_gain),
        "coefficients/nmpu": conclusion.fmt.to_dict(),
        "verification/errors": errors_to_json(conclusion.errors),
        "verification/errors_all_columns": errors_to_json(conclusion.errors_all_columns),
        "verification/nmpu_mismatches": conclusion.nmpu_mismatches,
    }
