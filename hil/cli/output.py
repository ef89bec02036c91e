"""What commands print on stdout: a run as tables, or as JSON."""

import json
from dataclasses import asdict

import click
from rich.console import Console

from hil.report.summary import RunSummary, summarize_run
from hil.report.table import print_summary
from hil_datasets.run_directory import RunDirectory

_NARROWEST = 100
"""Characters that the widest line needs; a pipe has no width of its own."""


def echo_run(run: RunDirectory, *, as_json: bool) -> RunSummary:
    """Print a run."""
    summary = summarize_run(run)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=1))
        return summary
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, _NARROWEST))
    print_summary(summary, console)
    for what, path in (
        ("coefficients and index", run.index_path),
        ("readouts per step", run.path / "steps"),
        ("journal", run.journal_path),
    ):
        if path.exists():
            console.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    return summary
