"""``hil mock``: serving and describing the mock chip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.errors import ConfigError, Problem
from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_run
from hil_mock_device.bench_instruments.choice import BenchChoice
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.faults.fault_script import load_fault_script
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.faults.outage import ControlListener, interrupted
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.choice import choose_listeners
from hil_mock_device.listeners.listener import Listener, MakeConversation
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.profile import BUILT_IN, LARGEST_SEED, built_in_text, load_profile
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from hil_mock_device.server import serve
from hil_mock_device.silicon import Silicon

_DEFAULT = "127.0.0.1:5025"


@click.group()
def command() -> None:
    """Serve the mock chip, or a recording, as a device."""


@command.command("serve")
@click.option(
    "--tcp",
    show_default=_DEFAULT,
    help="HOST:PORT for raw TCP; port 0 takes any free one. The default holds if nothing is named.",
)
@click.option("--hislip", help="HOST:PORT for HiSLIP, whose registered port is 4880.")
@click.option(
    "--pty",
    type=click.Path(path_type=Path),
    help="LINK to make for the terminal of a serial line.",
)
@click.option("--baud", type=click.IntRange(min=1), help="Rate of that line, bits per second.")
@click.option(
    "--profile",
    help=f"Built-in profile, or path of a profile file ending in .toml; {BUILT_IN[0]} if left out.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=LARGEST_SEED),
    help="Which chip; the profile's if left out.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the simulated chip really is to this new .npz file.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="Serve the recording in this run folder instead of a simulated chip.",
)
@click.option(
    "--speed",
    help="Answer that recording's blocks so many times as fast as recorded, or at once with max; "
    "1 if left out.",
)
@click.option(
    "--faults",
    type=click.Choice(["on", "off"]),
    help="Whether recorded faults of the link happen again; on if left out.",
)
@click.option(
    "--fault-script",
    type=click.Path(path_type=Path),
    help="TOML file that says what goes wrong, and when.",
)
@click.option(
    "--control",
    help="HOST:PORT of the control channel: faults, and the chip's simulated time and temperature.",
)
@click.option(
    "--chamber", help="HOST:PORT of a thermal chamber around the chip; port 0 takes any free one."
)
@click.option("--supply", help="HOST:PORT of a supply that gives the chip its read voltage.")
@click.option(
    "--bench-speed",
    type=float,
    help="Seconds that pass for these two in a second; 1 if left out, 0 to stand still.",
)
@reports_errors
def serve_command(
    *,
    tcp: str | None,
    hislip: str | None,
    pty: Path | None,
    baud: int | None,
    profile: str | None,
    seed: int | None,
    truth: Path | None,
    replay: Path | None,
    speed: str | None,
    faults: str | None,
    fault_script: Path | None,
    control: str | None,
    chamber: str | None,
    supply: str | None,
    bench_speed: float | None,
) -> None:
    """Run the mock by itself until Ctrl-C.

    Any of --tcp, --hislip and --pty at once lead to the same instrument.

    A recording answers exactly what was recorded for the inputs that were recorded, and refuses
    every other request.

    --chamber and --supply are instruments of their own, at their own addresses, and act on the
    simulated chip.
    """
    choice = BenchChoice(chamber=chamber, supply=supply, speed=bench_speed)
    if replay is None:
        if (speed, faults) != (None, None):
            raise ConfigError("--speed, --faults", [Problem("", "only a recording has these")])
        device = _simulated(profile, seed, choice, fault_script=fault_script, control=control)
    elif (profile, seed, truth, fault_script, control, *choice.addresses) != (None,) * 5:
        message = (
            "a recording has no --profile, --seed, --truth, --fault-script, --control, --chamber "
            "and --supply"
        )
        raise ConfigError("--replay", [Problem("", message)])
    else:
        device = _recorded(replay, speed=speed or "1", faults=faults or "on")
    listeners = device.interrupted(
        choose_listeners(
            device.firmware,
            default=TcpAddress.parse(_DEFAULT),
            tcp=tcp,
            hislip=hislip,
            pty=pty,
            baud=baud,
        )
    )

    def announce(resources: Sequence[str]) -> None:
        if truth is not None and isinstance(device.silicon, ChipModel):
            # Only now: a start that fails leaves no file behind.
            device.silicon.write_truth(truth)
        names = [*([device.name] * len(listeners)), *device.beside]
        for name, resource in zip(names, resources, strict=True):
            click.echo(f"serving {name} at {resource} (Ctrl-C ends it)")

    served = [*listeners, *device.beside.values()]
    serve(served, device.make_conversation, on_ready=announce)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    name: str
    silicon: Silicon
    firmware: Firmware
    make_conversation: MakeConversation
    beside: Mapping[str, Listener] = field(default_factory=dict)
    interrupted: Callable[[list[Listener]], Sequence[Listener]] = list


def _simulated(
    profile: str | None,
    seed: int | None,
    choice: BenchChoice,
    *,
    fault_script: Path | None,
    control: str | None,
) -> _Served:
    chosen = load_profile(profile or BUILT_IN[0], base=Path())
    if seed is not None:
        chosen = chosen.model_copy(update={"seed": seed})
    chip = ChipModel(chosen)
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
        if control is not None:
            listener = TcpListener(TcpAddress.parse(control))
            beside["the mock's control channel"] = ControlListener(listener, faulty.control)
    bench = choice.around(chip, seed=chosen.seed)
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
    recorded = ReplayInstrument(Recording(open_run(folder).read_steps()), tempo)
    return _Served(
        name=f"a recording of {folder}, {recorded.silicon.identity}",
        silicon=recorded.silicon,
        firmware=recorded.firmware,
        make_conversation=recorded.conversation,
    )


@command.command("profile")
@click.argument("name", type=click.Choice(BUILT_IN), default=BUILT_IN[0])
def profile_command(name: str) -> None:
    """Print the built-in profile NAME, as a start for one of your own."""
    click.echo(built_in_text(name), nl=False)
