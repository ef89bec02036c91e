"""Finding readouts in a file whose root HDF5 cannot read any more, because its end is gone.

What a step file was concluded to lies at its end, and so does what its root group says of it. The
headers of weights, inputs and counts lie in front of them, and the index of the run has a copy of
the attributes and sizes. A header's layout message names the place of the values.

References
----------
HDF5 File Format Specification 3.0, section IV.A.2.i "The Data Layout Message", version 3, layout
class 1 (contiguous): version, class, address, size.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hil_datasets.index import group_of
from hil_datasets.integrity.index_check import key_of
from hil_datasets.step_files.schema import STEP_ATTRIBUTES, STEP_DATASET_BY_PATH

_DATATYPES = {
    "int8": bytes.fromhex("10080000 01000000 0000 0800"),
    "uint16": bytes.fromhex("10000000 02000000 0000 1000"),
    "int32": bytes.fromhex("10080000 04000000 0000 2000"),
}
"""The datatype messages of readouts (the same, section IV.A.2.d): class, sign, size, precision."""
_HEADER_BYTES = 256
"""How far in front of its layout a dataset's datatype is looked for."""
_SEARCHED_BYTES = 64 << 20
_USER_BLOCK_BYTES = 512
_CONTIGUOUS = b"\x03\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvedStep:
    """Where the readouts of a step lie, found without its root group."""

    attributes: dict[str, Any]
    """Its attributes by their paths, as the index has them."""
    places: dict[str, tuple[int, tuple[int, ...]]]
    """First byte and shape of each dataset."""


def carve_step(path: Path, index: Path, words: Sequence[Any]) -> CarvedStep:
    """Find the readouts of a step by the index of its run.

    Raises
    ------
    ValueError, OSError, LookupError, RuntimeError
        If the index does not have the step, or a header cannot be found.
    """
    with h5py.File(index, "r") as file:
        group = file[group_of(key_of(words))]
        attributes = _attributes(group)
        shapes = {name: group[name].shape for name in ("weights", "inputs", "raw")}
    with path.open("rb") as stream:
        head = stream.read(_SEARCHED_BYTES)
    places = {
        name: (_address(head, name, _bytes_of(name, shape)), shape)
        for name, shape in shapes.items()
    }
    first_bytes = [first_byte for first_byte, _ in places.values()]
    if first_bytes != sorted(set(first_bytes)):
        raise ValueError("weights, inputs and counts do not lie in the order they are written in")
    return CarvedStep(attributes=attributes, places=places)


def attributes_of(index: Path, words: Sequence[Any]) -> dict[str, Any]:
    """Return the attributes of a step as the index of its run has them; raises as `carve_step`."""
    with h5py.File(index, "r") as file:
        return _attributes(file[group_of(key_of(words))])


def _attributes(group: h5py.Group) -> dict[str, Any]:
    """Return the attributes of the file and its circumstance that an index repeats."""
    values: dict[str, Any] = {}
    for spec in STEP_ATTRIBUTES:
        owner = spec.owner.strip("/")
        if owner in {"", "circumstance"} and spec.name in group.attrs:
            stored = group.attrs.get_id(spec.name)
            if stored.shape == () and stored.dtype.itemsize <= 16:
                value = group.attrs[spec.name]
                values[spec.path] = value.item() if isinstance(value, np.generic) else str(value)
    return values


def _bytes_of(name: str, shape: tuple[int, ...]) -> int:
    itemsize = np.dtype(STEP_DATASET_BY_PATH[name].dtype).itemsize
    return int(np.prod(shape, dtype=np.int64)) * itemsize


def _address(head: bytes, name: str, size_bytes: int) -> int:
    """Return where the values of so many bytes lie: the first header that says so, as written."""
    wanted = struct.pack("<Q", size_bytes)
    at = head.find(wanted)
    while at >= 0:
        is_layout = at >= 10 and head[at - 10 : at - 8] == _CONTIGUOUS
        if is_layout and _type_before(head, at) == STEP_DATASET_BY_PATH[name].dtype:
            (address,) = struct.unpack("<Q", head[at - 8 : at])
            return int(address) + _USER_BLOCK_BYTES
        at = head.find(wanted, at + 1)
    raise ValueError(f"no header says where {name} lies")


def _type_before(head: bytes, at: int) -> str:
    """Return the type of the dataset whose layout message is there; empty if it is another."""
    places = {
        head.rfind(message, max(0, at - _HEADER_BYTES), at): name
        for name, message in _DATATYPES.items()
    }
    places.pop(-1, None)
    return places[max(places)] if places else ""
