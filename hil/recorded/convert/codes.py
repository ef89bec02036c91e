"""Stored numbers become whole codes, exactly or not at all."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.recorded.convert.mapping import Rule


class UnfitValueError(ValueError):
    """A number is no code.

    Parameters
    ----------
    at
        Place of the first one in its array.
    message
        What is wrong with it.
    count
        How many there are.
    """

    def __init__(self, at: tuple[int, ...], message: str, count: int) -> None:
        self.at = at
        self.message = message
        self.count = count
        super().__init__(message)

    def told(self, where: str) -> str:
        """Return the message with the name of the place, and how many more there are."""
        more = f"; {self.count - 1} more like it" if self.count > 1 else ""
        return f"{where}: {self.message}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRange:
    """Which codes something may have, and how they are stored."""

    lowest: int
    """Lowest code."""
    highest: int
    """Highest code."""
    scale: float = 1.0
    """Size of one code in what is stored."""
    offset: float = 0.0
    """What is stored where the code is 0."""

    @property
    def is_plain(self) -> bool:
        """Whether the codes are stored as they are."""
        return self.scale == 1 and self.offset == 0


def to_codes(
    stored: npt.NDArray[Any],
    codes: CodeRange,
    dtype: type[Any],
) -> npt.NDArray[Any]:
    """Return the codes that numbers stand for, of the given type.

    A stored number stands for the code c if it is the nearest number of its type to the decimal
    ``c * scale + offset``. Nothing is rounded besides.

    Raises
    ------
    UnfitValueError
        If one is not finite, stands for no whole code, or for one out of range.

    Examples
    --------
    >>> to_codes(np.array([0.0, 0.3]), CodeRange(lowest=0, highest=9, scale=0.1), np.uint16)
    array([0, 3], dtype=uint16)
    """
    values = (
        stored.astype(np.int64)
        if stored.dtype.kind == "u" and stored.dtype.itemsize < 8
        else stored
    )
    if values.dtype.kind == "f":
        _refuse(~np.isfinite(values), stored, "is no finite number")
    if codes.is_plain:
        _refuse(
            (values < codes.lowest) | (values > codes.highest),
            stored,
            f"must be {codes.lowest} to {codes.highest}",
        )
        found = values if values.dtype.kind in "iu" else np.rint(values).astype(np.int64)
        _refuse(found != values, stored, "is no whole number: give scale and offset if it is one")
        return found.astype(dtype)
    real = values.astype(np.float64)
    nearest = np.rint((real - codes.offset) / codes.scale)
    how = f"(scale {codes.scale:g}, offset {codes.offset:g})"
    _refuse(
        (nearest < codes.lowest) | (nearest > codes.highest),
        stored,
        f"is out of range {how}: its code must be {codes.lowest} to {codes.highest}",
    )
    _refuse(
        _stored_again(nearest, codes, values.dtype) != values, stored, f"is no whole code {how}"
    )
    return nearest.astype(dtype)


def _stored_again(
    nearest: npt.NDArray[np.float64], codes: CodeRange, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return how whole codes are stored, by exact arithmetic on the decimals of the mapping."""
    scale, offset = Fraction(repr(codes.scale)), Fraction(repr(codes.offset))
    different, places = np.unique(nearest, return_inverse=True)
    exact = [Fraction(int(code)) * scale + offset for code in different]
    if dtype.kind == "f":
        table = np.array([float(each) for each in exact]).astype(dtype)
    else:  # a fraction between two integers is stored as neither
        table = np.array([float(each) for each in exact])
    return table[places].reshape(nearest.shape)


def _refuse(is_wrong: npt.NDArray[np.bool_], stored: npt.NDArray[Any], what: str) -> None:
    if not is_wrong.any():
        return
    at = tuple(int(place) for place in np.unravel_index(int(np.argmax(is_wrong)), is_wrong.shape))
    message = f"is {stored[at]}: {what}" if what.startswith("must") else f"{stored[at]} {what}"
    raise UnfitValueError(at, message, int(is_wrong.sum()))


def split_difference(difference: npt.NDArray[np.int32], axis: int) -> npt.NDArray[np.uint16]:
    """Return P and N of signed differences, along a new axis.

    Examples
    --------
    >>> split_difference(np.array([3, -4], dtype=np.int32), 0).tolist()
    [[3, 0], [0, 4]]
    """
    pair = [np.maximum(difference, 0), np.maximum(-difference, 0)]
    return np.stack(pair, axis=axis).astype(np.uint16)


def to_pair(codes: npt.NDArray[np.int32], rule: Rule) -> npt.NDArray[np.uint16]:
    """Return counts (vector, polarity, column) of codes, by their rule.

    Parameters
    ----------
    codes
        Shape (vector, polarity, column) by the rule `pair`, (vector, column) by the others.
    rule
        The rule.
    """
    if rule is Rule.PAIR:
        return codes.astype(np.uint16)
    if rule is Rule.DIFFERENCE:
        return split_difference(codes, 1)
    return np.stack([codes, np.zeros_like(codes)], axis=1).astype(np.uint16)
