"""How long a campaign takes, from what is known of its device, its link and this computer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hil.campaign.config.instruments import QuantitySection
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.estimate.history import RecordedPace
from hil.campaign.estimate.host import HostPace
from hil.campaign.estimate.link import BoardTraffic
from hil.campaign.estimate.probe import ProbedDevice
from hil.campaign.estimate.steps import StepOutline, programmings
from hil.campaign.visits import Visit
from hil.core.readout import ChipGeometry

MEASURED, RECORDED, UNKNOWN = "measured now", "recorded in earlier runs", "unknown"

_STEP_REQUESTS = 12
"""Requests of a step besides its blocks: identity, temperature, registers there and back."""
_BLOCK_REQUESTS = 5
"""Two selections, the NMPU's state, the inputs, the reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """Wall time in seconds, in its parts."""

    connect_s: float = 0.0
    """Starting the program and opening the device."""
    program_s: float = 0.0
    """Programming cores."""
    read_s: float = 0.0
    """Reading vectors, conversions and link together."""
    host_s: float = 0.0
    """Computing and storing."""
    wait_s: float = 0.0
    """Until cores are as old as a drift watch wants them."""
    settle_s: float = 0.0
    """Ramps of instruments, and how long they have to be at rest before each step."""
    settle_at_most_s: float = 0.0
    """Instruments: how much longer they may take to come to rest; not part of the total."""
    reading_is: str = UNKNOWN
    """Where the rate of reading is from."""
    programming_is: str = UNKNOWN
    """Where the time of programming is from."""

    @property
    def total_s(self) -> float:
        """Everything; a lower bound if something is not known."""
        known_s = self.connect_s + self.program_s + self.read_s + self.host_s
        return known_s + self.wait_s + self.settle_s

    @property
    def is_lower_bound(self) -> bool:
        """Whether something that takes time is not known."""
        return UNKNOWN in {self.reading_is, self.programming_is}


def estimate_time(
    steps: Sequence[StepOutline],
    geometry: ChipGeometry,
    config: CampaignConfig,
    *,
    visits: Sequence[Visit] = (),
    probed: ProbedDevice | None,
    recorded: RecordedPace,
    host: HostPace,
    bytes_of_steps: int,
) -> TimeEstimate:
    """Return how long a campaign takes.

    Parameters
    ----------
    steps
        Its steps.
    geometry
        Size of the chip.
    config
        The campaign.
    visits
        Its visits; waiting is part of them. None where nobody waits.
    probed
        What a look at the device has found; None without one.
    recorded
        What earlier runs took; used where the device was not read now.
    host
        What this computer takes.
    bytes_of_steps
        Size of all step files.
    """
    latency_s = 0.0 if probed is None else probed.latency_s
    sources = {_reading_source(step, probed, recorded) for step in steps}
    reading_is = next((each for each in (UNKNOWN, RECORDED, MEASURED) if each in sources), UNKNOWN)
    traffic = BoardTraffic(geometry, config)
    read_s = sum(_read_time(step, traffic, probed, recorded) for step in steps)
    program_one_s, programming_is = _program_time(probed, recorded)
    computed_s = sum(
        step.calibration_vectors * host.calibration_vector_s
        + step.verification_vectors * host.verification_vector_s
        + (host.fit_s if step.calibration_vectors else 0.0)
        for step in steps
    )
    settle_s = settle_at_least_s(config, visits, steps)
    # The part of a step is synced, its finished file, their folder twice, and a journal line. Its
    # datasets are made, linked in the index, and opened once more for the summary at the end.
    stored_s = bytes_of_steps * host.byte_s + len(steps) * (5 * host.sync_s + 3 * host.layout_s)
    return TimeEstimate(
        connect_s=0.0 if probed is None else probed.connect_s,
        program_s=program_one_s * sum(programmings(steps).values()),
        read_s=read_s + _STEP_REQUESTS * latency_s * len(steps),
        host_s=computed_s + stored_s,
        wait_s=max((visit.due_s or 0.0 for visit in visits), default=0.0),
        settle_s=settle_s,
        settle_at_most_s=max(0.0, settle_at_most_s(config, visits) - settle_s),
        reading_is=reading_is,
        programming_is=programming_is,
    )


