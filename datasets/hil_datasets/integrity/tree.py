"""What an HDF5 file holds, as names, shapes, types and units: bounded, and following no link."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from hil_datasets.step_files.damage import DAMAGE

_MOST_OBJECTS = 2000
_MOST_ATTRIBUTES = 100
_DEEPEST = 32
_LONGEST_NAME = 200


def walk_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a line for each object: its path, what it is, its shape, type, unit and attributes.

    A loop of links is gone round once. At most 2,000 objects and 32 levels are shown.
    """
    try:
        with h5py.File(path, "r") as file:
            walk = _Walk()
            yield {"path": "/", "what": "group", "attributes": _names_of(file)}
            yield from walk.members(file, "", 1)
            if walk.is_cut:
                yield {"note": f"more than {_MOST_OBJECTS} objects or {_DEEPEST} levels: cut here"}
    except DAMAGE as error:
        yield {"error": f"cannot be read as HDF5: {error}"}


class _Walk:
    def __init__(self) -> None:
        self.is_cut = False
        self._shown = 0
        self._seen: set[tuple[int, ...]] = set()

    def members(self, group: h5py.Group, above: str, depth: int) -> Iterator[dict[str, Any]]:
        if depth > _DEEPEST:
            self.is_cut = True
            return
        for name in group:
            if self._shown >= _MOST_OBJECTS:
                self.is_cut = True
                return
            self._shown += 1
            yield from self._member(group, name, f"{above}/{name[:_LONGEST_NAME]}", depth)

    def _member(
        self, group: h5py.Group, name: str, path: str, depth: int
    ) -> Iterator[dict[str, Any]]:
        try:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                target = f"{getattr(link, 'filename', '')} {getattr(link, 'path', '')}".strip()
                yield {"path": path, "what": "link", "target": target[:_LONGEST_NAME]}
                return
            found = group[name]
            if isinstance(found, h5py.Dataset):
                yield {"path": path, **_dataset(found)}
                return
            attributes = _names_of(found)
            yield {"path": path, "what": "group", "attributes": attributes}
            info = h5py.h5o.get_info(found.id)
            place = (info.fileno, info.addr)
        except DAMAGE as error:
            yield {"path": path, "what": "damaged", "error": str(error)[:_LONGEST_NAME]}
            return
        if isinstance(found, h5py.Group) and place not in self._seen:
            self._seen.add(place)
            yield from self.members(found, path, depth + 1)


def _dataset(dataset: h5py.Dataset) -> dict[str, Any]:
    said: dict[str, Any] = {
        "what": "virtual dataset" if dataset.is_virtual else "dataset",
        "shape": list(dataset.shape or ()),
        "dtype": str(dataset.dtype)[:_LONGEST_NAME],
        "axes": [dimension.label[:_LONGEST_NAME] for dimension in dataset.dims],
        "unit": "",
    }
    if dataset.external:
        said["what"] = "dataset in other files"
    if "units" in dataset.attrs:
        stored = dataset.attrs.get_id("units")
        if stored.shape == () and h5py.check_string_dtype(stored.dtype) is not None:
            said["unit"] = str(dataset.attrs["units"])[:_LONGEST_NAME]
    return said


def _names_of(owner: Any) -> list[str]:
    names: list[str] = []
    for name in owner.attrs:
        if len(names) >= _MOST_ATTRIBUTES:
            return [*names, "..."]
        names.append(str(name)[:_LONGEST_NAME])
    return names
