"""NeXus groups made of hard links, and dimension scales: what plots and netCDF readers look for.

References
----------
NeXus 2024.02, https://manual.nexusformat.org: NXdata (``signal``, ``axes``, ``AXISNAME_indices``,
``auxiliary_signals``), and the attribute ``target`` of links. HDF5 Dimension Scales Specification,
and NetCDF-4's use of it for a dimension without values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py

_NO_VALUES = "This is a netCDF dimension but not a netCDF variable. {:10d}"
"""What netCDF-4 calls the scale of a dimension that has a length and no values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotSpec:
    """One NXdata group: what a viewer plots."""

    name: str
    """Name of the group."""
    title: str
    """Title of the plot."""
    signal: str
    """Path of what is plotted."""
    axes: tuple[str, ...]
    """Path of what stands along each of its axes; ``.`` where it is text, or not told."""
    beside: tuple[str, ...] = ()
    """Paths of what is plotted beside it."""
    errors: tuple[str, ...] = ()
    """Paths of their standard errors."""


def make_group(above: h5py.Group, name: str, nexus_class: str) -> h5py.Group:
    """Make a group of a NeXus class."""
    group = above.create_group(name)
    group.attrs["NX_class"] = nexus_class
    return group


def make_link(home: h5py.Group, path: str, group: h5py.Group, *, name: str = "") -> None:
    """Make a hard link, as NeXus does it: the object says where it is at home.

    Parameters
    ----------
    home, path
        Where the object is.
    group, name
        Where it is linked, and under which name if not its own.
    """
    dataset: Any = home[path]
    dataset.attrs["target"] = f"{home.name.rstrip('/')}/{path}"
    group[name or _name(path)] = dataset


def make_plot(
    home: h5py.Group, entry: h5py.Group, plot: PlotSpec, paths: Mapping[str, str]
) -> None:
    """Make an NXdata group.

    Parameters
    ----------
    home
        The group that the paths of the plot are in.
    entry
        The group to make it in.
    plot
        What it shows.
    paths
        Where each dataset is, by the plot's path for it: errors are found by their names, whatever
        an older version calls them.
    """
    group = make_group(entry, plot.name, "NXdata")
    group["title"] = plot.title
    axes = [_name(path) for path in plot.axes]
    group.attrs["signal"] = _name(plot.signal)
    group.attrs["axes"] = axes
    if plot.beside:
        group.attrs["auxiliary_signals"] = [_name(path) for path in plot.beside]
    for place, (path, name) in enumerate(zip(plot.axes, axes, strict=True)):
        if path != ".":
            make_link(home, path, group)
            group.attrs[f"{name}_indices"] = place
    for path in (plot.signal, *plot.beside, *plot.errors):
        make_link(home, paths[path], group, name=_name(path))


def make_scale(group: h5py.Group, path: str, values: Any, *, said: str) -> h5py.Dataset:
    """Store a dimension scale.

    Parameters
    ----------
    group, path
        Where; it takes the last part of the path as its name.
    values
        What stands along the axis: numbers as an array, or a list of texts.
    said
        What it is, for plots and people.
    """
    if isinstance(values, list):
        dataset = group.create_dataset(path, data=values, dtype=h5py.string_dtype())
    else:
        dataset = group.create_dataset(path, data=values)
        dataset.attrs["units"] = "1"
    dataset.attrs["long_name"] = said
    dataset.make_scale(_name(path))
    return dataset


def make_bare_scale(group: h5py.Group, name: str, length: int) -> h5py.Dataset:
    """Make a dimension scale that has a length and no values, and takes no room."""
    dataset = group.create_dataset(name, shape=(length,), dtype=">f4")
    dataset.make_scale(_NO_VALUES.format(length))
    return dataset


def _name(path: str) -> str:
    return path.rpartition("/")[2]
