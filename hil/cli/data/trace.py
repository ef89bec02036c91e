"""``hil data trace``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from hil.cli.choice_options import choice_options
from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import quoted

_MODES = ("one_phase", "four_phase")


def _check_id(_: click.Context, __: click.Parameter, prefix: str | None) -> str | None:
    if prefix is not None and not re.fullmatch("[0-9a-fA-F]{6,64}", prefix):
        raise click.BadParameter(f"{quoted(prefix)} must be 6 to 64 hexadecimal digits")
    return None if prefix is None else prefix.lower()


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--core", type=click.IntRange(min=0), help="Core of the coefficient.")
@click.option("--column", type=click.IntRange(min=0), help="Column of the coefficient.")
@click.option("--mode", type=click.Choice(_MODES), help="Read mode, where the core has both.")
@choice_options()
@click.option("--step", metavar="NAME", help="A step by its name, of any kind.")
@click.option(
    "--id",
    "prefix",
    metavar="HEX",
    callback=_check_id,
    help="Find what has this id, or one that begins so, in all PATHS.",
)
@click.option(
    "--export",
    "exported_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Find what an exported file comes from, in all PATHS.",
)
@click.option(
    "--map",
    "map_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Register map of an exported image; the example's if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(
    paths: tuple[Path, ...],
    *,
    core: int | None,
    column: int | None,
    mode: str | None,
    at: dict[str, float],
    visit: int | None,
    newest: bool,
    step: str | None,
    prefix: str | None,
    exported_path: Path | None,
    map_path: Path | None,
    as_json: bool,
) -> None:
    """Show what a coefficient was made from, back to the raw counts, and check every link.

    PATHS are folders of runs, packed files, or folders that hold such. With --core and --column
    the way back from one coefficient is shown, of one run; with --id or --export the run is found
    first. Exits with 0 if every link holds, with 1 if one is broken or nothing was found.
    """
    from hil.cli.data.trace_found import show_export, show_found
    from hil.cli.data.trace_shown import WantedCoefficient, only_run, show_trace
    from hil_datasets.calibration_choice import CalibrationChoice

    wanted = WantedCoefficient(
        core=core,
        column=column,
        mode=mode,
        step=step,
        choice=CalibrationChoice(at=at, visit=visit, newest=newest),
    )
    if prefix is not None and exported_path is not None:
        raise click.UsageError("give --id or --export, not both")
    if prefix is not None:
        is_good = show_found(paths, prefix, as_json=as_json)
    elif exported_path is not None:
        is_good = show_export(paths, exported_path, map_path, wanted, as_json=as_json)
    else:
        wanted.check()
        is_good = show_trace(only_run(paths), wanted, as_json=as_json)
    raise SystemExit(ExitCode.DONE if is_good else ExitCode.SOME_FAILED)
