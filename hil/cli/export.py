"""``hil export``."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.cli.publish import publish
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export import EXPORTERS, ExportFormat
from hil_datasets.run_directory import open_run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "export_format",
    type=click.Choice([str(name) for name in ExportFormat]),
    required=True,
    help="Format of the file.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@reports_errors
def command(run: Path, export_format: str, output: Path, force: bool) -> None:  # noqa: FBT001
    """Write the coefficients of the folder RUN to a file.

    The same coefficients always give the same bytes.
    """
    coefficients = collect_coefficients(str(run), open_run(run).read_steps())
    content = EXPORTERS[ExportFormat(export_format)](coefficients)
    publish(content, output, may_replace=force)
    for tile in coefficients.tiles:
        if tile.nmpu_mismatches:
            click.echo(
                f"warning: {tile.key.name}: {tile.nmpu_mismatches} outputs of the device's NMPU "
                "differ from the integer model; do not trust these coefficients on that device",
                err=True,
            )
    click.echo(f"{len(coefficients.tiles)} tiles of {coefficients.chip}: {output}", err=True)
