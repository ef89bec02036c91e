"""``hil data info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable

_WIDTH = 22


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(*, path: Path, as_json: bool) -> None:
    """Show what PATH takes on the disk and what names it: versions, sizes, ids, times.

    PATH is the folder of a run, a packed file, a step file, an index, or what `hil evaluate` left.
    `hil info` shows what was found.
    """
    from hil.inference.findings.stored_evaluation import evaluation_facts, find_evaluation
    from hil_datasets.storage_facts import storage_facts

    evaluation = find_evaluation(path)
    facts = storage_facts(path) if evaluation is None else evaluation_facts(evaluation)
    if as_json:
        click.echo(json.dumps(facts, indent=1, allow_nan=False))
        return
    for name, value in facts.items():
        if name == "by_kind":
            for kind, told in value.items():
                files = f"{told['files']} file{'' if told['files'] == 1 else 's'}"
                click.echo(f"  {kind:{_WIDTH - 2}} {told['bytes']:>15,} bytes in {files}")
        else:
            click.echo(printable(f"{name:{_WIDTH}} {_shown(name, value)}"))


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not known"
    if name.endswith("bytes"):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{count} {what}" for what, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
