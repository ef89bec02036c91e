"""Taking the readouts out of a damaged step file, and saying what proves them.

Weights, inputs and counts lie in one piece each, so what is left of a file that was cut short is
its first vectors. They are read by their place in the file, as HDF5 tells it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.check_sum import extended_crc
from hil_datasets.integrity.carve import attributes_of, carve_step
from hil_datasets.integrity.part_check import plain_dataset, read_state
from hil_datasets.step import hash_readouts
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.part import PartMark
from hil_datasets.step_files.reader import examine_step
from hil_datasets.step_files.schema import STEP_DATASET_BY_PATH

_CONDITIONS = ("conditions/setpoint", "conditions/at_start", "conditions/at_end")
_BLOCKS = ("timing/first_vector", "timing/began_s", "timing/ended_s")
_MOST_BLOCKS = 8
"""Wrong blocks that a message names."""
_NOTES = ("timing/crc32c", "timing/sequence", "timing/quality")
"""What format 1 does not say of blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a dataset lies in a file."""

    first_byte: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def whole_items(self, file_bytes: int) -> int:
        """Return how many items along the first axis are there."""
        item_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if item_bytes == 0:
            return 0
        return max(0, min(self.shape[0], (file_bytes - self.first_byte) // item_bytes))

    def read(self, path: Path, items: int) -> npt.NDArray[Any]:
        """Read the first items."""
        shape = (items, *self.shape[1:])
        count = int(np.prod(shape, dtype=np.int64))
        values = np.fromfile(path, self.dtype, count, offset=self.first_byte)
        return values.reshape(shape)


def salvage_readouts(
    path: Path,
    *,
    into: str,
    file_bytes: int,
    is_part: bool,
    raw_sha256: str | None,
    index: str = "",
    words: list[Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Store what is left of a step's readouts as ``.npy`` files; yield what they are.

    Parameters
    ----------
    path
        A copy of the file, its head mended.
    into
        Folder for ``weights.npy``, ``inputs.npy`` and ``raw.npy``.
    file_bytes
        How many bytes the file has.
    is_part
        Whether it is a step that was never finished.
    raw_sha256
        What the journal says is its content hash, if it does.
    index, words
        The index of the run, and the step as `words_of` writes it: they help where the root of
        the file is gone.
    """
    try:
        left = _find(path, is_part=is_part, index=index, words=words)
        arrays, total = _take(path, left.places, file_bytes, left.proven)
    except DAMAGE as error:
        yield {"lost": f"its readouts cannot be found: {error}"}
        return
    weights, inputs, raw = arrays["weights"], arrays["inputs"], arrays["raw"]
    vectors = len(raw)
    wanted = raw_sha256 or left.attributes.get("raw_sha256")
    proof = "crc" if is_part else "none"
    if vectors == total and wanted == hash_readouts(weights, inputs, raw):
        proof = "raw_sha256"
    if vectors == 0:
        yield {"lost": "none of its vectors is whole"}
        return
    if proof == "none" and vectors == total:
        message = "its readouts are all there and do not match raw_sha256: "
        yield {"lost": message + (_wrong_blocks(left.timing, raw) or "some are wrong")}
        return
    for name, array in arrays.items():
        np.save(Path(into) / f"{name}.npy", array)
    yield {
        "salvaged": {
            "attributes": left.attributes,
            "total": total,
            "proof": proof,
            "conditions": left.conditions,
            "timing": left.timing,
        }
    }


