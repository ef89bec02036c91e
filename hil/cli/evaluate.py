"""``hil evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import reports_errors
from hil.cli.network_options import OF_THE_DEMO, network_options, refuse_beside_demo
from hil.cli.scale_options import scale_options
from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.inference.findings.summary import EvaluationSummary

_STDOUT = "-"
_NARROWEST = 100
"""Characters that the tables need: a narrower terminal wraps their lines, numbers stay whole."""
_OWN_OPTIONS = frozenset({"config", "demo", "json_path", "plots", "force"})
"""Options of the command alone: a request knows nothing of them."""


def _words(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Read words with commas between them; a click callback."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _ages(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    """Read ages with commas between them; a click callback."""
    words = _words(context, parameter, text)
    if words == ():
        raise click.BadParameter("names no age: write 1h,1d, or fresh for no other age")
    return () if words == ("fresh",) else words


def _chip_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--torch-device", type=click.Choice(["cpu", "cuda"]),
                     help="Where a model computes; cpu if left out."),
        click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.01, max=3600),
                     help="How long an answer of the chip may take, seconds; 10 if left out."),
        click.option("--driver", help="The chip's driver; aimc-board if left out."),
        click.option("--read-mode", type=click.Choice(["one_phase", "four_phase"]),
                     help="How the chip reads; four_phase if left out, or what RUN has."),
        click.option("--backend", type=click.Choice(["model", "device", "ideal"]),
                     help="Who multiplies: a model of the chip, the chip, exact arithmetic."),
        click.option("--coefficients", metavar="RUN", type=click.Path(path_type=Path),
                     help="Run whose stored coefficients the chip begins with; calibrated anew if "
                     "left out."),
        click.option("--device", metavar="RESOURCE", help="Chip; mock://PROFILE simulates one."),
        click.option("--run", type=click.Path(path_type=Path),
                     help="Run of a chip: its measured transfer and noise multiply."),
    ):  # fmt: skip
        function = option(function)
    return function


def _evaluation_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1),
                     help="Of samples, noise and bootstrap; 0 if left out."),
        click.option("--sums", type=click.Choice(["int8", "float"]),
                     help="How residual tensors are added; int8 if left out."),
        click.option("--switch-off", is_flag=True, default=None,
                     help="Judge a simulated chip without each of its flaws, too."),
        click.option("--ranges",
                     type=click.Choice(["max", "percentile", "moving-average", "search"]),
                     help="How input ranges are chosen; percentile if left out."),
        click.option("--format", "parameters", metavar="NAME=V,...",
                     help="Parameters of the NMPU's format: scale_frac=5,off_bits=6."),
        click.option("--preset", metavar="NAME",
                     help="Format of the NMPU, as hil nmpu presets lists them."),
        click.option("--treatments", callback=_words, metavar="NAME,NAME",
                     help="Of kept, recalibrated, adabs, at these ages, and fresh with "
                     "--coefficients; all if left out."),
        click.option("--drift", callback=_ages, metavar="AGE,AGE",
                     help="Ages of the weights besides fresh: 1h,1d,30d; fresh: no other, "
                     "whatever a file says."),
        click.option("--corrections", callback=_words, metavar="NAME,NAME",
                     help="Of none, global, float, fp16, nmpu; all if left out."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@click.argument("config", metavar="[FILE.toml]", required=False, type=click.Path(path_type=Path))
@network_options
@_chip_options
@_evaluation_options
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the evaluation; NAME-evaluate if left out. One in it is continued.",
)
@click.option(
    "--json",
    "json_path",
    metavar="[FILE]",
    is_flag=False,
    flag_value=_STDOUT,
    help="Write the result to FILE; to stdout if FILE is left out, or -.",
)
@click.option(
    "--plot",
    "plots",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Draw accuracy against age into this .png or .svg.",
)
@click.option("--force", is_flag=True, help="Replace the files of --json and --plot.")
@scale_options
@reports_errors
def command(*, workers: int, cluster: str | None, **options: Any) -> None:
    """Evaluate a trained network on a chip: its accuracy with each correction, today and later.

    The network, the images and the chip are named by options, by FILE.toml, or by both: an option
    replaces what the file says. The same command goes on where it was stopped.
    """
    from hil.cli.evaluate_progress import EvaluationBar
    from hil.inference.evaluations.asked import asked_request
    from hil.inference.evaluations.running import run_evaluation
    from hil.report.figure_file import check_plot

    asked = _asked(options)
    out = _folder(asked, options["config"])
    json_path, plots = options["json_path"], options["plots"]
    for plot in plots:
        check_plot(plot)
    for path in (*plots, *((Path(json_path),) if json_path not in {None, _STDOUT} else ())):
        _check_target(path, may_replace=options["force"])
    request = asked_request(asked, out)
    is_quiet = json_path == _STDOUT
    with EvaluationBar(out, is_quiet=is_quiet) as bar:
        summary = run_evaluation(request, out, bar, workers=workers, cluster=cluster)
    for plot in plots:
        _draw(summary, plot)
    _write_json(summary, json_path, may_replace=options["force"])
    if is_quiet:
        for note in summary.notes:
            click.echo(printable(f"note: {note}"), err=True)
    else:
        _print_tables(summary, out)


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the file says and options replace, by the names of the options."""
    from hil.inference.evaluations.request_file import read_request_file, require_files
    from hil.inference.findings.store import DEMO

    config = options["config"]
    given = {
        name: value
        for name, value in options.items()
        if value is not None and name not in _OWN_OPTIONS
    }
    if options["demo"]:
        refuse_beside_demo(given)
        given["model"] = DEMO
    if config is None:
        return given
    said = read_request_file(config)
    if given.keys() & {"run", "device"} or given.get("backend") == "ideal":
        said |= {"run": None, "device": None, "base": None}
    if given.get("backend") == "ideal":
        said["coefficients"] = None
    if options["demo"]:
        said |= dict.fromkeys(OF_THE_DEMO[1:])
    asked = said | given
    require_files(asked, source=str(config))
    return asked


