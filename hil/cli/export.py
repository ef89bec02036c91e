"""``hil export``."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.errors import ConfigError, Problem
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.durable import finished_file
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
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@reports_errors
def command(run: Path, export_format: str, output: Path, force: bool) -> None:  # noqa: FBT001
    """Write the coefficients of the folder RUN to a file.

    The same coefficients always give the same bytes.
    """
    if output.exists() and not force:
        raise ConfigError(str(output), [Problem("", "exists; use --force to replace it")])
    coefficients = collect_coefficients(str(run), open_run(run).read_steps())
    content = EXPORTERS[ExportFormat(export_format)](coefficients)
    try:
        with finished_file(output) as part:
            part.write_bytes(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(output), [Problem("", f"cannot be written: {reason}")]) from error
    for tile in coefficients.tiles:
        if tile.nmpu_mismatches:
            click.echo(
                f"warning: {tile.key.name}: {tile.nmpu_mismatches} outputs of the device's NMPU "
                "differ from the integer model; do not trust these coefficients on that device",
                err=True,
            )
    click.echo(f"{len(coefficients.tiles)} tiles of {coefficients.chip}: {output}", err=True)
