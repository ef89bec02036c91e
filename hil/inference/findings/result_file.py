"""An evaluation in one HDF5 file, with named axes and units.

::

    /condition /image /layer             the axes, with numbers
    /correction /age_s /treatment        what each condition is
    /predictions                         (condition, image)
    /layer_errors, /layer_saturation     (condition, layer)
    /labels, /float_predictions, ...     (image)
    /switched_off_predictions            (flaw, image), where flaws were switched off
    /calibrations/0s/...                 (core, column): corrections and registers, by age
    /calibrations/stored/...             the same of the run whose coefficients were taken

xarray opens it with ``open_dataset(path, engine="h5netcdf")``.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.inference.conditions.outcome import (
    FORMAT_VERSION,
    Condition,
    ConditionResult,
    Evaluation,
    calibration_name,
)
from hil.inference.conditions.treatment import Treatment
from hil.inference.findings.content_digest import CONTENT_SHA256, content_digest
from hil.inference.findings.core_tables import LONG_NAMES, UNITS, CoreTables
from hil_datasets.durable import finished_file, names_failed_writes

FILE_FORMAT = "hil-evaluation"
_READABLE = (1, FORMAT_VERSION)
_READABLE_WORDS = " or ".join(map(str, _READABLE))
UNREADABLE = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError)
"""What h5py raises for damaged files."""
_TEXT = h5py.string_dtype()
_Table = tuple[str, npt.NDArray[np.generic], tuple[str, ...], str, str]
"""Name, values, axes, unit, long name."""


def write_evaluation(
    evaluation: Evaluation,
    path: Path,
    *,
    calibrations: Mapping[float | None, CoreTables] = MappingProxyType({}),
) -> None:
    """Write an evaluation; an older file of this name is replaced as a whole.

    Parameters
    ----------
    evaluation
        What was found.
    path
        Where to.
    calibrations
        Corrections and registers of all cores, by the age of the weights, seconds; None of those
        that a run had stored.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    with (
        names_failed_writes(path),
        finished_file(path) as part,
        h5py.File(part, "w", libver=("earliest", "v110")) as file,
    ):
        _write_attributes(file, evaluation)
        _write_axes(file, evaluation)
        for name, values, axes, units, long_name in _tables(evaluation):
            dataset = _create(file, name, values)
            dataset.attrs.update({"units": units, "long_name": long_name})
            for number, axis in enumerate(axes):
                dataset.dims[number].attach_scale(file[axis])
                dataset.dims[number].label = axis
        for age_s, tables in calibrations.items():
            group = file.create_group(f"calibrations/{calibration_name(age_s)}")
            _write_calibration(group, age_s, tables)
        file.attrs[CONTENT_SHA256] = content_digest(file)


