"""Steps and runs as xarray datasets: named axes, units, coordinates. xarray is an extra."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.core.extras import load_extra
from hil.core.readout import ReadMode
from hil_datasets.content_id import set_id
from hil_datasets.run_source import Readouts, StepFacts
from hil_datasets.step_files.concluded import concluded_arrays
from hil_datasets.step_files.schema import (
    CORRECTION_AXIS,
    CORRECTION_NAMES,
    RAW_DATASETS,
    STEP_DATASET_BY_PATH,
    DatasetSpec,
)

if TYPE_CHECKING:
    import xarray

_POLARITIES = ("P", "N")
_Tile = tuple[int, ReadMode]


def step_dataset(facts: StepFacts, readouts: Readouts | None) -> "xarray.Dataset":
    """Return a step as a dataset.

    Variables have the names of the step file's datasets with ``_`` for ``/``:
    ``correction_a_p``. Readouts stay where they are until they are used.

    Parameters
    ----------
    facts
        What is known of the step.
    readouts
        What was sent and read; None to leave it out.
    """
    library = _xarray()
    arrays = dict(concluded_arrays(facts.conclusion))
    if readouts is not None:
        arrays |= {name: getattr(readouts, name) for name in RAW_DATASETS}
    variables = {
        _variable_name(path): _variable(STEP_DATASET_BY_PATH[path], array)
        for path, array in arrays.items()
    }
    dataset = library.Dataset(variables, attrs=_step_attributes(facts))
    coordinates = _coordinates(dataset.sizes)
    if "verification_vector" in dataset.sizes:
        held_out = np.arange(dataset.sizes["verification_vector"])
        coordinates["verification_vector"] = facts.origin.calibration_vectors + held_out
    labelled: xarray.Dataset = dataset.assign_coords(coordinates)
    return labelled


def run_dataset(facts: Iterable[StepFacts], read_modes: Sequence[ReadMode]) -> "xarray.Dataset":
    """Return calibrations as tables over core, read mode and column; NaN or 0 where there is none.

    Parameters
    ----------
    facts
        At most one calibration of each core and read mode, of one chip.
    read_modes
        The places along ``read_mode``.
    """
    library = _xarray()
    by_tile = {(each.key.core, each.key.read_mode): each for each in facts}
    cores = sorted({core for core, _ in by_tile})
    tables: dict[str, npt.NDArray[Any]] = {}
    for (core, read_mode), each in by_tile.items():
        place = (cores.index(core), read_modes.index(read_mode))
        for path, array in _tile_arrays(each).items():
            table = tables.setdefault(path, _empty(path, (len(cores), len(read_modes)), array))
            table[place] = array
    variables = {
        _variable_name(path): (
            ("core", "read_mode", *STEP_DATASET_BY_PATH[path].axes),
            table,
            _attributes(STEP_DATASET_BY_PATH[path]),
        )
        for path, table in tables.items()
    }
    lsb = np.full((len(cores), len(read_modes)), np.nan)
    for (core, read_mode), each in by_tile.items():
        lsb[cores.index(core), read_modes.index(read_mode)] = each.conclusion.output_lsb
    variables["output_lsb"] = (
        ("core", "read_mode"),
        lsb,
        {"units": "product / output LSB", "long_name": "size of an output code"},
    )
    first = next(iter(by_tile.values()))
    for name, values in _ids(by_tile).items():
        table = np.full((len(cores), len(read_modes)), "", dtype=object)
        for (core, read_mode), value in values.items():
            table[cores.index(core), read_modes.index(read_mode)] = value
        variables[name] = (("core", "read_mode"), table, {"long_name": _ID_NAMES[name]})
    dataset = library.Dataset(variables, attrs=_run_attributes(by_tile, first))
    coordinates = _coordinates(dataset.sizes)
    coordinates |= {"core": cores, "read_mode": [str(mode) for mode in read_modes]}
    labelled: xarray.Dataset = dataset.assign_coords(coordinates)
    return labelled


_ID_NAMES = {
    "raw_id": "content hash of the readouts",
    "correction_id": "content hash of the correction, a child of raw_id",
    "coefficients_id": "content hash of the register codes, a child of correction_id",
    "campaign_sha256": "SHA-256 of the campaign file",
    "step": "name of the step",
}


def _ids(by_tile: Mapping[_Tile, StepFacts]) -> dict[str, dict[_Tile, str]]:
    told: dict[str, dict[_Tile, str]] = {name: {} for name in _ID_NAMES}
    for tile, facts in by_tile.items():
        ids = {f"{name}_id": value for name, value in asdict(facts.ids).items()}
        ids |= {"campaign_sha256": facts.origin.campaign_sha256, "step": facts.key.name}
        for name, value in ids.items():
            told[name][tile] = value
    return told


def _run_attributes(by_tile: Mapping[_Tile, StepFacts], first: StepFacts) -> dict[str, Any]:
    ids = ((facts.key, facts.ids.coefficients) for facts in by_tile.values())
    return {
        "chip": str(first.origin.chip),
        "campaign_sha256": first.origin.campaign_sha256,
        "set_id": set_id(ids),
    }


def _tile_arrays(facts: StepFacts) -> dict[str, npt.NDArray[Any]]:
    return {
        path: array
        for path, array in concluded_arrays(facts.conclusion).items()
        if STEP_DATASET_BY_PATH[path].axes in {("column",), (CORRECTION_AXIS, "column")}
    }


def _empty(path: str, tiles: tuple[int, int], array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    unknown = np.nan if array.dtype.kind == "f" else 0
    return np.full((*tiles, *array.shape), unknown, STEP_DATASET_BY_PATH[path].dtype)


def _variable(spec: DatasetSpec, array: npt.NDArray[Any]) -> tuple[Any, ...]:
    return spec.axes, array, _attributes(spec)


def _attributes(spec: DatasetSpec) -> Mapping[str, str]:
    return {"units": spec.units, "long_name": spec.long_name}


def _variable_name(path: str) -> str:
    return path.replace("/", "_")


def _coordinates(sizes: Mapping[Any, int]) -> dict[str, Any]:
    named = {"polarity": list(_POLARITIES), CORRECTION_AXIS: list(CORRECTION_NAMES)}
    counted = {
        axis: np.arange(size) for axis, size in sizes.items() if axis in {"vector", "row", "column"}
    }
    return counted | {axis: names for axis, names in named.items() if axis in sizes}


def _step_attributes(facts: StepFacts) -> dict[str, Any]:
    origin, ids = facts.origin, facts.ids
    return {
        "title": origin.title,
        "core": facts.key.core,
        "read_mode": str(facts.key.read_mode),
        "visit": facts.key.visit,
        "kind": str(facts.key.kind),
        "chip": str(origin.chip),
        "measured_utc": origin.measured_utc,
        "temperature_c": origin.temperature_c,
        "calibration_vectors": origin.calibration_vectors,
        "verification_vectors": origin.verification_vectors,
        "output_lsb": facts.conclusion.output_lsb,
        "raw_sha256": facts.raw_sha256,
        "campaign_sha256": origin.campaign_sha256,
        **{f"{name}_id": value for name, value in asdict(ids).items()},
    }


def _xarray() -> Any:
    return load_extra("xarray", purpose="to_xarray", library="xarray", extra="xarray")
