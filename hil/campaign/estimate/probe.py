"""How fast a device is: a short look at it that programs no chip that outlives the command.

A ``mock://`` chip is the command's own, and gone with it: it is programmed, since nothing wears.
Any other chip is read only where a core holds weights already, with inputs as the campaign's own;
what it then has latched is replaced, as by any reading.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.estimate.steps import StepOutline
from hil.core.errors import DeviceError
from hil.core.readout import ChipGeometry, ReadMode
from hil_calibration.stimulus import gaussian_weights, uniform_inputs
from hil_drivers.chip import Chip

_QUERIES = 15
_QUERY_S = 0.5
"""Time after which no more small queries are made."""
_READ_S = 1.0
"""Time after which no more readings are made, per read mode."""
_MOST_READS = 8
_MOST_CORES = 16
"""Cores that are tried; of a chip that holds nothing, not every one has to refuse."""
_FIRST_VECTORS = 4
"""Vectors of the first reading: a slow chip must not be asked for a whole block at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedDevice:
    """What a look at a device has found, in seconds."""

    latency_s: float
    """From a small query to its answer, the middle one of several."""
    connect_s: float
    """Starting the program, and opening the device; a mock's process started."""
    bytes_per_s: float | None
    """What the link carries at least, of a block that takes no conversion; None if not measured."""
    program_s: float | None
    """Programming a core; None if that was not done."""
    block_s: Mapping[ReadMode, float] = field(default_factory=dict)
    """Reading a block of `block` vectors without the NMPU, in the read modes that were read."""
    block: int
    """Vectors of such a block."""
    why_unread: str = ""
    """Why no core was read; empty if one was."""


def probe_device(
    chip: Chip,
    config: CampaignConfig,
    steps: Sequence[StepOutline],
    *,
    connect_s: float,
    may_program: bool,
    clock: Callable[[], float] = time.perf_counter,
) -> ProbedDevice:
    """Measure a device.

    Parameters
    ----------
    chip
        The open chip.
    config
        The campaign.
    steps
        Its steps on this chip; at least one.
    connect_s
        How long opening has taken.
    may_program
        Whether the chip is one that programming does not wear.
    clock
        Monotonic seconds.

    Raises
    ------
    TransportError, FrameError, DeviceError
        If the device is lost, answers nonsense, or refuses what it must not.
    """
    latency_s = _latency(chip, clock)
    step = steps[0]
    program_s = None
    if may_program:
        size, rng = chip.geometry(), np.random.default_rng(config.campaign.seed)
        weights = gaussian_weights(rng, rows=size.rows, columns=size.columns)
        program_s = _timed(clock, lambda: chip.program(step.key.core, weights))
    block = min(config.vectors.block, config.vectors.calibration)
    inputs = _probe_inputs(config, chip.geometry(), block)
    block_s: dict[ReadMode, float] = {}
    cores = list(dict.fromkeys(step.key.core for step in steps))
    core, why_unread = _readable_core(chip, cores, config.campaign.read_modes[0], inputs)
    if core is not None:
        for read_mode in config.campaign.read_modes:
            block_s[read_mode] = _block_time(chip, core, read_mode, inputs, clock)
    return ProbedDevice(
        latency_s=latency_s,
        connect_s=connect_s,
        bytes_per_s=_link_rate(chip, step, latency_s, clock),
        program_s=program_s,
        block_s=block_s,
        block=block,
        why_unread=why_unread,
    )


def _readable_core(
    chip: Chip, cores: Sequence[int], read_mode: ReadMode, inputs: npt.NDArray[np.int8]
) -> tuple[int | None, str]:
    """Return the first core that can be read as it is; None and the reason if there is none."""
    reason = ""
    for core in cores[:_MOST_CORES]:
        try:
            chip.read_counts(core, read_mode, inputs[:1])
        except DeviceError as error:
            reason = reason or f"core {core} cannot be read as it is ({error.words})"
        else:
            return core, ""
    return None, reason


def _probe_inputs(
    config: CampaignConfig, geometry: ChipGeometry, vectors: int
) -> npt.NDArray[np.int8]:
    rng = np.random.default_rng(config.campaign.seed)
    return uniform_inputs(rng, vectors=vectors, rows=geometry.rows, zeros=config.vectors.zeros)


def _latency(chip: Chip, clock: Callable[[], float]) -> float:
    times: list[float] = []
    while len(times) < _QUERIES and sum(times) < _QUERY_S:
        times.append(_timed(clock, chip.identify))
    return statistics.median(times)


def _block_time(
    chip: Chip,
    core: int,
    read_mode: ReadMode,
    inputs: npt.NDArray[np.int8],
    clock: Callable[[], float],
) -> float:
    """Return seconds for a block: of whole blocks where there is time, else from fewer vectors."""
    few = inputs[: min(_FIRST_VECTORS, len(inputs))]
    chip.read_counts(core, read_mode, few)  # the first one may prepare more than it reads
    few_s = _timed(clock, lambda: chip.read_counts(core, read_mode, few))
    whole_s = few_s * len(inputs) / len(few)
    if whole_s > 10 * _READ_S:
        return whole_s
    times: list[float] = []
    while len(times) < _MOST_READS and sum(times) < _READ_S:
        times.append(_timed(clock, lambda: chip.read_counts(core, read_mode, inputs)))
    return statistics.fmean(times)


def _link_rate(
    chip: Chip, step: StepOutline, latency_s: float, clock: Callable[[], float]
) -> float | None:
    """Return the rate of a block that no conversion stands behind: the registers, if there are."""
    with suppress(DeviceError):  # it has none, or none are loaded
        seconds = _timed(clock, lambda: chip.read_nmpu(step.key.core, step.key.read_mode))
        payload = 4 * chip.geometry().columns * 2
        # Two selections and the format go before it.
        transfer_s = seconds - 4 * latency_s
        if transfer_s > latency_s:
            return payload / transfer_s
    return None


def _timed(clock: Callable[[], float], operation: Callable[[], object]) -> float:
    began_s = clock()
    operation()
    return clock() - began_s
