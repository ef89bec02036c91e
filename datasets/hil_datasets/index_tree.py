"""What makes the index of a run readable for others: named axes, and a NeXus tree."""

from collections.abc import Iterator

import h5py

from hil_datasets.step_files.nexus import PlotSpec, make_bare_scale, make_group, make_plot

_SAID = {"core": "core number", "read_mode": "read mode"}
_GAIN = PlotSpec(
    name="gain",
    title="Gain of each column, newest calibration of each core and read mode",
    signal="correction/a_p",
    axes=("core", ".", "."),
    beside=("correction/a_n",),
    errors=("correction/a_p_errors", "correction/a_n_errors"),
)


def describe_index(index: h5py.File) -> None:
    """Give an index dimension scales, NeXus classes and the NeXus tree.

    Axes that have no values of their own have only a length, so that an index stays small.
    """
    for name, said in _SAID.items():
        index[name].attrs["long_name"] = said
        index[name].make_scale(name)
    groups = list(_groups(index))
    for group in groups:
        for dataset in list(group.values()):
            if isinstance(dataset, h5py.Dataset) and not dataset.is_scale:
                _attach(index, group, dataset)
    for group in groups:
        group.attrs["NX_class"] = "NXcollection"
    index.attrs["NX_class"] = "NXroot"
    index.attrs["default"] = "entry"
    entry = make_group(index, "entry", "NXentry")
    if _GAIN.signal in index:
        make_plot(index, entry, _GAIN, {path: path for path in _linked(_GAIN)})
        entry.attrs["default"] = _GAIN.name


def _linked(plot: PlotSpec) -> tuple[str, ...]:
    return (plot.signal, *plot.beside, *plot.errors)


def _groups(above: h5py.Group) -> Iterator[h5py.Group]:
    """Yield a group and all below it; an index has no links but those to what it holds."""
    yield above
    for found in above.values():
        if isinstance(found, h5py.Group):
            yield from _groups(found)


def _attach(index: h5py.File, group: h5py.Group, dataset: h5py.Dataset) -> None:
    for place, dimension in enumerate(dataset.dims):
        if dimension.label:
            dimension.attach_scale(_scale(index, group, dimension.label, dataset.shape[place]))


def _scale(index: h5py.File, group: h5py.Group, name: str, length: int) -> h5py.Dataset:
    """Return the scale of an axis: the file's, or the group's own where that is as long."""
    # Steps differ in their vectors; cores of one chip have the same rows and columns.
    homes = [group] if name == "vector" else [index, group]
    for home in homes:
        if name not in home:
            return make_bare_scale(home, name, length)
        if home[name].shape == (length,):
            return home[name]
    raise ValueError(f"{group.name}: has {length} along {name}: {group[name].shape[0]} elsewhere")
