"""``hil mock``: serving and describing the mock chip."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.errors import ConfigError, Problem
from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_run
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.player import RecordedChip
from hil_mock_device.profile import BUILT_IN, LARGEST_SEED, built_in_text, load_profile
from hil_mock_device.server import TcpAddress, serve
from hil_mock_device.silicon import Silicon


@click.group()
def command() -> None:
    """Serve the mock chip, or a recording, as a device."""


@command.command("serve")
@click.option(
    "--tcp",
    default="127.0.0.1:5025",
    show_default=True,
    help="HOST:PORT to listen on; port 0 takes any free one.",
)
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
@reports_errors
def serve_command(
    tcp: str, profile: str | None, seed: int | None, truth: Path | None, replay: Path | None
) -> None:
    """Run the mock by itself until Ctrl-C.

    A recording answers exactly what was recorded for the inputs that were recorded, and refuses
    every other request.
    """
    address = TcpAddress.parse(tcp)
    silicon: Silicon
    if replay is not None:
        if (profile, seed, truth) != (None, None, None):
            message = "a recording has no --profile, no --seed and no --truth"
            raise ConfigError("--replay", [Problem("", message)])
        silicon = RecordedChip(Recording(open_run(replay).read_steps()))
    else:
        chosen = load_profile(profile or BUILT_IN[0], base=Path())
        if seed is not None:
            chosen = chosen.model_copy(update={"seed": seed})
        silicon = ChipModel(chosen)

    what = "" if replay is None else f"a recording of {replay}, "

    def announce(resource: str) -> None:
        if truth is not None and isinstance(silicon, ChipModel):
            # Only now: a start that fails leaves no file behind.
            silicon.write_truth(truth)
        click.echo(f"serving {what}{silicon.identity} at {resource} (Ctrl-C ends it)")

    serve(silicon, address, on_ready=announce)


@command.command("profile")
@click.argument("name", type=click.Choice(BUILT_IN), default=BUILT_IN[0])
def profile_command(name: str) -> None:
    """Print the built-in profile NAME, as a start for one of your own."""
    click.echo(built_in_text(name), nl=False)
