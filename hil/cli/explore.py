"""``hil explore``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from hil.cli.errors import reports_errors
from hil.cli.scale_options import scale_options_every_core
from hil.core.errors import CalibrationError, ConfigError, Problem, WorkerLostError
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from types import TracebackType

    from hil.explore.evaluate import FormatResult
    from hil.explore.summary import StudySummary

_NARROWEST = 100
"""Characters that the widest line needs; a pipe has no width of its own."""


class _StudyBar:
    """A `StudyObserver` that draws a bar with the time left; silent if stderr is no terminal."""

    def __init__(self, out: Path) -> None:
        from rich.progress import MofNCompleteColumn

        from hil.cli.progress import draw_bar

        self._out = out
        self._progress = draw_bar(MofNCompleteColumn())
        self._task = self._progress.add_task("reading", total=None)

    def on_start(self, *, missing: int, stored: int) -> None:
        """Take note of how much there is to do."""
        self._progress.update(self._task, total=missing + stored, completed=stored)

    def on_result(self, result: FormatResult) -> None:
        """Advance."""
        self._progress.update(self._task, description=result.step, advance=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if isinstance(error, KeyboardInterrupt | WorkerLostError):
            click.echo(
                f"stopped early; finished results are in {self._out}: the same command goes on",
                err=True,
            )


@click.command()
@click.argument("source", metavar="RUN|CAMPAIGN.toml", type=click.Path(path_type=Path))
@click.option("--grid", type=click.Path(path_type=Path), help="TOML file that lists the formats.")
@click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="NAME=V1,V2",
    help="Values of one parameter, as in off_bits=4,6,8 or 4..8; several are combined.",
)
@click.option("--core", "cores", type=click.IntRange(min=0), multiple=True, help="Only this core.")
@click.option(
    "--read-mode",
    "read_modes",
    type=click.Choice([str(mode) for mode in ReadMode]),
    multiple=True,
    help="Only this read mode.",
)
@scale_options_every_core
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the study; SOURCE-explore if left out. A study in it is continued.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--plot",
    "plots",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Draw error against bits into this .png or .svg, replacing it.",
)
@reports_errors
def command(
    *,
    source: Path,
    grid: Path | None,
    axes: tuple[str, ...],
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    workers: int,
    cluster: str | None,
    out: Path | None,
    as_json: bool,
    plots: tuple[Path, ...],
) -> None:
    """Study which widths an NMPU needs: error against register bits, on recorded readouts.

    Calibrates every format of a grid from the readouts of the folder RUN (or of a run of
    CAMPAIGN.toml, made first), measures its error on the held-out vectors, and prints the formats
    worth their bits. The same command goes on where it was stopped.
    """
    from hil.explore.grid import DEFAULT_GRID, enumerate_formats, load_grid, parse_axes
    from hil.explore.source import default_folder
    from hil.explore.study import read_study, run_study
    from hil.explore.summary import summarize_study
    from hil.report.precision_plot import check_plot, plot_study

    if grid is not None and axes:
        raise ConfigError("--grid", [Problem("", "and --axis exclude each other; use one")])
    sweeps = load_grid(grid) if grid else parse_axes(axes) if axes else DEFAULT_GRID
    for plot in plots:
        check_plot(plot)
    folder = out or default_folder(source)
    run = _recorded(source, folder)
    study = read_study(run, cores=cores, read_modes=[ReadMode(mode) for mode in read_modes])
    candidates = enumerate_formats(study.base, sweeps, source=_grid_name(grid, axes))
    with _StudyBar(folder) as bar:
        outcome = run_study(
            study,
            candidates,
            out=folder,
            workers=workers,
            cluster=cluster,
            observer=bar,
        )
    summary = summarize_study(outcome)
    for plot in plots:
        plot_study(summary, plot)
    _echo(summary, folder, as_json=as_json)
    known = len(outcome.results) - outcome.evaluated
    click.echo(f"{outcome.evaluated} results computed, {known} known before: {folder}", err=True)
    if not any(mode.formats for mode in summary.read_modes):
        raise CalibrationError(f"no format holds this chip: {summary.refused[0].reason}")


def _recorded(source: Path, folder: Path) -> Path:
    """Return the run to study; of a campaign it is made first, once."""
    from hil.campaign.runner import utc_now
    from hil.cli.progress import ProgressBar
    from hil.explore.source import is_campaign, run_once

    if not is_campaign(source):
        return source
    with ProgressBar() as progress:
        return run_once(source, out=folder, observer=progress, now=utc_now).path


def _grid_name(grid: Path | None, axes: tuple[str, ...]) -> str:
    return str(grid) if grid else " ".join(f"--axis {axis}" for axis in axes) or "default grid"


def _echo(summary: StudySummary, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=1))
        return
    from rich.console import Console

    from hil.report.precision_table import print_study

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, _NARROWEST))
    print_study(summary, console)
    console.print(f"results: {folder / 'results.jsonl'}", highlight=False, soft_wrap=True)
