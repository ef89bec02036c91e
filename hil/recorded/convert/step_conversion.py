"""One step of a conversion: its readouts played to the campaign's own code, which concludes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.measure import StepBench, measure_step
from hil.campaign.plan import CoreWork, PlannedStep
from hil.campaign.run_clock import StepWatch
from hil.campaign.workload import Tile
from hil.core.errors import CalibrationError
from hil.core.readout import ReadMode
from hil.recorded.convert.fitted_lines import FittedLines
from hil.recorded.convert.mapping import Mapping
from hil.recorded.convert.readouts import StepReadouts
from hil.recorded.convert.stimulus import synthesise
from hil_datasets.durable import PART_SUFFIX
from hil_datasets.step import StepKey, StepOrigin
from hil_datasets.step_conditions import Condition
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.step_files.writer import StepWriter
from hil_drivers.chip import Chip


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedReadouts:
    """The readouts of a step in ``.npy`` files, for whichever process converts it."""

    weights: Path
    """Shape (row, column), int8."""
    inputs: Path
    """Shape (vector, row), int8."""
    counts: Path
    """Shape (vector, polarity, column), uint16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnReadouts:
    """Lines that are still to be drawn on a stimulus."""

    lines: FittedLines
    """The lines."""
    says: Mapping
    """The mapping, which has the stimulus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionTask:
    """A step to convert: small, because it may travel to another machine."""

    path: Path
    """Name of the step file."""
    key: StepKey
    """Which step."""
    origin: StepOrigin
    """Where its data come from."""
    config: CampaignConfig
    """How to calibrate."""
    conditions: tuple[Condition, ...]
    """What was set in its visit."""
    source: StagedReadouts | DrawnReadouts
    """Its readouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedStep:
    """What became of a step."""

    key: StepKey
    """Which step."""
    raw_sha256: str
    """Content hash of its readouts; empty if it failed."""
    errors: dict[str, float]
    """Relative L2 error of each correction."""
    concluded_sha256: str = ""
    """Hash of everything that was concluded; empty if it failed."""
    facts_sha256: str = ""
    """Hash of what the step says besides; empty if it failed."""
    failure: str = ""
    """Why its readouts allow no calibration; empty if they do."""


def convert_step(task: ConversionTask) -> ConvertedStep:
    """Write the step file of a task, calibrated by its readouts.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    readouts = _readouts(task.source)
    rows, columns = readouts.weights.shape
    step = PlannedStep(
        key=task.key,
        work=CoreWork(
            weights=readouts.weights,
            inputs=readouts.inputs,
            tile=Tile(rows=slice(0, rows), columns=slice(0, columns)),
        ),
        calibration_vectors=task.origin.calibration_vectors,
    )
    writer = StepWriter(task.path, key=task.key, origin=task.origin, weights=readouts.weights)
    with writer:
        bench = StepBench(
            chip=cast("Chip", _PlayedCounts(readouts.counts)),
            writer=writer,
            config=task.config,
            counter_bits=task.origin.counter_bits,
            on_vectors=lambda _: None,
            # Nobody knows when its blocks were read.
            watch=StepWatch(began_utc=task.origin.measured_utc, run_began_s=0.0, clock=lambda: 0.0),
        )
        try:
            conclusion = measure_step(step, bench)
        except CalibrationError as error:
            writer.close()
            task.path.with_name(task.path.name + PART_SUFFIX).unlink()
            return ConvertedStep(key=task.key, raw_sha256="", errors={}, failure=str(error))
        raw_sha256 = writer.finish(conclusion, None, task.conditions)
    return ConvertedStep(
        key=task.key,
        raw_sha256=raw_sha256,
        errors=conclusion.errors,
        concluded_sha256=concluded_sha256(conclusion),
        facts_sha256=facts_sha256(task.key, task.origin, task.conditions),
    )


def stage(readouts: StepReadouts, folder: Path, name: str) -> StagedReadouts:
    """Write the readouts of a step into a folder.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    staged = StagedReadouts(
        weights=folder / f"{name}_weights.npy",
        inputs=folder / f"{name}_inputs.npy",
        counts=folder / f"{name}_counts.npy",
    )
    np.save(staged.weights, readouts.weights)
    np.save(staged.inputs, readouts.inputs)
    np.save(staged.counts, readouts.counts)
    return staged


def _readouts(source: StagedReadouts | DrawnReadouts) -> StepReadouts:
    if isinstance(source, DrawnReadouts):
        return synthesise(source.lines, source.says)
    return StepReadouts(
        weights=np.load(source.weights, allow_pickle=False),
        inputs=np.load(source.inputs, mmap_mode="r", allow_pickle=False),
        counts=np.load(source.counts, mmap_mode="r", allow_pickle=False),
    )


class _PlayedCounts:
    """Stands in for a chip: gives the counts of a step in the order they are asked for."""

    def __init__(self, counts: npt.NDArray[np.uint16]) -> None:
        self._counts = counts
        self._given = 0

    def read_counts(
        self, _core: int, _read_mode: ReadMode, inputs: Sequence[object]
    ) -> npt.NDArray[np.uint16]:
        """Return the counts of the next vectors."""
        block = slice(self._given, self._given + len(inputs))
        self._given = block.stop
        return np.ascontiguousarray(self._counts[block])
