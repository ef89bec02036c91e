"""What ``hil mock serve`` serves, from the options of its command line."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path

import click

from hil.core.errors import ConfigError, Problem
from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_directory
from hil_mock_device.bench_instruments.choice import BenchChoice
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.choices import BUILT_IN
from hil_mock_device.device import MockDevice
from hil_mock_device.faults.fault_script import load_fault_script
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.faults.outage import ControlListener, interrupted
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.choice import choose_listeners
from hil_mock_device.listeners.listener import Listener, MakeConversation
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.paced_chip import PacedChip, VectorPace
from hil_mock_device.profile import load_profile
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from hil_mock_device.server import serve
from hil_mock_device.silicon import Silicon


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipOptions:
    """Options of a simulated chip; None for those that are left out."""

    profile: str | None
    """Built-in profile, or path of a profile file."""
    seed: int | None
    """Which chip."""
    truth: Path | None
    """File that says what the chip really is."""
    fault_script: Path | None
    """File that says what goes wrong, and when."""
    control: str | None
    """``HOST:PORT`` of the control channel."""
    vector_s: float | None
    """Seconds that the chip takes for a vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Options of a recording; None for those that are left out."""

    folder: Path | None
    """Folder of the run."""
    speed: str | None
    """How many times as fast as recorded, or ``max``."""
    faults: str | None
    """``on`` or ``off``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """Where to listen; None for what is left out."""

    default: str
    """``HOST:PORT`` for raw TCP where nothing else is named."""
    tcp: str | None
    """``HOST:PORT`` for raw TCP."""
    hislip: str | None
    """``HOST:PORT`` for HiSLIP."""
    pty: Path | None
    """Link to make for the terminal of a serial line."""
    baud: int | None
    """Rate of that line."""
    as_json: bool
    """Whether it is announced as one JSON object."""


def serve_chosen(
    chip: ChipOptions, bench: BenchChoice, replay: ReplayOptions, where: ListenOptions
) -> None:
    """Serve a simulated chip, or a recording, until Ctrl-C.

    Raises
    ------
    ConfigError
        If options do not go together, or a profile, script or address is wrong.
    DatasetError
        If the recording is damaged.
    TransportError
        If an address cannot be listened at.
    """
    device = _chosen(chip, bench, replay)
    listeners = device.interrupted(
        choose_listeners(
            device.firmware,
            default=TcpAddress.parse(where.default),
            tcp=where.tcp,
            hislip=where.hislip,
            pty=where.pty,
            baud=where.baud,
        )
    )

    def announce(resources: Sequence[str]) -> None:
        if chip.truth is not None and isinstance(device.silicon, ChipModel):
            # Only now: a start that fails leaves no file behind.
            device.silicon.write_truth(chip.truth)
        names = [*([device.name] * len(listeners)), *device.beside]
        _announce(list(zip(names, resources, strict=True)), as_json=where.as_json)

    serve([*listeners, *device.beside.values()], device.make_conversation, on_ready=announce)


def _announce(served: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print the resource strings for programs; for people, on stderr, what each of them is."""
    if as_json:
        document = [{"name": name, "resource": resource} for name, resource in served]
        click.echo(json.dumps({"served": document}))
        return
    for name, resource in served:
        click.echo(f"serving {name} (Ctrl-C ends it):", err=True)
        click.echo(resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    name: str
    silicon: Silicon
    firmware: Firmware
    make_conversation: MakeConversation
    beside: Mapping[str, Listener] = field(default_factory=dict)
    interrupted: Callable[[list[Listener]], Sequence[Listener]] = list


def _chosen(chip: ChipOptions, bench: BenchChoice, replay: ReplayOptions) -> _Served:
    if replay.folder is None:
        if (replay.speed, replay.faults) != (None, None):
            raise ConfigError("--speed, --faults", [Problem("", "only a recording has these")])
        return _simulated(chip, bench)
    if any(value is not None for value in (*astuple(chip), *bench.addresses)):
        message = (
            "a recording has no --profile, --seed, --truth, --fault-script, --control, --vector-s, "
            "--chamber and --supply"
        )
        raise ConfigError("--replay", [Problem("", message)])
    return _recorded(replay.folder, speed=replay.speed or "1", faults=replay.faults or "on")


def _simulated(options: ChipOptions, choice: BenchChoice) -> _Served:
    chosen = load_profile(options.profile or BUILT_IN[0], base=Path())
    if options.seed is not None:
        chosen = chosen.model_copy(update={"seed": options.seed})
    fault_script, control = options.fault_script, options.control
    seconds = options.vector_s
    pace = None if seconds is None else VectorPace(seconds, time.monotonic)
    chip = ChipModel(chosen) if pace is None else PacedChip(chosen, pace)
    bench = choice.around(chip, seed=chosen.seed)
    beside: dict[str, Listener] = {}
    if fault_script is None and control is None:
        firmware = Firmware(chip)
        make_conversation: MakeConversation = partial(MockDevice, firmware)
        interruption: Callable[[list[Listener]], Sequence[Listener]] = list
    else:
        script = None if fault_script is None else load_fault_script(fault_script)
        faulty = FaultyDevice(chip, script)
        firmware, make_conversation = faulty.firmware, faulty.converse
        interruption = partial(interrupted, injector=faulty.injector)
        if bench is not None:
            faulty.share_time(bench.bench.let_pass)
        if control is not None:
            listener = TcpListener(TcpAddress.parse(control))
            beside["the mock's control channel"] = ControlListener(listener, faulty.control)
    if pace is not None:
        make_conversation = pace.around(make_conversation)
    if bench is not None:
        make_conversation = bench.around(make_conversation)
        beside |= {f"the mock {name}": listener for name, listener in bench.listeners.items()}
    return _Served(
        name=str(chip.identity),
        silicon=chip,
        firmware=firmware,
        make_conversation=make_conversation,
        beside=beside,
        interrupted=interruption,
    )


def _recorded(folder: Path, *, speed: str, faults: str) -> _Served:
    try:
        tempo = Tempo.parse(speed=speed, faults=faults)
    except ValueError as error:
        raise ConfigError("--speed", [Problem("", str(error))]) from error
    recorded = ReplayInstrument(Recording(open_directory(folder).read_steps()), tempo)
    return _Served(
        name=f"a recording of {folder}, {recorded.silicon.identity}",
        silicon=recorded.silicon,
        firmware=recorded.firmware,
        make_conversation=recorded.conversation,
    )
