"""``hil explore``."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.core_options import core_options
from hil.cli.errors import reports_errors
from hil.cli.network_options import network_options, refuse_beside_demo
from hil.cli.scale_options import scale_options_every_core
from hil.core.errors import CalibrationError, ConfigError, Problem
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.core.nmpu_format import NmpuFormat
    from hil.explore.grid import Sweep
    from hil.explore.summary import StudySummary

_MOCK = "mock://"
_BY_ACCURACY = "accuracy"
_ACCURACY = "hil explore --metric accuracy"
_NARROWEST = 100
"""Characters that the widest line needs; a pipe has no width of its own."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What was asked for."""

    source: str
    folder: Path
    grid_name: str
    sweeps: tuple[Sweep, ...]
    cores: tuple[int, ...]
    read_modes: tuple[ReadMode, ...]
    workers: int
    cluster: str | None
    network: dict[str, Any]
    """The options that name a network and its images; None, or False, where left out."""


@click.command()
@click.argument("source", metavar="RUN|CAMPAIGN.toml|mock://PROFILE")
@click.option("--grid", type=click.Path(path_type=Path), help="TOML file that lists the formats.")
@click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="NAME=V1,V2",
    help="Values of one parameter, as in off_bits=4,6,8 or 4..8; several are combined.",
)
@core_options
@click.option(
    "--metric",
    type=click.Choice(["error", _BY_ACCURACY]),
    default="error",
    show_default=True,
    help="What a format is judged by: the error of the cores, or the accuracy of a network.",
)
@network_options
@scale_options_every_core
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the study; SOURCE-explore, or SOURCE-explore-accuracy, if left out. A study in "
    "it is continued.",
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
    source: str,
    grid: Path | None,
    axes: tuple[str, ...],
    read_modes: tuple[str, ...],
    metric: str,
    out: Path | None,
    as_json: bool,
    plots: tuple[Path, ...],
    cores: tuple[int, ...],
    workers: int,
    cluster: str | None,
    **network: Any,
) -> None:
    """Study which widths an NMPU needs: error against register bits, on recorded readouts.

    Calibrates every format of a grid from the readouts of the folder RUN (or of a run of
    CAMPAIGN.toml or of mock://PROFILE, made first), measures its error on the held-out vectors,
    and prints the formats worth their bits. With --metric accuracy a network on that chip judges
    instead; a mock is then computed, not run. The same command goes on where it was stopped.
    """
    from hil.explore.source import default_folder
    from hil.report.figure_file import check_plot
    from hil.report.precision_plot import plot_study

    for plot in plots:
        check_plot(plot)
    asked = _Asked(
        source=source,
        folder=out or default_folder(source, by_accuracy=metric == _BY_ACCURACY),
        grid_name=_grid_name(grid, axes),
        sweeps=_sweeps(grid, axes),
        cores=cores,
        read_modes=tuple(ReadMode(mode) for mode in read_modes),
        workers=workers,
        cluster=cluster,
        network=network,
    )
    with _leaves_no_empty_folder(asked.folder):
        summary, evaluated, known = (_by_accuracy if metric == _BY_ACCURACY else _by_error)(asked)
    for plot in plots:
        plot_study(summary, plot)
    _echo(summary, asked.folder, as_json=as_json)
    click.echo(f"{evaluated} results computed, {known} known before: {asked.folder}", err=True)
    if not any(mode.formats for mode in summary.read_modes):
        raise CalibrationError(f"no format holds this chip: {summary.refused[0].reason}")


