"""``hil info``."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--details",
    "has_details",
    is_flag=True,
    help="Show every core, every reason of a visit and every flagged column.",
)
@reports_errors
def command(*, run: Path, as_json: bool, has_details: bool) -> None:
    """Print what RUN holds, a folder or packed file: chip, steps, errors, flagged columns."""
    from hil.cli.output import echo_run
    from hil_datasets.opened import open_source

    echo_run(open_source(run), as_json=as_json, has_details=has_details)
