"""Whether stored results are of the network and the images that are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.inference.findings.core_tables import LONG_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSizes:
    """How many there are of what results are of."""

    images: int
    """Images that are judged."""
    classes: int
    """Logits of the network."""
    layers: int
    """Layers on the chip."""


def checked_classes(
    values: npt.NDArray[Any], name: str, sizes: ResultSizes | None
) -> npt.NDArray[np.int64]:
    """Return predicted classes, shape (image,), 0 <= class.

    Raises
    ------
    ValueError
        If they are none, or not of so many images or classes; sizes that nobody knows are not
        compared.
    """
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} are {values.dtype}, must be integers")
    _check_length(values, name, None if sizes is None else sizes.images, "images")
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if lowest < 0 or (sizes is not None and highest >= sizes.classes):
        most = "" if sizes is None else f" to {sizes.classes - 1}"
        raise ValueError(f"{name} are {lowest} to {highest}, must be 0{most}")
    return values.astype(np.int64)


def checked_shares(
    values: npt.NDArray[Any], name: str, sizes: ResultSizes | None, *, largest: float = np.inf
) -> npt.NDArray[np.float64]:
    """Return numbers of layers, shape (layer,), from 0 to `largest` or NaN; raise as above."""
    if values.dtype.kind != "f":
        raise ValueError(f"{name} is {values.dtype}, must be float64")
    _check_length(values, name, None if sizes is None else sizes.layers, "layers")
    if (values < 0).any() or (values > largest).any():  # no comparison with NaN is true
        raise ValueError(f"{name} is {np.nanmin(values):g} to {np.nanmax(values):g}")
    return values.astype(np.float64)


def checked_flags(
    values: npt.NDArray[Any], name: str, sizes: ResultSizes | None
) -> npt.NDArray[np.bool_]:
    """Return truth values of layers, shape (layer,); raise as above."""
    if values.dtype.kind != "b":
        raise ValueError(f"{name} is {values.dtype}, must be bool")
    _check_length(values, name, None if sizes is None else sizes.layers, "layers")
    return values.astype(np.bool_)


def checked_seconds(values: npt.NDArray[Any]) -> float:
    """Return how long something took; raise as above."""
    seconds = float(values)
    if not 0 <= seconds < np.inf:
        raise ValueError(f"seconds is {seconds}")
    return seconds


def check_tables(tables: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError unless these are tables of calibrated cores."""
    absent = LONG_NAMES.keys() - tables.keys()
    if absent:
        raise ValueError(f"holds no {min(absent)}")
    cores, shape = len(tables["core"]), tables["is_used"].shape
    for name, values in tables.items():
        if name not in LONG_NAMES or values.shape not in ((cores,), shape):
            raise ValueError(f"{name} has shape {values.shape}, must be (core,) or (core, column)")


def _check_length(values: npt.NDArray[Any], name: str, length: int | None, what: str) -> None:
    if values.ndim != 1 or length not in (None, len(values)):
        wanted = f"({what},)" if length is None else f"({length},)"
        raise ValueError(f"{name} has shape {values.shape}, must be {wanted}: one for each of the "
                         f"{what}")  # fmt: skip
