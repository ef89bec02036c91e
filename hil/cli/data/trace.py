"""``hil data trace``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from hil.cli.choice_options import choice_options
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import quoted

_MODES = ("one_phase", "four_phase")


def _check_ids(_: click.Context, __: click.Parameter, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    digits = [prefix.lower().removeprefix("sha256:") for prefix in prefixes]
    for prefix, given in zip(digits, prefixes, strict=True):
        if not re.fullmatch("[0-9a-f]{6,64}", prefix):
            message = f"{quoted(given)} must be 6 to 64 hexadecimal digits, with sha256: or without"
            raise click.BadParameter(message)
    return tuple(dict.fromkeys(digits))


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--core", type=click.IntRange(min=0), help="Core of the coefficient.")
@click.option("--column", type=click.IntRange(min=0), help="Column of the coefficient.")
@click.option(
    "--read-mode",
    "mode",
    type=click.Choice(_MODES),
    help="Read mode; each that the core has if left out.",
)
@choice_options()
@click.option("--step", metavar="NAME", help="A step by its name, of any kind.")
@click.option(
    "--among",
    "among",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where the runs are that the run was fitted again, replayed or packed from, or the files "
    "that it was converted from. May be repeated.",
)
@click.option(
    "--id",
    "prefixes",
    metavar="HEX",
    multiple=True,
    callback=_check_ids,
    help="Find what has this id, or one that begins so, in all PATHS. May be repeated.",
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
@gives_verdict
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
    among: tuple[Path, ...],
    prefixes: tuple[str, ...],
    exported_path: Path | None,
    map_path: Path | None,
    as_json: bool,
) -> None:
    """Show what a coefficient was made from, back to the raw counts, and check every link.

    PATHS are folders of runs, packed files, or folders that hold such. With --core and --column
    the way back from one coefficient is shown, of one run; with --id or --export the run is found
    first. From a run that was made from another one the way goes on in that, if --among says where
    it is; so is the run found that `hil evaluate` was given. Exits with 0 if every link holds, with
    1 if one is broken or something was not found.
    """
    from hil.cli.data.evaluations import only_evaluations, trace_evaluation
    from hil.cli.data.trace_found import read_runs, show_export, show_found
    from hil.cli.data.trace_shown import (
        SearchPlaces,
        WantedCoefficient,
        find_chains,
        only_run,
        show_chains,
    )
    from hil_datasets.calibration_choice import CalibrationChoice

    wanted = WantedCoefficient(
        core=core,
        column=column,
        mode=mode,
        step=step,
        choice=CalibrationChoice(at=at, visit=visit, newest=newest),
    )
    if prefixes and exported_path is not None:
        raise click.UsageError("give --id or --export, not both")
    if prefixes:
        is_good = show_found((*paths, *among), prefixes, as_json=as_json)
    elif exported_path is not None:
        is_good = show_export((*paths, *among), exported_path, map_path, wanted, as_json=as_json)
    elif len(paths) == 1 and (evaluations := only_evaluations(paths)):
        is_good = trace_evaluation(evaluations[0], among, as_json=as_json)
    else:
        wanted.check()
        run = only_run(paths)
        places = SearchPlaces(runs=read_runs(among, may_be_none=True), folders=among)
        is_good = show_chains(find_chains(run, wanted, places), as_json=as_json)
    raise SystemExit(ExitCode.DONE if is_good else ExitCode.SOME_FAILED)
