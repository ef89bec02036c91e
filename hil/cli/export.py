"""``hil export``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hil.cli.errors import reports_errors
from hil.cli.publish import publish
from hil.core.legible import quoted
from hil_drivers.plugins import PluginError, PluginGroup, load_plugin

if TYPE_CHECKING:
    from hil_datasets.export.exporter import Exporter


def _load_exporter(_: click.Context, __: click.Parameter, name: str) -> Exporter:
    try:
        return cast("Exporter", load_plugin(PluginGroup.EXPORTERS, name))
    except PluginError as error:
        raise click.BadParameter(str(error)) from error


def _read_settings(
    _: click.Context, __: click.Parameter, given: tuple[str, ...]
) -> dict[str, float]:
    settings: dict[str, float] = {}
    for text in given:
        name, _equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name.strip() or not math.isfinite(number):
            message = f"{quoted(text)} must be NAME=VALUE, as chamber.temperature=25"
            raise click.BadParameter(message)
        if name.strip() in settings:
            raise click.BadParameter(f"{quoted(name)} is given twice")
        settings[name.strip()] = number
    return settings


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
@click.option(
    "--at",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_read_settings,
    help="Only calibrations made at this setting: chamber.temperature=25. May be repeated.",
)
@click.option("--visit", type=click.IntRange(min=0), help="Only calibrations of this visit.")
@click.option("--newest", is_flag=True, help="The last of the calibrations that are left.")
@reports_errors
def command(
    run: Path,
    exporter: Exporter,
    output: Path,
    *,
    force: bool,
    at: dict[str, float],
    visit: int | None,
    newest: bool,
) -> None:
    """Write the coefficients of the folder RUN to a file.

    The same coefficients always give the same bytes. Where RUN has several calibrations of a core
    and read mode, say which is meant: --at, --visit and --newest.
    """
    from hil_datasets.calibration_choice import CalibrationChoice, choose_calibrations
    from hil_datasets.coefficients import collect_coefficients
    from hil_datasets.run_directory import open_run
    from hil_datasets.step import StepKind

    opened = open_run(run)
    chosen = choose_calibrations(opened, CalibrationChoice(at=at, visit=visit, newest=newest))
    steps = opened.read_steps(kinds=(StepKind.CALIBRATE,), keys=chosen.keys)
    coefficients = collect_coefficients(str(run), steps, tells_circumstance=chosen.is_choice)
    for key in chosen.left_out:
        click.echo(f"core {key.core} {key.read_mode} has no such calibration", err=True)
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