def _wrong_blocks(timing: Mapping[str, Sequence[float]], raw: npt.NDArray[Any]) -> str:
    """Name the vectors whose counts do not match their CRC-32C; nothing if that is not known."""
    firsts = [int(first) for first in timing.get("timing/first_vector", ())]
    sums = [int(each) for each in timing.get("timing/crc32c", ())]
    spans = list(pairwise([*firsts, len(raw)]))
    if not sums or len(sums) != len(spans) or firsts != sorted(set(firsts)):
        return ""
    wrong = [
        f"{first} to {stop - 1}"
        for (first, stop), wanted in zip(spans, sums, strict=True)
        if extended_crc(0, raw[first:stop].astype("<u2", copy=False)) != wanted
    ]
    if not wrong:
        return "every block of counts is whole, so weights or inputs are wrong"
    more = f", and {len(wrong) - _MOST_BLOCKS} more blocks" if len(wrong) > _MOST_BLOCKS else ""
    return f"vectors {', '.join(wrong[:_MOST_BLOCKS])}{more} do not match their CRC-32C"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """What is known of a damaged file."""

    attributes: dict[str, Any]
    places: dict[str, _Place]
    conditions: dict[str, list[float]]
    timing: dict[str, list[float]]
    proven: int | None = None
    """How many vectors of a part are proven; None for a finished step."""


def _find(path: Path, *, is_part: bool, index: str, words: list[Any] | None) -> _Left:
    """Find the readouts of a file by its root, or by the index of its run."""
    try:
        found = examine_step(path, reads_arrays=False)
        attributes = dict(found.attributes)
        if not is_part and index and words is not None and "core" not in attributes:
            attributes = attributes_of(Path(index), words)
        with h5py.File(path, "r") as file:
            return _Left(
                attributes=attributes,
                places={name: _place(file, name) for name in ("weights", "inputs", "raw")},
                conditions={} if is_part else _lists(file, _CONDITIONS),
                timing=_lists(file, _BLOCKS) | _lists(file, _NOTES),
                proven=read_state(file, PartMark.read(path)).proven if is_part else None,
            )
    except DAMAGE:
        if is_part or not index or words is None:
            raise
        try:
            carved = carve_step(path, Path(index), words)
        except DAMAGE:
            pass  # what HDF5 has said says more
        else:
            places = {
                name: _Place(
                    first_byte=first_byte,
                    shape=shape,
                    dtype=np.dtype(STEP_DATASET_BY_PATH[name].dtype),
                )
                for name, (first_byte, shape) in carved.places.items()
            }
            return _Left(attributes=carved.attributes, places=places, conditions={}, timing={})
        raise


def _take(
    path: Path, places: dict[str, _Place], file_bytes: int, most: int | None
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Return the whole arrays of the first vectors, and how many vectors there should be."""
    weights, inputs, raw = (places[name] for name in ("weights", "inputs", "raw"))
    if weights.shape[0] != inputs.shape[1] or weights.shape[1] != raw.shape[2]:
        raise ValueError("weights, inputs and raw do not fit each other")
    if inputs.shape[0] != raw.shape[0] or raw.shape[1] != 2:
        raise ValueError("inputs and raw do not fit each other")
    if weights.whole_items(file_bytes) != weights.shape[0]:
        raise ValueError("the weights are cut short")
    vectors = min(inputs.whole_items(file_bytes), raw.whole_items(file_bytes))
    vectors = vectors if most is None else min(vectors, most)
    return {
        "weights": weights.read(path, weights.shape[0]),
        "inputs": inputs.read(path, vectors),
        "raw": raw.read(path, vectors),
    }, raw.shape[0]


def _place(file: h5py.File, name: str) -> _Place:
    dataset, spec = plain_dataset(file, name), STEP_DATASET_BY_PATH[name]
    if dataset.dtype != np.dtype(spec.dtype) or dataset.ndim != len(spec.axes):
        raise ValueError(
            f"{name} is {dataset.dtype} with {dataset.ndim} axes: must be {spec.dtype}"
        )
    first_byte = dataset.id.get_offset()
    if first_byte is None:
        raise ValueError(f"{name} has no place in the file")
    return _Place(first_byte=first_byte, shape=dataset.shape, dtype=dataset.dtype)


def _lists(file: h5py.File, paths: Sequence[str]) -> dict[str, list[float]]:
    """Return the numbers of some datasets; nothing if any cannot be read."""
    try:
        return {path: plain_dataset(file, path)[...].tolist() for path in paths}
    except DAMAGE:
        return {}
