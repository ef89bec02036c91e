"""``hil mock``: serving and describing the mock chip."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil_mock_device.choices import BUILT_IN, LARGEST_SEED, LONGEST_VECTOR_S, built_in_text

_DEFAULT = "127.0.0.1:5025"


@click.group(cls=SuggestingGroup)
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
@click.option(
    "--vector-s",
    type=click.FloatRange(min=0, max=LONGEST_VECTOR_S),
    help="Seconds that the simulated chip takes for a vector; as fast as it can if left out.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print names and resource strings as one JSON object."
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
    vector_s: float | None,
    as_json: bool,
) -> None:
    """Run the mock by itself until Ctrl-C.

    Prints a resource string for each way in on a line of its own: the chip's by --tcp, --hislip and
    --pty, then the control channel, the chamber and the supply. What each is goes to stderr.

    Any of --tcp, --hislip and --pty at once lead to the same instrument.

    A recording answers exactly what was recorded for the inputs that were recorded, and refuses
    every other request.

    --chamber and --supply are instruments of their own, at their own addresses, and act on the
    simulated chip.
    """
    from hil.cli.mock_served import ChipOptions, ListenOptions, ReplayOptions, serve_chosen
    from hil_mock_device.bench_instruments.choice import BenchChoice

    serve_chosen(
        ChipOptions(
            profile=profile,
            seed=seed,
            truth=truth,
            fault_script=fault_script,
            control=control,
            vector_s=vector_s,
        ),
        BenchChoice(chamber=chamber, supply=supply, speed=bench_speed),
        ReplayOptions(folder=replay, speed=speed, faults=faults),
        ListenOptions(
            default=_DEFAULT, tcp=tcp, hislip=hislip, pty=pty, baud=baud, as_json=as_json
        ),
    )


@command.command("profile")
@click.argument("name", type=click.Choice(BUILT_IN), default=BUILT_IN[0])
def profile_command(name: str) -> None:
    """Print the built-in profile NAME, as a start for one of your own."""
    click.echo(built_in_text(name), nl=False)