@contextmanager
def _leaves_no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a study which then could not begin."""
    was_there = folder.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            with suppress(OSError):  # it holds something, or was not made
                folder.rmdir()
        raise


def _sweeps(grid: Path | None, axes: tuple[str, ...]) -> tuple[Sweep, ...]:
    from hil.explore.grid import DEFAULT_GRID, load_grid, parse_axes

    if grid is not None and axes:
        raise ConfigError("--grid", [Problem("", "and --axis exclude each other; use one")])
    return load_grid(grid) if grid else parse_axes(axes) if axes else DEFAULT_GRID


def _by_error(asked: _Asked) -> tuple[StudySummary, int, int]:
    """Return a study by the error of the cores, how many results are new, and how many old."""
    from hil.cli.explore_progress import StudyBar
    from hil.explore.grid import enumerate_formats
    from hil.explore.study import read_study, run_study
    from hil.explore.summary import summarize_study

    for name, value in asked.network.items():
        if value:
            option = "--" + name.replace("_", "-")
            message = "names what --metric accuracy judges by; give that, too, or leave it out"
            raise ConfigError(option, [Problem("", message)])
    study = read_study(_recorded(asked), cores=asked.cores, read_modes=asked.read_modes)
    candidates = enumerate_formats(study.base, asked.sweeps, source=asked.grid_name)
    with StudyBar(asked.folder) as bar:
        outcome = run_study(
            study,
            candidates,
            out=asked.folder,
            workers=asked.workers,
            cluster=asked.cluster,
            observer=bar,
        )
    known = len(outcome.results) - outcome.evaluated
    return summarize_study(outcome), outcome.evaluated, known


def _by_accuracy(asked: _Asked) -> tuple[StudySummary, int, int]:
    """Return a study by the accuracy of a network, how many results are new, and how many old."""
    from hil.cli.explore_progress import StudyBar
    from hil.explore.grid import enumerate_formats
    from hil.explore.store import check_usable

    if asked.cores:
        message = "and --metric accuracy exclude each other: the network takes the cores it needs"
        raise ConfigError("--core", [Problem("", message)])
    from hil.explore.accuracy import read_accuracy_study, run_accuracy_study
    from hil.explore.accuracy_summary import summarize_accuracy
    from hil.inference.evaluations.asked import asked_request
    from hil.inference.findings.store import DEMO
    from hil.inference.libraries import load_library, load_torch

    load_torch(purpose=_ACCURACY)
    network = dict(asked.network)
    if network.pop("demo"):
        refuse_beside_demo(network)
        network["model"] = DEMO
    request = asked_request(network | _chip(asked), asked.folder)
    check_usable(asked.folder)
    read_modes, base = _reading(asked)
    if network["model"] == DEMO:
        load_library("sklearn.datasets", purpose=_ACCURACY, package="scikit-learn")
        _make_demo(asked.folder / DEMO)
    study = read_accuracy_study(request.network, request.chip, read_modes=read_modes, base=base)
    candidates = enumerate_formats(study.base, asked.sweeps, source=asked.grid_name)
    with StudyBar(asked.folder) as bar:
        outcome = run_accuracy_study(
            study,
            candidates,
            out=asked.folder,
            workers=asked.workers,
            cluster=asked.cluster,
            observer=bar,
        )
    known = len(outcome.results) - outcome.evaluated
    return summarize_accuracy(outcome), outcome.evaluated, known


def _make_demo(folder: Path) -> None:
    """Train the demo's network, once."""
    from hil.explore.accuracy import use_one_thread
    from hil.inference.demo import demo_files, write_demo

    files = demo_files(folder)
    if not all(path.exists() for path in (files.weights, files.images, files.training_images)):
        use_one_thread()
        folder.mkdir(exist_ok=True)
        write_demo(folder)


def _chip(asked: _Asked) -> dict[str, Any]:
    """Return the options that name the chip; the run of a campaign need not be there yet."""
    from hil.explore.source import is_measured_first
    from hil.explore.store import RUN_FOLDER

    if asked.source.startswith(_MOCK):
        return {"device": asked.source}
    is_measured = is_measured_first(asked.source)
    return {"run": asked.folder / RUN_FOLDER if is_measured else Path(asked.source)}


def _reading(asked: _Asked) -> tuple[tuple[ReadMode, ...], NmpuFormat | None]:
    """Return how the chip is read, and the base format; a run says both, and is made first."""
    from hil.explore.study import read_study

    if asked.source.startswith(_MOCK):
        return asked.read_modes, None
    study = read_study(_recorded(asked), read_modes=asked.read_modes)
    return tuple(sorted({step.key.read_mode for step in study.steps})), study.base


def _recorded(asked: _Asked) -> Path:
    """Return the run to study; of a campaign, or a mock, it is made first, once."""
    from hil.campaign.runner import utc_now
    from hil.cli.progress import ProgressBar
    from hil.explore.source import is_measured_first, run_once

    if not is_measured_first(asked.source):
        return Path(asked.source)
    with ProgressBar() as progress:
        return run_once(asked.source, out=asked.folder, observer=progress, now=utc_now).path


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
