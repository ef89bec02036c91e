"""How much room a campaign needs on the disk and in memory, and how much there is."""

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.estimate.steps import StepOutline
from hil.core.errors import Problem
from hil.core.readout import ChipGeometry
from hil_datasets.run_directory import RunDirectory
from hil_datasets.seal import SEAL_BYTES
from hil_datasets.step_files.axes import STEP_AXES
from hil_datasets.step_files.schema import (
    CORRECTION_AXIS,
    CORRECTION_NAMES,
    STEP_DATASETS,
    DatasetSpec,
)

_LAYOUT_BYTES = 80_650
"""What HDF5 writes around the datasets of a step file, measured on step files of h5py 3.x; the test
of `step_bytes` compares it with files of today."""
_CONDITIONS_LAYOUT_BYTES = 2_392
"""What it writes more where there are conditions."""
_INDEX_BYTES, _INDEX_BYTES_PER_STEP = 40_190, 8_680
"""What the index needs besides its tables: virtual datasets and attributes; measured likewise."""
_RUN_BYTES, _RUN_BYTES_PER_STEP = 64 << 10, 4 << 10
"""Upper bound for campaign files, journal, log and progress."""
_RESERVE = 0.02
"""Share of a disk's need that is added before it is called enough."""

_INL_BINS = 16
"""Bins of the INL curve, the default of `hil_calibration.linearity.inl_curves`."""
_LONGEST_TRIAL = 256 << 20
"""Bytes reserved on trial: more would be memory where the folder is in memory."""

_PROGRAM_BYTES = 160 << 20
"""Memory of the program itself with its libraries."""
_HELD_OUT_BYTES = 96
"""Peak memory per held-out vector and column while a step is judged, measured by tracemalloc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageNeed:
    """Bytes on the disk."""

    step_bytes: int
    """All step files."""
    index_bytes: int
    """The index."""
    other_bytes: int
    """Journal, log and copies of the campaign file, at most."""
    passing_bytes: int
    """What is given back: a step is finished in a copy of its part."""

    @property
    def total_bytes(self) -> int:
        """Everything that stays."""
        return self.step_bytes + self.index_bytes + self.other_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the output folder's file system has."""

    folder: str
    """The output folder."""
    free_bytes: int | None
    """What is free for this user; None if it cannot be told."""
    problem: str
    """Why nothing can be written; empty if it can."""


def step_bytes(
    step: StepOutline, geometry: ChipGeometry, config: CampaignConfig, *, quantities: int
) -> int:
    """Return the size of a step's file.

    Parameters
    ----------
    step
        The step.
    geometry
        Size of the chip.
    config
        The campaign.
    quantities
        Quantities of its bench instruments.
    """
    sizes = {
        "row": geometry.rows,
        "column": geometry.columns,
        "polarity": 2,
        CORRECTION_AXIS: len(CORRECTION_NAMES),
        "vector": step.vectors,
        "verification_vector": step.verification_vectors,
        "block": step.blocks(config.vectors.block),
        "inl_bin": _INL_BINS,
        "inl_edge": _INL_BINS + 1,
        "quantity": quantities,
    }
    data = sum(
        _dataset_bytes(spec, sizes) for spec in STEP_DATASETS if _is_stored(spec, step, config)
    )
    conditions = _CONDITIONS_LAYOUT_BYTES if quantities else 0
    axes = sum(
        sizes.get(axis.name, 0) * np.dtype(axis.dtype).itemsize
        for axis in STEP_AXES
        if axis.dtype != "text"
    )
    return SEAL_BYTES + _LAYOUT_BYTES + conditions + data + axes


def storage_need(
    steps: Sequence[StepOutline],
    geometry: ChipGeometry,
    config: CampaignConfig,
    *,
    quantities: int,
) -> StorageNeed:
    """Return what a campaign needs on the disk; parameters are those of `step_bytes`."""
    files = [step_bytes(step, geometry, config, quantities=quantities) for step in steps]
    per_column = sum(
        np.dtype(spec.dtype).itemsize for spec in STEP_DATASETS if spec.axes == ("column",)
    )
    cores = {step.key.core for step in steps}
    modes = {step.key.read_mode for step in steps}
    tables = per_column * geometry.columns * len(cores) * len(modes)
    return StorageNeed(
        step_bytes=sum(files),
        index_bytes=_INDEX_BYTES + _INDEX_BYTES_PER_STEP * len(steps) + tables,
        other_bytes=_RUN_BYTES + _RUN_BYTES_PER_STEP * len(steps),
        passing_bytes=max(files, default=0),
    )


