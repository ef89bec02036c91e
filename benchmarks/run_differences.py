"""What differs between two runs that shall be the same but for their times."""

from pathlib import Path
from typing import Any

import h5py

_CHANGES = frozenset({"measured_utc", "software", "host", "timing"})
"""What differs between any two runs."""


def differences(run: Path, reference: Path) -> list[str]:
    """Return what differs in the steps and the index of two runs, times left out."""
    names = sorted(path.name for path in reference.glob("steps/*.h5"))
    if names != sorted(path.name for path in run.glob("steps/*")):
        return [f"{run.name} has other steps than {reference.name}"]
    found = []
    for name in [*(f"steps/{name}" for name in names), "campaign.h5"]:
        mine, other = _content(run / name), _content(reference / name)
        found += [
            f"{run.name}/{name}: {key} differs"
            for key in sorted(mine.keys() | other.keys())
            if mine.get(key) != other.get(key)
        ]
    return found


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if name.split("/", maxsplit=1)[0] in _CHANGES:
            return
        if isinstance(item, h5py.Dataset):
            content[name] = (str(item.dtype), item.shape, item[...].tobytes())
        for key, value in item.attrs.items():
            # Axes are named by objects, whose values are places in the file.
            if key not in _CHANGES and key != "DIMENSION_LABELS":
                content[f"{name}.{key}"] = repr(value)

    with h5py.File(path, "r") as file:
        visit("", file)
        file.visititems(visit)
        if "read_mode" in content:
            content["read_mode"] = [name.decode() for name in file["read_mode"][...]]
    return content
