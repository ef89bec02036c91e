"""Writing a step file: blocks as they arrive, conclusions at the end, then its final name."""

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.durable import PART_SUFFIX, finished_file
from hil_datasets.schema import FILE_FORMAT, FORMAT_VERSION, STEP_DATASET_BY_PATH, DatasetSpec
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, hash_readouts


class StepWriter:
    """A step file under construction, ``STEP.h5.part``.

    Parameters
    ----------
    path
        Final name of the file.
    key, origin
        Which step, and where its data come from.
    weights
        Programmed weights, shape (row, column).
    """

    def __init__(
        self, path: Path, *, key: StepKey, origin: StepOrigin, weights: npt.NDArray[np.int8]
    ) -> None:
        self._path = path
        self._vectors = origin.calibration_vectors + origin.verification_vectors
        rows, columns = weights.shape
        self._file = h5py.File(path.with_name(path.name + PART_SUFFIX), "w")
        attributes = self._file.attrs
        attributes["file_format"] = FILE_FORMAT
        attributes["format_version"] = FORMAT_VERSION
        attributes["core"] = key.core
        attributes["read_mode"] = str(key.read_mode)
        for name, value in asdict(origin).items():
            attributes[name] = json.dumps(value) if isinstance(value, dict) else value
        self._create("weights", weights.shape, weights)
        self._create("inputs", (self._vectors, rows))
        self._create("raw", (self._vectors, 2, columns))
        self._create("expected", (self._vectors, columns))
        self._file.flush()

    def write_block(
        self,
        first_vector: int,
        *,
        inputs: npt.NDArray[np.int8],
        counts: npt.NDArray[np.uint16],
        expected: npt.NDArray[np.int32],
    ) -> None:
        """Store the readouts of one block and flush them to the operating system.

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
        self._file["inputs"][block] = inputs
        self._file["raw"][block] = counts
        self._file["expected"][block] = expected
        self._file.flush()

    def finish(self, conclusion: StepConclusion) -> str:
        """Store the conclusions, sync the file, give it its name; return its content hash."""
        for name in ("a_p", "a_n", "b"):
            self._create_from(f"correction/{name}", getattr(conclusion.correction, name))
        for name in ("a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared", "saturated_counts"):
            self._create_from(f"correction/{name}", getattr(conclusion, name))
        for name in ("scale_p", "scale_n", "offset"):
            self._create_from(f"coefficients/{name}", getattr(conclusion.registers, name))
        self._create_from("coefficients/swap", conclusion.registers.swap.astype(np.uint8))
        self._create_from("coefficients/flags", conclusion.flags)
        if conclusion.outputs is not None:
            self._create_from("verification/outputs", conclusion.outputs)
        self._create_from("verification/column_rms", conclusion.column_rms)
        self._file["correction"].attrs["output_lsb"] = conclusion.output_lsb
        self._file["correction"].attrs["global_gain"] = conclusion.global_gain
        self._file["coefficients"].attrs["nmpu"] = json.dumps(conclusion.fmt.to_dict())
        self._file["verification"].attrs["errors"] = json.dumps(conclusion.errors)
        self._file["verification"].attrs["nmpu_mismatches"] = json.dumps(conclusion.nmpu_mismatches)
        self._file["verification"].attrs["errors_all_columns"] = json.dumps(
            conclusion.errors_all_columns
        )
        content = (self._file[name][...] for name in ("weights", "inputs", "raw"))
        raw_sha256 = hash_readouts(*content)
        self._file.attrs["raw_sha256"] = raw_sha256
        self._file.close()
        with finished_file(self._path):
            pass
        return raw_sha256

    def close(self) -> None:
        """Close the file; without `finish` it stays a ``.part`` file."""
        if self._file:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _create_from(self, path: str, array: npt.NDArray[Any]) -> None:
        self._create(path, array.shape, array)

    def _create(
        self, path: str, shape: tuple[int, ...], array: npt.NDArray[Any] | None = None
    ) -> None:
        spec = STEP_DATASET_BY_PATH[path]
        dataset = self._file.create_dataset(path, shape=shape, dtype=spec.dtype, data=array)
        describe(dataset, spec)


def describe(dataset: h5py.Dataset, spec: DatasetSpec) -> None:
    """Attach unit, long name and names of the axes."""
    dataset.attrs["units"] = spec.units
    dataset.attrs["long_name"] = spec.long_name
    for axis, name in enumerate(spec.axes):
        dataset.dims[axis].label = name