def memory_need(steps: Sequence[StepOutline], geometry: ChipGeometry) -> int:
    """Return how much memory a campaign needs at its peak, in bytes, about."""
    cores = {step.key.core: step for step in steps}
    size = geometry.rows * geometry.columns
    planned = sum(size + step.vectors * geometry.rows for step in cores.values())
    largest = max(
        (
            max(
                step.vectors * (geometry.rows + 4 * geometry.columns),  # hashed when it is finished
                step.verification_vectors * geometry.columns * _HELD_OUT_BYTES,
            )
            for step in steps
        ),
        default=0,
    )
    return _PROGRAM_BYTES + planned + largest


def available_memory() -> int | None:
    """Return how much memory can be had without swapping, in bytes; None if it cannot be told."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))
    except (OSError, ValueError, StopIteration):
        return None


def look_at_room(folder: Path, need_bytes: int, *, is_resumed: bool = False) -> Room:
    """Look whether an output folder can be made and written, and how much its disk has.

    Room for a file without a name is reserved and given back at once, up to 256 MiB, where the file
    system can do that: a quota shows itself only so.

    Parameters
    ----------
    folder
        The output folder; it need not exist.
    need_bytes
        What is going to be written.
    is_resumed
        Whether the folder holds the run that goes on.
    """
    there = folder.absolute()
    try:
        problem = "" if is_resumed else _refusal(folder)
        while not there.is_dir() and there != there.parent:
            if there.exists():
                return Room(folder=str(folder), free_bytes=None, problem=f"{there} is no folder")
            there = there.parent
        free = shutil.disk_usage(there).free
    except OSError as error:
        reason = error.strerror or str(error)
        return Room(folder=str(folder), free_bytes=None, problem=f"cannot be used: {reason}")
    problem = problem or _trial(there, min(need_bytes, free, _LONGEST_TRIAL))
    return Room(folder=str(folder), free_bytes=free, problem=problem)


def room_problems(room: Room, need: StorageNeed | None) -> list[Problem]:
    """Return why a campaign's files do not fit the disk, if they do not."""
    problems = [Problem("campaign.out", f"{room.folder} {room.problem}")] if room.problem else []
    if need is None or room.free_bytes is None:
        return problems
    wanted = int((need.total_bytes + need.passing_bytes) * (1 + _RESERVE))
    if wanted > room.free_bytes:
        message = (
            f"{room.folder} needs {shown_bytes(wanted)}: its disk has "
            f"{shown_bytes(room.free_bytes)} free"
        )
        problems.append(Problem("campaign.out", message))
    return problems


def shown_bytes(count: float) -> str:
    """Return a number of bytes with three digits.

    Examples
    --------
    >>> shown_bytes(512), shown_bytes(16_934_272), shown_bytes(2.5e12)
    ('512 B', '16.9 MB', '2.5 TB')
    """
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def _dataset_bytes(spec: DatasetSpec, sizes: dict[str, int]) -> int:
    # What is not told here, such as faults, is not expected to be.
    count = 1
    for axis in spec.axes:
        count *= sizes.get(axis, 0)
    return count * np.dtype(spec.dtype).itemsize


def _is_stored(spec: DatasetSpec, step: StepOutline, config: CampaignConfig) -> bool:
    return (config.device.has_nmpu and step.uses_nmpu) or spec.path != "verification/outputs"


def _refusal(folder: Path) -> str:
    if folder.is_dir() and any(folder.iterdir()):
        holds_run = RunDirectory(folder).journal_path.exists()
        return "already holds a run" if holds_run else "is not empty"
    for parent in Path(os.path.realpath(folder)).parents:
        if RunDirectory(parent).journal_path.exists():
            return f"lies inside the run {parent}"
    return ""


def _trial(folder: Path, need_bytes: int) -> str:
    """Say why a file of that size cannot be written; nothing if it can, or that cannot be told."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()
            if need_bytes > 1:
                os.posix_fallocate(file.fileno(), 0, need_bytes)
    except OSError as error:
        if error.errno in {errno.EDQUOT, errno.ENOSPC}:
            return f"cannot hold {shown_bytes(need_bytes)}: {os.strerror(error.errno)}"
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EFBIG}:
            return ""  # the file system cannot reserve room, or not in one file
        return f"cannot be written: {error.strerror or error}"
    return ""
