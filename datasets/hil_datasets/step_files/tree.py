"""What makes a step's datasets readable for others: units, named axes, and the NeXus tree.

The datasets of a step lie flat in its group, as its readers want them. `describe_tree` adds the
axes as dimension scales, which xarray and netCDF4 read, and below ``entry`` a NeXus tree of hard
links to the same datasets, so that viewers plot them at once. Nothing is stored twice.

References
----------
NeXus 2024.02, https://manual.nexusformat.org: NXentry, NXinstrument, NXdetector, NXdata,
NXprocess. CF Conventions 1.11, section 3.5 for ``flag_masks``.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

import h5py
import numpy as np

from hil_datasets.step_files.axes import make_axes
from hil_datasets.step_files.nexus import PlotSpec, make_group, make_link, make_plot
from hil_datasets.step_files.schema import FLAG_MEANINGS, DatasetSpec, datasets_of

ENTRY = "entry"
"""Name of the NeXus tree in a step's group."""
TREE_ATTRIBUTES = frozenset({"NX_class", "default"})
"""Attributes of groups that are about the tree, and not about the step."""


PLOTS = (
    PlotSpec(
        name="gain",
        title="Gain of each column",
        signal="correction/a_p",
        axes=("column",),
        beside=("correction/a_n",),
        errors=("correction/a_p_errors", "correction/a_n_errors"),
    ),
    PlotSpec(
        name="error",
        title="Error of each column: uncorrected, float, fp16, nmpu",
        signal="verification/column_rms",
        axes=(".", "column"),
    ),
    PlotSpec(
        name="readouts",
        title="Counts of P and N",
        signal="raw",
        axes=("vector", ".", "column"),
    ),
)
"""The plots of a step; the first that it has the signal of is the default."""

_PROCESSES = (
    ("correction", 1, "straight line through counts and expected outputs, column by column"),
    ("coefficients", 2, "register codes of the NMPU nearest to the correction"),
)


def describe_tree(step: h5py.Group) -> None:
    """Give a step's group units, dimension scales, NeXus classes and the NeXus tree.

    Parameters
    ----------
    step
        The group, with all datasets and attributes that the schema has of the step; nothing of
        what is added here may be there yet, but for units, names and labels.
    """
    found = {
        spec.path: (path, spec)
        for path, spec in datasets_of(int(step.attrs["format_version"])).items()
        if path in step
    }
    _attach_axes(step, found)
    is_root = step.name == "/"
    step.attrs["NX_class"] = "NXroot" if is_root else "NXcollection"
    step.attrs["default"] = ENTRY
    for group in step.values():
        if isinstance(group, h5py.Group):
            group.attrs["NX_class"] = "NXcollection"
    _Entry(step, {today: path for today, (path, _) in found.items()}).make()


def describe(dataset: h5py.Dataset, spec: DatasetSpec) -> None:
    """Attach unit, long name, names of the axes, and the meaning of bits."""
    dataset.attrs["units"] = spec.units
    dataset.attrs["long_name"] = spec.long_name
    if spec.path in FLAG_MEANINGS:
        meanings = FLAG_MEANINGS[spec.path]
        dataset.attrs["flag_masks"] = np.left_shift(1, np.arange(len(meanings))).astype(spec.dtype)
        dataset.attrs["flag_meanings"] = " ".join(meanings)
    for axis, name in enumerate(spec.axes):
        dataset.dims[axis].label = name


def _attach_axes(step: h5py.Group, found: Mapping[str, tuple[str, DatasetSpec]]) -> None:
    lengths: dict[str, int] = {}
    opened = [(step[path], spec) for path, spec in found.values()]
    for dataset, spec in opened:
        if "long_name" not in dataset.attrs:
            describe(dataset, spec)
        lengths |= zip(spec.axes, dataset.shape, strict=True)
    scales = make_axes(step, lengths)
    for dataset, spec in opened:
        for place, axis in enumerate(spec.axes):
            dataset.dims[place].attach_scale(scales[axis])


class _Entry:
    """Makes the NeXus tree of a step.

    Parameters
    ----------
    step
        The step's group.
    paths
        Where each dataset is, by today's path.
    """

    def __init__(self, step: h5py.Group, paths: Mapping[str, str]) -> None:
        self._step = step
        self._paths = paths
        self._entry = step.create_group(ENTRY)

    def make(self) -> None:
        """Make it."""
        attributes, entry = self._step.attrs, self._entry
        entry.attrs["NX_class"] = "NXentry" if self._step.name == "/" else "NXsubentry"
        entry["title"] = str(attributes["title"])
        entry["entry_identifier"] = str(attributes["raw_sha256"])
        entry["experiment_identifier"] = str(attributes["campaign_sha256"])
        for name, moment in zip(("start_time", "end_time"), self._span(), strict=True):
            if moment:
                entry[name] = moment
        self._make_instrument()
        plots = [plot for plot in PLOTS if plot.signal in self._paths]
        for plot in plots:
            make_plot(self._step, entry, plot, self._paths)
        if plots:
            entry.attrs["default"] = plots[0].name
        for name, place, said in _PROCESSES:
            self._make_process(name, place, said)

    def _span(self) -> tuple[str, str]:
        """Return when the step began and ended, as far as that is known."""
        if "timing/ended_s" not in self._paths:
            return str(self._step.attrs["measured_utc"]), ""
        began = str(self._step["timing"].attrs["began_utc"])
        ended_s = float(self._step["timing/ended_s"][-1])
        try:
            ended = datetime.fromisoformat(began) + timedelta(seconds=ended_s)
        except (ValueError, OverflowError):
            return began, ""
        return began, ended.isoformat(timespec="microseconds")

    def _make_instrument(self) -> None:
        attributes = self._step.attrs
        chip = json.loads(attributes["chip"])
        instrument = make_group(self._entry, "instrument", "NXinstrument")
        instrument["name"] = f"{chip['manufacturer']} {chip['model']}"
        detector = make_group(instrument, "chip", "NXdetector")
        detector["description"] = "columns of an analog in-memory-computing core with counters"
        detector["serial_number"] = str(chip["serial"])
        detector["local_name"] = f"core {attributes['core']}, {attributes['read_mode']}"
        if "raw" in self._paths:
            make_link(self._step, "raw", detector, name="data")
        if "conditions" in self._step:
            instrument["conditions"] = self._step["conditions"]

    def _make_process(self, name: str, place: int, said: str) -> None:
        group = make_group(self._entry, name, "NXprocess")
        software = json.loads(self._step.attrs["software"])
        group["program"] = "aimc-hil"
        group["version"] = str(software.get("aimc-hil", ""))
        group["sequence_index"] = place
        group["note"] = said
        source = self._step[name]
        for attribute in ("id", "parents"):
            if attribute in source.attrs:
                group.attrs[attribute] = source.attrs[attribute]
        for today, path in self._paths.items():
            if today.startswith(f"{name}/"):
                make_link(self._step, path, group, name=today.rpartition("/")[2])
