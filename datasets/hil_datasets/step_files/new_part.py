"""Making the file of a step that begins, without any vectors yet."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.circumstance import circumstance_to_attributes
from hil_datasets.durable import MAKING_SUFFIX, PART_SUFFIX, reserve_room, sync_file
from hil_datasets.provenance import provenance_to_attributes
from hil_datasets.step import StepKey, StepOrigin
from hil_datasets.step_files.block_notes import BLOCK_DATASETS
from hil_datasets.step_files.file import (
    LARGE_BYTES,
    create_dataset,
    write_attributes,
    written_hdf5,
)
from hil_datasets.step_files.part import PartMark, StepLayout
from hil_datasets.step_files.schema import FILE_FORMAT, FORMAT_VERSION


def make_part(
    path: Path,
    *,
    key: StepKey,
    origin: StepOrigin,
    weights: npt.NDArray[np.int8],
    layout: StepLayout | None,
    began: tuple[str, float],
) -> None:
    """Make a part without vectors, under another name first: half of one does not open.

    Parameters
    ----------
    path
        Final name of the step's file.
    key, origin, weights, layout, began
        As in `StepWriter`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    making = path.with_name(path.name + MAKING_SUFFIX)
    vectors, (rows, columns) = (
        origin.calibration_vectors + origin.verification_vectors,
        weights.shape,
    )
    attributes = {
        "file_format": FILE_FORMAT,
        "format_version": FORMAT_VERSION,
        "core": key.core,
        "read_mode": str(key.read_mode),
    }
    with written_hdf5(making, mode="w") as file:
        write_attributes(file, attributes | origin_attributes(origin))
        create_dataset(file, "weights", weights.shape, weights)
    # A gap in front of large values would take in small ones that follow: `carve` wants an order.
    is_aligned = vectors * min(rows, 2 * columns) >= LARGE_BYTES
    with written_hdf5(making, mode="r+", is_aligned=is_aligned) as file:
        create_dataset(file, "inputs", (vectors, rows))
        create_dataset(file, "raw", (vectors, 2, columns))
        create_dataset(file, "expected", (vectors, columns))
        if layout is not None:
            _prepare_blocks(file, layout, began)
            if layout.keeps_outputs:
                shape = (origin.verification_vectors, columns)
                create_dataset(file, "verification/outputs", shape)
    mark = PartMark(config_sha256="" if layout is None else layout.config_sha256)
    with making.open("r+b") as made:
        reserve_room(made.fileno())
        made.write(mark.to_bytes())
    sync_file(making)
    making.replace(part)
    sync_file(part.parent)


def _prepare_blocks(file: h5py.File, layout: StepLayout, began: tuple[str, float]) -> None:
    first_vector = np.array(layout.blocks, np.int64)
    create_dataset(file, "timing/first_vector", first_vector.shape, first_vector)
    for name in BLOCK_DATASETS:
        create_dataset(file, name, first_vector.shape)
    names = ("timing/began_utc", "timing/since_run_began_s")
    write_attributes(file, dict(zip(names, began, strict=True)))


def check_circumstance(key: StepKey, origin: StepOrigin) -> None:
    """Raise ValueError if key and origin name different kinds or visits."""
    circumstance = origin.circumstance
    if (key.kind, key.visit) != (circumstance.kind, circumstance.visit):
        raise ValueError(
            f"{key.name}: its origin is of visit {circumstance.visit}, {circumstance.kind}"
        )


def origin_attributes(origin: StepOrigin) -> dict[str, Any]:
    """Return the attributes of a step file that say where its data come from, by their paths."""
    # Its own attributes besides, which have paths; what has none is not stored.
    return (
        asdict(origin)
        | circumstance_to_attributes(origin.circumstance)
        | provenance_to_attributes(origin.provenance)
    )