def read_evaluation(path: Path) -> Evaluation:
    """Read what `write_evaluation` wrote.

    Raises
    ------
    DatasetError
        If it is no such file, of another version, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("file_format"), file.attrs.get("format_version")
            if found not in ((FILE_FORMAT, version) for version in _READABLE):
                message = f"is no evaluation of version {_READABLE_WORDS}: it says {found}"
                raise DatasetError(str(path), [Problem("", message)])
            return _read(file)
    except UNREADABLE as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(str(path), [Problem("", f"cannot be read: {error}")]) from error


def _write_axes(file: h5py.File, evaluation: Evaluation) -> None:
    for axis, size in (
        ("condition", len(evaluation.results)),
        ("image", len(evaluation.labels)),
        ("layer", len(evaluation.layers)),
        ("flaw", len(evaluation.switched_off)),
    ):
        if axis == "flaw" and not size:
            continue
        scale = file.create_dataset(axis, data=np.arange(size, dtype=np.int64))
        scale.attrs.update({"units": "1", "long_name": f"{axis} number"})
        scale.make_scale(axis)


def _write_calibration(group: h5py.Group, age_s: float | None, tables: CoreTables) -> None:
    if age_s is not None:
        group.attrs["age_s"] = age_s
    group.create_dataset("core", data=tables["core"]).make_scale("core")
    columns = group.create_dataset("column", data=np.arange(tables["is_used"].shape[1]))
    columns.make_scale("column")
    columns.attrs.update({"units": "1", "long_name": "column of the tile"})
    for name, values in tables.items():
        dataset = group[name] if name == "core" else group.create_dataset(name, data=values)
        dataset.attrs.update({"units": UNITS.get(name, "1"), "long_name": LONG_NAMES[name]})
        for number, axis in enumerate(("core", "column")[: values.ndim] if name != "core" else ()):
            dataset.dims[number].attach_scale(group[axis])
            dataset.dims[number].label = axis


def _create(file: h5py.File, name: str, values: npt.NDArray[np.generic]) -> h5py.Dataset:
    if values.dtype.kind == "U":
        return file.create_dataset(name, data=values.astype(object), dtype=_TEXT)
    return file.create_dataset(name, data=values)


def _write_attributes(file: h5py.File, evaluation: Evaluation) -> None:
    file.attrs.update(
        {
            "file_format": FILE_FORMAT,
            "format_version": FORMAT_VERSION,
            "evaluation_id": evaluation.id,
            "model": evaluation.model,
            "chip": evaluation.chip,
            "read_mode": evaluation.read_mode,
            "seed": evaluation.seed,
            "identity": json.dumps(dict(evaluation.identity)),
            "software": json.dumps(dict(evaluation.software)),
            "notes": json.dumps(evaluation.notes),
        }
    )


def _tables(evaluation: Evaluation) -> Iterator[_Table]:
    results = evaluation.results
    conditions = [result.condition for result in results]
    images, layers = len(evaluation.labels), len(evaluation.layers)
    yield (
        "layer_name",
        np.array(evaluation.layers, dtype="U"),
        ("layer",),
        "1",
        "path of the layer in the network",
    )
    for name, values, long_name in (
        ("labels", evaluation.labels, "right classes"),
        ("float_predictions", evaluation.float_predictions, "classes predicted in float32"),
        (
            "int8_weight_predictions",
            evaluation.int8_weight_predictions,
            "classes predicted with int8 weights",
        ),
        (
            "int8_predictions",
            evaluation.int8_predictions,
            "classes predicted with int8 weights and inputs, exact products",
        ),
    ):
        yield name, values.astype(np.int64), ("image",), "class", long_name
    for name, per_condition, units, long_name in (
        ("correction", np.array([one.correction for one in conditions], "U"), "1", "correction"),
        ("age_s", np.array([one.age_s for one in conditions], float), "s", "age of the weights"),
        (
            "treatment",
            np.array([str(one.treatment) for one in conditions], "U"),
            "1",
            "what was done about the age",
        ),
        ("seconds", np.array([one.seconds for one in results], float), "s", "time it took"),
    ):
        yield name, per_condition, ("condition",), units, long_name
    predicted = np.array([result.predictions for result in results], np.int64)
    yield (
        "predictions",
        predicted.reshape(len(results), images),
        ("condition", "image"),
        "class",
        "predicted classes",
    )
    for name, per_layer, long_name in (
        (
            "layer_errors",
            [result.layer_errors for result in results],
            "relative L2 error of the layer's products",
        ),
        (
            "layer_saturation",
            [result.layer_saturation for result in results],
            "share of counts at the counter's end",
        ),
    ):
        values = np.array(per_layer, float).reshape(len(results), layers)
        yield name, values, ("condition", "layer"), "1", long_name
    folded = np.array([result.layer_folded for result in results], np.uint8)
    yield (
        "layer_folded",
        folded.reshape(len(results), layers),
        ("condition", "layer"),
        "1",
        "1 where the correction normalised the layer's outputs, too",
    )
    yield from _flaw_tables(evaluation)


def _flaw_tables(evaluation: Evaluation) -> Iterator[_Table]:
    if not evaluation.switched_off:
        return
    names = np.array(list(evaluation.switched_off), "U")
    yield "switched_off", names, ("flaw",), "1", "flaw that is switched off"
    yield (
        "switched_off_predictions",
        np.array(list(evaluation.switched_off.values()), np.int64),
        ("flaw", "image"),
        "class",
        "classes predicted by the chip with its NMPU without this flaw",
    )


def _read(file: h5py.File) -> Evaluation:
    corrections, treatments = (file[name].asstr()[:] for name in ("correction", "treatment"))
    results = tuple(
        ConditionResult(
            condition=Condition(
                correction=str(correction),
                age_s=float(file["age_s"][number]),
                treatment=Treatment(treatments[number]),
            ),
            predictions=file["predictions"][number],
            layer_errors=file["layer_errors"][number],
            layer_saturation=file["layer_saturation"][number],
            layer_folded=file["layer_folded"][number].astype(bool),
            seconds=float(file["seconds"][number]),
        )
        for number, correction in enumerate(corrections)
    )
    attributes = file.attrs
    return Evaluation(
        model=str(attributes["model"]),
        chip=str(attributes["chip"]),
        read_mode=str(attributes["read_mode"]),
        layers=tuple(map(str, file["layer_name"].asstr()[:])),
        labels=file["labels"][:],
        float_predictions=file["float_predictions"][:],
        int8_predictions=file["int8_predictions"][:],
        int8_weight_predictions=file["int8_weight_predictions"][:],
        results=results,
        seed=int(attributes["seed"]),
        identity=_texts(attributes, "identity"),
        software=_texts(attributes, "software"),
        notes=tuple(map(str, json.loads(attributes["notes"]))),
        switched_off=_read_flaws(file),
        format_version=int(attributes["format_version"]),
    )


def _texts(attributes: h5py.AttributeManager, name: str) -> dict[str, str]:
    found = json.loads(attributes[name])
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no JSON object")  # noqa: TRY004 - as all that is damaged
    return found


def _read_flaws(file: h5py.File) -> dict[str, npt.NDArray[np.int64]]:
    if "switched_off" not in file:
        return {}
    names = map(str, file["switched_off"].asstr()[:])
    return dict(zip(names, file["switched_off_predictions"][:], strict=True))
