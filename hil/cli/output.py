"""What commands print on stdout: a run as tables, or as JSON."""

import json
from dataclasses import asdict

import click
from rich.console import Console

from hil.report.summary import RunSummary, summarize_run
from hil.report.table import print_summary
from hil_datasets.run_directory import RunDirectory

_NARROWEST = 75
"""Characters that the table needs."""
_NARROWEST_PIPE = 100
"""Characters that most other lines need; a pipe has no width of its own."""


def echo_run(run: RunDirectory, *, as_json: bool) -> RunSummary:
    """Print a run."""
    summary = summarize_run(run)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=1))
        return summary
    console = Console()
    # A narrow terminal wraps lines, which is ugly; it must not shorten numbers.
    narrowest = _NARROWEST if console.is_terminal else _NARROWEST_PIPE
    console = Console(width=max(console.width, narrowest))
    print_summary(summary, console)
    for what, path in (
        ("coefficients and index", run.index_path),
        ("readouts per step", run.path / "steps"),
        ("journal", run.journal_path),
    ):
        if path.exists():
            console.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    return summary