def _folder(asked: dict[str, Any], config: Path | None) -> Path:
    from hil.cli.publish import refuse_inside_run

    named = asked.get("out")
    if named is None:
        run = asked.get("run")
        source = config or run
        stem = "demo" if asked.get("model") == "demo" else Path(str(asked.get("model"))).stem
        name = stem.replace(":", "-") if source is None else source.absolute().name.split(".")[0]
        named = Path(f"{name}-evaluate") if run is None else run.with_name(f"{name}-evaluate")
    out = Path(named)
    refuse_inside_run(out)
    return out


def _check_target(path: Path, *, may_replace: bool) -> None:
    from hil.cli.publish import refuse_inside_run

    refuse_inside_run(path)
    problem = ""
    if path.exists() and not may_replace:
        problem = "exists; use --force to replace it"
    elif not path.absolute().parent.is_dir():
        problem = f"the folder {path.parent} does not exist"
    if problem:
        raise ConfigError(str(path), [Problem("", problem)])


def _draw(summary: EvaluationSummary, plot: Path) -> None:
    from hil.report.accuracy_plot import plot_evaluation

    plot_evaluation(summary, plot)


def _write_json(summary: EvaluationSummary, json_path: str | None, *, may_replace: bool) -> None:
    from hil.cli.publish import publish

    if json_path is None:
        return
    text = json.dumps(summary.to_dict(), indent=1, allow_nan=False) + "\n"
    if json_path == _STDOUT:
        click.echo(text, nl=False)
    else:
        publish(text.encode(), Path(json_path), may_replace=may_replace)


def _print_tables(summary: EvaluationSummary, out: Path) -> None:
    from hil.cli.output import table_console
    from hil.inference.findings.store import RESULT_FILE
    from hil.report.evaluation_table import print_evaluation

    console = table_console()
    console.width = max(console.width, _NARROWEST)
    print_evaluation(summary, console)
    console.print(f"results: {out / RESULT_FILE}", highlight=False, markup=False, soft_wrap=True)
