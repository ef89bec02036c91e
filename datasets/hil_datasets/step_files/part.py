"""A step file under construction: how much of it is there, and may be gone on with.

The first 512 bytes of ``STEP.h5.part``, which will hold the seal, say meanwhile how many vectors
are stored, with a check sum over them: once of all that was written, once of what is known to be on
the disk. After the death of a process the first holds, after a power failure at least the second.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.check_sum import extended_crc
from hil_datasets.circumstance import (
    Circumstance,
    CorrectionSource,
    circumstance_from_attributes,
)
from hil_datasets.regular_file import check_regular
from hil_datasets.seal import SEAL_BYTES
from hil_datasets.step import StepKey
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.placement import PlacedRows, Placement
from hil_datasets.step_files.schema import STEP_DATASET_BY_PATH

_FORM = "hil-part"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLayout:
    """How the vectors of a step are measured: what a part has to have been made for."""

    blocks: tuple[int, ...]
    """First vector of each block, from 0."""
    keeps_outputs: bool
    """Whether the NMPU's outputs for held-out vectors are stored with their counts."""
    config_sha256: str
    """Hash of the configuration that decides the registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStep:
    """The step that a part has to be of."""

    key: StepKey
    """Which one."""
    chip: ChipIdentity
    """Of which chip."""
    weights: npt.NDArray[np.int8]
    """What the core holds, shape (row, column)."""
    inputs: npt.NDArray[np.int8]
    """What it is asked, shape (vector, row)."""
    calibration_vectors: int
    """How many of the vectors, from the first, are not held out."""
    layout: StepLayout
    """How they are measured."""
    correction_of: CorrectionSource | None = None
    """Whose correction it carries; None if it makes its own."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The first vectors of a part."""

    vectors: int = 0
    """How many."""
    crc: int = 0
    """CRC-32C of all that was stored of them, block by block."""

    def extended(self, vectors: int, arrays: Sequence[npt.NDArray[Any]]) -> "Extent":
        """Return the extent with another block."""
        crc = self.crc
        for array in arrays:
            crc = extended_crc(crc, array)
        return Extent(self.vectors + vectors, crc)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMark:
    """What the head of a part says."""

    config_sha256: str
    """Hash of the configuration that it was measured with."""
    written: Extent = Extent()
    """What was handed to the operating system."""
    synced: Extent = Extent()
    """What is on the disk."""

    def to_bytes(self) -> bytes:
        """Return the head."""
        # Once a block: `asdict` and `json.dumps` would take as long as its check sum.
        written, synced = (
            f'{{"vectors": {extent.vectors}, "crc": {extent.crc}}}'
            for extent in (self.written, self.synced)
        )
        line = (
            f'{{"form": "{_FORM}", "config_sha256": {_quoted(self.config_sha256)}, '
            f'"written": {written}, "synced": {synced}}}\n'
        )
        return line.encode().ljust(SEAL_BYTES, b"\0")

    @classmethod
    def read(cls, path: Path) -> "PartMark":
        """Read the head of a part.

        Raises
        ------
        ValueError, OSError
            If there is none.
        """
        with path.open("rb") as file:
            return cls.of_bytes(file.read(SEAL_BYTES))

    @classmethod
    def of_bytes(cls, head: bytes) -> "PartMark":
        """Return what a head says.

        Raises
        ------
        ValueError, TypeError, LookupError
            If it is none.
        """
        content = json.loads(head.rstrip(b"\0").decode())
        if not isinstance(content, dict) or content.get("form") != _FORM:
            raise ValueError("is no head of a part")
        return cls(
            config_sha256=content["config_sha256"],
            written=Extent(**content["written"]),
            synced=Extent(**content["synced"]),
        )


