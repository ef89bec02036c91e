"""What differs between two runs that shall be the same but for their times."""

from pathlib import Path
from typing import Any

import h5py

_CHANGES = frozenset({"measured_utc", "software", "host", "timing", "commit"})
"""What differs between any two runs."""
_CHANGEABLE = frozenset({"provenance.campaign", "provenance.resolved_sha256"})
"""What differs where a campaign may be paced otherwise, or reach its chip by another way."""
_TIMES = frozenset({"entry/start_time", "entry/end_time"})
# Axes are named by objects, whose values are places in the file.
_PLACES = frozenset({"DIMENSION_LABELS", "DIMENSION_LIST", "REFERENCE_LIST"})


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
            if key not in _CHANGEABLE and mine.get(key) != other.get(key)
        ]
    return found


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if name.split("/", maxsplit=1)[0] in _CHANGES or name in _TIMES:
            return
        if isinstance(item, h5py.Dataset):
            content[name] = (str(item.dtype), item.shape, _values(item))
        for key, value in item.attrs.items():
            if key not in _CHANGES | _PLACES:
                content[f"{name}.{key}"] = repr(value)

    with h5py.File(path, "r") as file:
        visit("", file)
        file.visititems(visit)
    return content


def _values(dataset: h5py.Dataset) -> Any:
    """Return what can be compared: of text not where it lies in memory."""
    values = dataset[...]
    return values.tolist() if values.dtype.kind == "O" else values.tobytes()
