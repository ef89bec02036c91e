"""Arrays with axes in any order, cut into the arrays of single steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil.recorded.convert.mapping import Axis, Mapping
from hil.recorded.convert.mapping_check import KEY_AXES
from hil.recorded.convert.source_file import PartialKey

AnyArray = npt.NDArray[Any]


def cut_into_steps(
    array: AnyArray, axes: Sequence[Axis], inner: Sequence[Axis], says: Mapping
) -> dict[PartialKey, AnyArray]:
    """Return the parts of an array, one for each step that its axes tell apart.

    Parameters
    ----------
    array
        As it was stored.
    axes
        What each of its axes is.
    inner
        Axes of the parts, in the order they get.
    says
        Names the places along axes, and which are taken.

    Raises
    ------
    ValueError
        If the array does not have these axes; the message says what is wrong.
    """
    if array.ndim != len(axes):
        raise ValueError(
            f"has {array.ndim} axes, of shape {array.shape}: the mapping names {len(axes)}, "
            f"{', '.join(axes)}"
        )
    array, names = _combined(*_without_nothing(array, axes))
    keys = [axis for axis in KEY_AXES if axis in names]
    array = np.transpose(array, [names.index(axis) for axis in (*keys, *inner)])
    places = [_places(axis, length, says) for axis, length in zip(keys, array.shape, strict=False)]
    if Axis.POLARITY in inner:
        array = _positive_first(array, len(keys) + list(inner).index(Axis.POLARITY), says)
    parts: dict[PartialKey, AnyArray] = {}
    for at in np.ndindex(*(len(each) for each in places)):
        chosen = [each[place] for each, place in zip(places, at, strict=True)]
        key = PartialKey(**{axis.value: name for axis, (_, name) in zip(keys, chosen, strict=True)})
        parts[key] = array[tuple(place for place, _ in chosen)]
    return parts


def _without_nothing(array: AnyArray, axes: Sequence[Axis]) -> tuple[AnyArray, list[Axis]]:
    nothing = [place for place, axis in enumerate(axes) if axis is Axis.NOTHING]
    for place in nothing:
        if array.shape[place] != 1:
            raise ValueError(
                f"has {array.shape[place]} places along axis {place}, of shape {array.shape}: the "
                'mapping calls it "-", which must have one'
            )
    rest: list[Axis] = [axis for axis in axes if axis is not Axis.NOTHING]
    return array.squeeze(tuple(nothing)), rest


def _combined(array: AnyArray, axes: list[Axis]) -> tuple[AnyArray, list[Axis]]:
    """Make one axis of those with the same name: the first one is the slowest."""
    names = list(dict.fromkeys(axes))
    order = [place for name in names for place, axis in enumerate(axes) if axis is name]
    moved = np.transpose(array, order)
    shape = [
        int(np.prod([array.shape[place] for place, axis in enumerate(axes) if axis is name]))
        for name in names
    ]
    return moved.reshape(shape), names


def _places(axis: Axis, length: int, says: Mapping) -> list[tuple[int, int | ReadMode]]:
    """Return the places along an axis that are taken, each with what it is called."""
    taken = getattr(says.take, axis) or range(length)
    beyond = [place for place in taken if place >= length]
    if beyond:
        raise ValueError(
            f"has {length} places along {axis}: take.{axis} takes place {beyond[0]}, and places "
            "count from 0"
        )
    names: Sequence[int | ReadMode] | None = None
    where = f"axes.{axis} names"
    if axis is Axis.CORE:
        names = taken if says.axes.core is None else says.axes.core
    elif axis is Axis.READ_MODE:
        names = says.axes.read_mode
    elif says.visits is not None:
        names, where = range(len(says.visits.values)), "visits.values has"
    names = range(len(taken)) if names is None else names
    if len(names) != len(taken):
        raise ValueError(
            f"has {len(taken)} places along {axis}: {where} {len(names)}; name each, or say with "
            f"take.{axis} which are taken"
        )
    return list(zip(taken, names, strict=True))


def _positive_first(array: AnyArray, place: int, says: Mapping) -> AnyArray:
    if array.shape[place] != 2:
        raise ValueError(f"has {array.shape[place]} places along polarity: must have 2, P and N")
    return array if says.axes.polarity[0] == "P" else np.flip(array, axis=place)
