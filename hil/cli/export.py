"""``hil export``."""

from pathlib import Path
from typing import cast

import click

from hil.cli.errors import reports_errors
from hil.cli.publish import publish
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export.exporter import Exporter
from hil_datasets.run_directory import open_run
from hil_drivers.plugins import PluginError, PluginGroup, load_plugin


def _load_exporter(_: click.Context, __: click.Parameter, name: str) -> Exporter:
    try:
        return cast("Exporter", load_plugin(PluginGroup.EXPORTERS, name))
    except PluginError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "exporter",
    metavar="NAME",
    callback=_load_exporter,
    required=True,
    help="Format of the file: json, csv, npz, or another that `hil drivers list` names.",
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
def command(run: Path, exporter: Exporter, output: Path, force: bool) -> None:  # noqa: FBT001
    """Write the coefficients of the folder RUN to a file.

    The same coefficients always give the same bytes.
    """
    coefficients = collect_coefficients(str(run), open_run(run).read_steps())
    content = exporter.export(coefficients)
    publish(content, output, may_replace=force)
    for tile in coefficients.tiles:
        if tile.nmpu_mismatches:
            click.echo(
                f"warning: {tile.key.name}: {tile.nmpu_mismatches} outputs of the device's NMPU "
                "differ from the integer model; do not trust these coefficients on that device",
                err=True,
            )
    click.echo(f"{len(coefficients.tiles)} tiles of {coefficients.chip}: {output}", err=True)
