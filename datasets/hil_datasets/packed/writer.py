"""Writing a packed file: its files and steps as they come, then its seal and its name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hil_datasets.packed.chunks import write_chunked
from hil_datasets.packed.compression import COMPRESSIONS, Compression
from hil_datasets.packed.layout import (
    FILES_GROUP,
    PACK_FORMAT,
    PACK_VERSION,
    STEPS_GROUP,
    is_packed_file,
)
from hil_datasets.packed.new_file import new_file
from hil_datasets.packed.stored_step import StoredStep, store_step
from hil_datasets.seal import seal_file
from hil_datasets.step_files.file import written_hdf5
from hil_datasets.step_files.schema import RAW_DATASETS


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedEntry:
    """What a packed file says of its run at first sight, for people and viewers."""

    title: str
    """Title of the campaign."""
    campaign_sha256: str
    """SHA-256 of the campaign file."""
    start_time: str
    """When the run began, ISO 8601; empty if that is not known."""
    end_time: str
    """When its last event was, ISO 8601; empty if that is not known."""
    chip: str
    """Manufacturer, model and serial number; empty if that is not known."""
    plotted: str = ""
    """Name of the step that is plotted first; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackContent:
    """Everything that is packed."""

    entry: PackedEntry
    """What it says of itself."""
    files: Iterable[tuple[str, bytes]]
    """Names and contents of the run's files besides its steps."""
    steps: Iterable[StoredStep]
    """Its finished steps, one in memory at a time; without readouts where they are left out."""
    has_readouts: bool = True
    """Whether the steps have their readouts."""
    compression: Compression = field(default=COMPRESSIONS["none"])
    """How readouts are stored."""


def write_pack(path: Path, content: PackContent, *, may_replace: bool = False) -> None:
    """Write a packed file: the same content makes the same bytes.

    Parameters
    ----------
    path
        The file.
    content
        What is packed.
    may_replace
        Whether a file that exists may be replaced; until the new one is whole it stays.

    Raises
    ------
    ConfigError
        If the file exists and may not be replaced.
    DatasetError
        If it cannot be written.
    MissingExtraError
        If the compression's filters are not installed.
    """
    keeps_readouts = content.has_readouts
    with new_file(path, may_replace=may_replace, keeps_readouts=keeps_readouts) as part:
        with written_hdf5(part, mode="w") as file:
            _write(file, content)
        seal_file(part, form=PACK_FORMAT)


def _write(file: h5py.File, content: PackContent) -> None:
    file.attrs["file_format"] = PACK_FORMAT
    file.attrs["format_version"] = PACK_VERSION
    _name(file, "NXroot", default="entry")
    file.attrs["creator"] = f"aimc-hil {metadata.version('aimc-hil')}"
    file.attrs["compression"] = content.compression.name
    file.attrs["has_readouts"] = int(content.has_readouts)
    entry, said = file.create_group("entry"), content.entry
    _name(entry, "NXentry")
    fields: Mapping[str, str] = {
        "title": said.title,
        "start_time": said.start_time,
        "end_time": said.end_time,
        "experiment_identifier": said.campaign_sha256,
    }
    for name, text in fields.items():
        if text:
            entry[name] = text
    instrument = entry.create_group("instrument")
    _name(instrument, "NXinstrument")
    if said.chip:
        instrument["name"] = said.chip
    _write_files(file, content)
    steps = file.create_group(STEPS_GROUP)
    _name(steps, "NXcollection")
    for step in content.steps:
        if all(name in step.arrays for name in RAW_DATASETS) != content.has_readouts:
            raise ValueError(f"{step.name}: must have readouts: {content.has_readouts}")
        store_step(steps.create_group(step.name), step, compression=content.compression)
    _plot(file, said.plotted)


def _write_files(file: h5py.File, content: PackContent) -> None:
    files = file.create_group(FILES_GROUP)
    _name(files, "NXcollection")
    # Not as the readouts are: a journal is read without plug-ins.
    plain, packed = COMPRESSIONS["none"], COMPRESSIONS["gzip"]
    compression = plain if content.compression == plain else packed
    for name, text in content.files:
        if not is_packed_file(name):
            raise ValueError(f"{name!r} is no file of a run that is packed")
        group, _, short_name = name.rpartition("/")
        parent = files.require_group(group) if group else files
        if group:
            _name(parent, "NXcollection")
        dataset = write_chunked(parent, short_name, np.frombuffer(text, np.uint8), compression)
        dataset.attrs["units"] = "byte"
        dataset.attrs["long_name"] = f"the file {name}, byte for byte"


def _plot(file: h5py.File, step: str) -> None:
    """Make a step's first plot that of the file."""
    tree: Any = file[f"{STEPS_GROUP}/{step}/entry"] if step else None
    if tree is not None and "default" in tree.attrs:
        file["entry/data"] = tree[tree.attrs["default"]]
        file["entry"].attrs["default"] = "data"


def _name(group: h5py.Group, nexus_class: str, *, default: str = "") -> None:
    group.attrs["NX_class"] = nexus_class
    if default:
        group.attrs["default"] = default