@lru_cache(maxsize=4)
def _quoted(text: str) -> str:
    return json.dumps(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPart:
    """What a part holds that can be gone on with."""

    extent: Extent
    """The vectors that are whole."""
    measured_utc: str
    """When the step began."""
    temperature_c: float
    """Chip temperature then."""
    began_utc: str
    """When the step began, to the microsecond."""
    since_run_began_s: float
    """When that was since the run began."""
    times: tuple[tuple[int, float, float], ...]
    """First vector, begin and end of each whole block, seconds since the step began."""
    age_s: float = math.nan
    """Seconds since the core was programmed, when the step began; NaN if that is not known."""
    readouts: int = 0
    """How many readouts of blocks it took, as far as that is known."""


def read_part(path: Path, wanted: WantedStep) -> StepPart | None:
    """Return what can be gone on with of a part; None if that is nothing.

    A part is of use if it is of the same step of the same chip with the same weights, vectors and
    blocks, and its check sum fits. Of one that was measured with another configuration only the
    calibration vectors are: the NMPU's registers follow from it.
    """
    try:
        check_regular(path)
        mark = PartMark.read(path)
        with h5py.File(path, "r") as file:
            if not _is_of(file, wanted):
                return None
            extent = _whole_extent(file, mark, wanted)
            if mark.config_sha256 != wanted.layout.config_sha256:
                most = min(extent.vectors, wanted.calibration_vectors)
                extent = _added_up(file, wanted, most)
            return _part(file, extent, wanted.layout) if extent.vectors else None
    except DAMAGE:
        return None


def key_of_part(file: h5py.File) -> StepKey:
    """Return the step that a part is of; raises whatever h5py does if it does not say so."""
    circumstance = _circumstance(file)
    return StepKey(
        int(file.attrs["core"]),
        ReadMode(file.attrs["read_mode"]),
        visit=circumstance.visit,
        kind=circumstance.kind,
    )


def block_spans(layout: StepLayout, vectors: int) -> list[tuple[int, int]]:
    """Return first vector and end of each block of so many vectors."""
    return list(pairwise((*layout.blocks, vectors)))


def placed_rows(part: Path, descriptor: int) -> dict[str, PlacedRows]:
    """Return where a part keeps its values: HDF5 is not asked again before the step is finished."""
    with h5py.File(part, "r") as file:
        return {
            path: PlacedRows(Placement.of(file[path]), descriptor)
            for path in STEP_DATASET_BY_PATH
            if path in file
        }


def stored_arrays(
    file: h5py.File | Mapping[str, PlacedRows], span: slice, held_out: slice | None
) -> list[npt.NDArray[Any]]:
    """Return all that is stored of some vectors, in the order of the check sum."""
    arrays = [file[name][span] for name in ("inputs", "raw", "expected")]
    if held_out is not None:
        arrays.append(file["verification/outputs"][held_out])
    return arrays


def held_out_span(first: int, stop: int, calibration_vectors: int, *, keeps: bool) -> slice | None:
    """Return where the outputs of a block are, if it has any."""
    if not keeps or first < calibration_vectors:
        return None
    return slice(first - calibration_vectors, stop - calibration_vectors)


def _is_of(file: h5py.File, wanted: WantedStep) -> bool:
    attributes, inputs, weights = file.attrs, wanted.inputs, wanted.weights
    return (
        key_of_part(file) == wanted.key
        and _circumstance(file).correction_of == wanted.correction_of
        and json.loads(attributes["chip"]) == asdict(wanted.chip)
        and int(attributes["calibration_vectors"]) == wanted.calibration_vectors
        and file["inputs"].shape == inputs.shape
        and file["raw"].shape == (len(inputs), 2, weights.shape[1])
        and ("verification/outputs" in file) == wanted.layout.keeps_outputs
        and np.array_equal(file["timing/first_vector"][...], wanted.layout.blocks)
        and np.array_equal(file["weights"][...], weights)
    )


def _circumstance(file: h5py.File) -> Circumstance:
    stored = file["circumstance"].attrs.items() if "circumstance" in file else ()
    return circumstance_from_attributes({f"circumstance/{name}": value for name, value in stored})


def _whole_extent(file: h5py.File, mark: PartMark, wanted: WantedStep) -> Extent:
    """Return the larger of the two extents that fits its check sum, of the wanted vectors."""
    claimed = {mark.synced.vectors: mark.synced, mark.written.vectors: mark.written}
    found = Extent()
    for extent, has_wanted_inputs in _extents(file, wanted, max(claimed)):
        if not has_wanted_inputs:
            break
        if claimed.get(extent.vectors) == extent:
            found = extent
    return found


def _added_up(file: h5py.File, wanted: WantedStep, most: int) -> Extent:
    *_, (extent, _) = ((Extent(), True), *_extents(file, wanted, most))
    return extent


def _extents(file: h5py.File, wanted: WantedStep, most: int) -> Iterator[tuple[Extent, bool]]:
    """Yield the extent after each block that ends at `most` or before, and if it has its inputs."""
    extent, keeps = Extent(), wanted.layout.keeps_outputs
    for first, stop in block_spans(wanted.layout, len(wanted.inputs)):
        if stop > most:
            return
        held_out = held_out_span(first, stop, wanted.calibration_vectors, keeps=keeps)
        arrays = stored_arrays(file, slice(first, stop), held_out)
        extent = extent.extended(stop - first, arrays)
        yield extent, np.array_equal(arrays[0], wanted.inputs[first:stop])


def _part(file: h5py.File, extent: Extent, layout: StepLayout) -> StepPart:
    timing = file["timing"]
    blocks = sum(1 for first in layout.blocks if first < extent.vectors)
    began_s, ended_s = timing["began_s"][:blocks].tolist(), timing["ended_s"][:blocks].tolist()
    # Older software has not counted.
    last_sequence = int(timing["sequence"][blocks - 1]) if "sequence" in timing else -1
    return StepPart(
        extent=extent,
        measured_utc=str(file.attrs["measured_utc"]),
        temperature_c=float(file.attrs["temperature_c"]),
        began_utc=str(timing.attrs["began_utc"]),
        since_run_began_s=float(timing.attrs["since_run_began_s"]),
        times=tuple(zip(layout.blocks[:blocks], began_s, ended_s, strict=True)),
        readouts=max(blocks, last_sequence + 1),
        age_s=_circumstance(file).age_s,
    )
