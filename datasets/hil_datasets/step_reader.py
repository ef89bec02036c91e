"""Reading a step file, trusting nothing in it.

Names, element types, axes and sizes are checked against the schema and against each other before
an array is allocated; datasets that would reach outside the file are refused.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.errors import DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.schema import FILE_FORMAT, FORMAT_VERSION, STEP_DATASETS, DatasetSpec
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, StepRecord, hash_readouts

_OPTIONAL = {"verification/outputs"}


def read_step(path: Path) -> StepRecord:
    """Read a finished step.

    Raises
    ------
    DatasetError
        If the file is missing, truncated, no step file, of another version, or contradicts the
        schema, itself or its content hash. Every problem found is listed.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except FileNotFoundError as error:
        raise DatasetError(str(path), [Problem("", "no such file")]) from error
    except (OSError, RuntimeError) as error:  # what h5py raises for damaged files
        raise DatasetError(
            str(path), [Problem("", f"cannot be read as HDF5, it is damaged: {error}")]
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(str(path), [Problem("", f"an attribute is damaged: {error}")]) from error


def _read(path: Path, file: h5py.File) -> StepRecord:
    attributes = dict(file.attrs)
    file_format, version = attributes.get("file_format"), attributes.get("format_version")
    if file_format != FILE_FORMAT:
        raise DatasetError(
            str(path), [Problem("/", f"file_format is {file_format!r}: must be {FILE_FORMAT!r}")]
        )
    if version != FORMAT_VERSION:
        raise DatasetError(
            str(path),
            [Problem("/", f"format_version is {version}: this software reads {FORMAT_VERSION}")],
        )
    origin = _read_origin(attributes)
    problems = _check_datasets(file, path.stat().st_size, origin)
    if problems:
        raise DatasetError(str(path), problems)
    arrays = {spec.path: file[spec.path][...] for spec in STEP_DATASETS if spec.path in file}
    raw_sha256 = hash_readouts(arrays["weights"], arrays["inputs"], arrays["raw"])
    if raw_sha256 != attributes["raw_sha256"]:
        raise DatasetError(
            str(path),
            [Problem("/raw", "weights, inputs and counts do not match their content hash")],
        )
    return StepRecord(
        key=StepKey(int(attributes["core"]), ReadMode(attributes["read_mode"])),
        origin=origin,
        weights=arrays["weights"],
        inputs=arrays["inputs"],
        raw=arrays["raw"],
        expected=arrays["expected"],
        conclusion=_read_conclusion(file, arrays),
        raw_sha256=raw_sha256,
    )


def _read_origin(attributes: dict[str, Any]) -> StepOrigin:
    return StepOrigin(
        title=str(attributes["title"]),
        campaign_sha256=str(attributes["campaign_sha256"]),
        resource=str(attributes["resource"]),
        chip=ChipIdentity(**json.loads(attributes["chip"])),
        counter_bits=int(attributes["counter_bits"]),
        measured_utc=str(attributes["measured_utc"]),
        temperature_c=float(attributes["temperature_c"]),
        seed=int(attributes["seed"]),
        calibration_vectors=int(attributes["calibration_vectors"]),
        verification_vectors=int(attributes["verification_vectors"]),
        rows_used=int(attributes["rows_used"]),
        columns_used=int(attributes["columns_used"]),
        first_row=int(attributes["first_row"]),
        first_column=int(attributes["first_column"]),
        software=json.loads(attributes["software"]),
        host=str(attributes["host"]),
    )


def _check_datasets(file: h5py.File, file_bytes: int, origin: StepOrigin) -> list[Problem]:
    problems: list[Problem] = []
    sizes: dict[str, int] = {
        "polarity": 2,
        "correction": 4,
        "vector": origin.calibration_vectors + origin.verification_vectors,
        "verification_vector": origin.verification_vectors,
    }
    for spec in STEP_DATASETS:
        where = f"/{spec.path}"
        dataset = file.get(spec.path)
        if dataset is None:
            if spec.path not in _OPTIONAL:
                problems.append(Problem(where, "missing"))
            continue
        if not isinstance(dataset, h5py.Dataset) or _reaches_outside(file, spec):
            problems.append(Problem(where, "is not a plain dataset of this file"))
            continue
        if dataset.dtype != np.dtype(spec.dtype) or dataset.ndim != len(spec.axes):
            problems.append(
                Problem(
                    where,
                    f"is {dataset.dtype} with {dataset.ndim} axes: must be {spec.dtype} with "
                    f"{len(spec.axes)}",
                )
            )
            continue
        if dataset.nbytes > file_bytes:
            problems.append(
                Problem(where, f"claims {dataset.nbytes} bytes in a file of {file_bytes}")
            )
        for axis, size in zip(spec.axes, dataset.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                problems.append(Problem(where, f"has {size} along {axis}: must have {sizes[axis]}"))
    return problems


def _reaches_outside(file: h5py.File, spec: DatasetSpec) -> bool:
    parts = spec.path.split("/")
    links = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    if any(not isinstance(file.get(link, getlink=True), h5py.HardLink) for link in links):
        return True
    dataset = file[spec.path]
    return bool(dataset.is_virtual or dataset.external)


def _read_conclusion(file: h5py.File, arrays: dict[str, npt.NDArray[Any]]) -> StepConclusion:
    correction, verification = file["correction"].attrs, file["verification"].attrs
    return StepConclusion(
        output_lsb=float(correction["output_lsb"]),
        global_gain=float(correction["global_gain"]),
        correction=Correction(
            a_p=arrays["correction/a_p"],
            a_n=arrays["correction/a_n"],
            b=arrays["correction/b"],
        ),
        a_p_se=arrays["correction/a_p_se"],
        a_n_se=arrays["correction/a_n_se"],
        b_se=arrays["correction/b_se"],
        residual_rms=arrays["correction/residual_rms"],
        r_squared=arrays["correction/r_squared"],
        saturated_counts=arrays["correction/saturated_counts"],
        fmt=NmpuFormat(**json.loads(file["coefficients"].attrs["nmpu"])),
        registers=NmpuRegisters(
            scale_p=arrays["coefficients/scale_p"],
            scale_n=arrays["coefficients/scale_n"],
            offset=arrays["coefficients/offset"],
            swap=arrays["coefficients/swap"].astype(np.bool_),
        ),
        flags=arrays["coefficients/flags"],
        outputs=arrays.get("verification/outputs"),
        column_rms=arrays["verification/column_rms"],
        nmpu_mismatches=json.loads(verification["nmpu_mismatches"]),
        errors=_read_errors(verification["errors"]),
        errors_all_columns=_read_errors(verification["errors_all_columns"]),
    )


def _read_errors(text: str) -> dict[str, float]:
    return {str(name): float(value) for name, value in json.loads(text).items()}