def settle_at_most_s(config: CampaignConfig, visits: Sequence[Visit]) -> float:
    """Return how long the quantities that a campaign sets may take to come to rest, in all.

    Parameters
    ----------
    config
        The campaign.
    visits
        Its visits, in order: a quantity settles at the first one, and where it changes.
    """
    total_s = 0.0
    for quantity, moves in _moves(config, visits):
        settle_s = 0.0 if quantity.settle is None else quantity.settle.timeout_s
        total_s += sum(settle_s + ramp_s for ramp_s in moves.values())
    return total_s


def settle_at_least_s(
    config: CampaignConfig, visits: Sequence[Visit], steps: Sequence[StepOutline]
) -> float:
    """Return how long ramps, and looks at what has to be at rest, take whatever happens, in all.

    Parameters
    ----------
    config
        The campaign.
    visits
        Its visits, in order.
    steps
        Its steps: a quantity is looked at before each that is certain to be taken.
    """
    taken = Counter(step.key.visit for step in steps if not step.is_conditional)
    total_s = 0.0
    for quantity, moves in _moves(config, visits):
        settle = quantity.spec("").settle
        for visit in visits:
            looks = taken[visit.number]
            if not looks:
                continue
            if visit.number in moves:
                total_s += moves[visit.number]
                total_s += 0.0 if settle is None else settle.stable_s
                looks -= 1
            total_s += 0.0 if settle is None else looks * settle.held_s
    return total_s


def _moves(
    config: CampaignConfig, visits: Sequence[Visit]
) -> Iterator[tuple[QuantitySection, dict[int, float]]]:
    """Yield every quantity that is set, and its moves: the visit, and how long the ramp takes."""
    for name, section in config.instruments.items():
        for key, quantity in section.quantities.items():
            values = [visit.settings.get(f"{name}.{key}", quantity.value) for visit in visits]
            if all(value is None for value in values):
                continue
            moves: dict[int, float] = {}
            for visit, (before, after) in zip(visits, pairwise([None, *values]), strict=True):
                if after is not None and after != before:
                    far = 0.0 if before is None else abs(after - before)
                    ramp = quantity.ramp_per_s
                    moves[visit.number] = 0.0 if ramp is None else far / ramp
            yield quantity, moves


def scaled(pace: RecordedPace, speed: float) -> RecordedPace:
    """Return what a recording takes when it is played so many times as fast."""
    return replace(
        pace,
        vector_s={mode: seconds / speed for mode, seconds in pace.vector_s.items()},
        program_s=0.0,
    )


def _reading_source(step: StepOutline, probed: ProbedDevice | None, recorded: RecordedPace) -> str:
    if probed is not None and step.key.read_mode in probed.block_s:
        return MEASURED
    return RECORDED if step.key.read_mode in recorded.vector_s else UNKNOWN


def _program_time(probed: ProbedDevice | None, recorded: RecordedPace) -> tuple[float, str]:
    if probed is not None and probed.program_s is not None:
        return probed.program_s, MEASURED
    if recorded.program_s is not None:
        return recorded.program_s, RECORDED
    return 0.0, UNKNOWN


def _read_time(
    step: StepOutline,
    traffic: BoardTraffic,
    probed: ProbedDevice | None,
    recorded: RecordedPace,
) -> float:
    read_mode = step.key.read_mode
    blocks = step.blocks(traffic.block)
    latency_s = 0.0 if probed is None else probed.latency_s
    rate = None if probed is None else probed.bytes_per_s
    if probed is not None and read_mode in probed.block_s:
        # A shorter block at the end takes as many requests as a whole one.
        requests_s = _BLOCK_REQUESTS * latency_s
        per_vector_s = max(0.0, probed.block_s[read_mode] - requests_s) / probed.block
        seconds = step.vectors * per_vector_s + blocks * requests_s
    elif read_mode in recorded.vector_s:
        return step.vectors * recorded.vector_s[read_mode]  # with all that is added below
    else:
        moved = traffic.step(step)
        seconds = blocks * _BLOCK_REQUESTS * latency_s
        seconds += 0.0 if rate is None else (moved.sent_bytes + moved.received_bytes) / rate
        return seconds
    if traffic.has_nmpu and step.uses_nmpu:  # the outputs of the NMPU come besides the counts
        seconds += -(-step.verification_vectors // traffic.block) * latency_s
        outputs = step.verification_vectors * traffic.geometry.columns
        seconds += 0.0 if rate is None else outputs / rate
    return seconds
