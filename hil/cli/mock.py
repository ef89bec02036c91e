"""``hil mock``: serving and describing the mock chip."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.errors import ConfigError, Problem
from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_run
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.choice import choose_listeners
from hil_mock_device.listeners.listener import MakeConversation
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
) -> None:
    """Run the mock by itself until Ctrl-C.

    Any of --tcp, --hislip and --pty at once lead to the same instrument.

    A recording answers exactly what was recorded for the inputs that were recorded, and refuses
    every other request.
    """
    if replay is not None and (profile, seed, truth) != (None, None, None):
        message = "a recording has no --profile, no --seed and no --truth"
        raise ConfigError("--replay", [Problem("", message)])
    silicon: Silicon
    make_conversation: MakeConversation
    if replay is None:
        if (speed, faults) != (None, None):
            raise ConfigError("--speed, --faults", [Problem("", "only a recording has these")])
        silicon = _simulated(profile, seed)
        firmware = Firmware(silicon)
        make_conversation = partial(MockDevice, firmware)
    else:
        recorded = _recorded(replay, speed=speed or "1", faults=faults or "on")
        silicon, firmware = recorded.silicon, recorded.firmware
        make_conversation = recorded.conversation
    listeners = choose_listeners(
        firmware, default=TcpAddress.parse(_DEFAULT), tcp=tcp, hislip=hislip, pty=pty, baud=baud
    )
    what = "" if replay is None else f"a recording of {replay}, "

    def announce(resources: Sequence[str]) -> None:
        if truth is not None and isinstance(silicon, ChipModel):
            # Only now: a start that fails leaves no file behind.
            silicon.write_truth(truth)
        for resource in resources:
            click.echo(f"serving {what}{silicon.identity} at {resource} (Ctrl-C ends it)")

    serve(listeners, make_conversation, on_ready=announce)


def _simulated(profile: str | None, seed: int | None) -> Silicon:
    chosen = load_profile(profile or BUILT_IN[0], base=Path())
    return ChipModel(chosen if seed is None else chosen.model_copy(update={"seed": seed}))


def _recorded(folder: Path, *, speed: str, faults: str) -> ReplayInstrument:
    try:
        tempo = Tempo.parse(speed=speed, faults=faults)
    except ValueError as error:
        raise ConfigError("--speed", [Problem("", str(error))]) from error
    return ReplayInstrument(Recording(open_run(folder).read_steps()), tempo)


@command.command("profile")
@click.argument("name", type=click.Choice(BUILT_IN), default=BUILT_IN[0])
def profile_command(name: str) -> None:
    """Print the built-in profile NAME, as a start for one of your own."""
    click.echo(built_in_text(name), nl=False)
