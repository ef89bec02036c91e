"""``hil export``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hil.cli.choice_options import choice_options
from hil.cli.core_options import core_options
from hil.cli.errors import reports_errors
from hil.cli.out_option import out_option
from hil.cli.publish import refuse_inside_run
from hil.core.legible import quoted
from hil_drivers.plugins import PluginError, PluginGroup, load_plugin, load_usable

if TYPE_CHECKING:
    from hil.cli.export_files import WrittenExport
    from hil.core.errors import ConfigError
    from hil_datasets.coefficients import CoefficientSet
    from hil_datasets.export.exporter import Exporter
    from hil_datasets.export.register_map import MapFile

_STEM = "coefficients"
"""What the files of ``--all`` are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How files are named and placed."""

    name: str
    """What names in source code begin with."""
    map_file: MapFile | None
    """Where the board keeps its registers, if the user said so."""
    force: bool
    """Whether files that exist may be replaced."""


def _load_exporter(
    _: click.Context, __: click.Parameter, name: str | None
) -> tuple[str, Exporter] | None:
    if name is None:
        return None
    try:
        return name, cast("Exporter", load_plugin(PluginGroup.EXPORTERS, name))
    except PluginError as error:
        # The name of the group of plug-ins says nothing to whoever wants a format.
        raise click.BadParameter(str(error).removeprefix(f"{PluginGroup.EXPORTERS}: ")) from error


def _check_name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9_]{0,30}", name):
        message = f"{quoted(name)} must be 1 to 31 small letters, digits and _, a letter first"
        raise click.BadParameter(message)
    return name


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "chosen_format",
    metavar="NAME",
    callback=_load_exporter,
    help="Format of the file: json, csv, npz, or another that `hil drivers list` names.",
)
@click.option("--all", "all_formats", is_flag=True, help="Every format, into the folder of -o.")
@out_option("File to write; with --all the folder.", metavar="PATH")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--map",
    "map_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Register map of the formats hex and bin; the example's if left out.",
)
@click.option(
    "--name",
    default="hil",
    show_default=True,
    callback=_check_name,
    help="What names in source code begin with.",
)
@core_options
@choice_options()
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@reports_errors
def command(
    run: Path,
    chosen_format: tuple[str, Exporter] | None,
    output: Path,
    *,
    all_formats: bool,
    force: bool,
    map_path: Path | None,
    name: str,
    at: dict[str, float],
    visit: int | None,
    newest: bool,
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the coefficients of RUN, a folder or packed file, to a file.

    The same run always gives the same bytes. What was written is read back and applied to
    the readouts of RUN: the outputs must be those of the integer model, the residual the stored
    one; of a file packed without readouts the registers are compared.

    Where RUN has several calibrations of a core and read mode, say which is meant: --at, --visit
    and --newest. The files say under which visit, settings, temperature and age each was made.
    """
    from hil.cli.export_choice import collect_chosen, export_document
    from hil.cli.export_files import check_exports, check_without_readouts
    from hil_datasets.calibration_choice import CalibrationChoice
    from hil_datasets.export.register_map import load_register_map
    from hil_datasets.opened import open_source
    from hil_datasets.run_source import NoReadoutsError
    from hil_datasets.step import StepKind

    if all_formats == (chosen_format is not None):
        raise click.UsageError("say which format with --format NAME, or --all")
    opened = open_source(run)
    choice = CalibrationChoice(at=at, visit=visit, newest=newest)
    chosen, coefficients = collect_chosen(opened, choice, cores=cores, read_modes=read_modes)
    map_file = None if map_path is None else load_register_map(map_path)
    failed: list[ConfigError] = []
    how = Naming(name=name, map_file=map_file, force=force)
    if chosen_format is None:
        written, failed = _write_all(coefficients, output, how)
    else:
        written = [_write_one(*chosen_format, coefficients, output, how)]
    _warn_of_mismatches(coefficients)
    steps = opened.read_steps(kinds=(StepKind.CALIBRATE,), keys=chosen.keys)
    try:
        check_exports(written, steps, coefficients)
    except NoReadoutsError:
        check_without_readouts(written, coefficients)
    if as_json:
        click.echo(json.dumps(export_document(opened, chosen, coefficients, written), indent=1))
    if failed:
        raise failed[0]
    count = len(coefficients.tiles)
    click.echo(
        f"{count} tile{'' if count == 1 else 's'} of {coefficients.chip}: {output}", err=True
    )


def _write_one(
    format_name: str,
    exporter: Exporter,
    coefficients: CoefficientSet,
    path: Path,
    how: Naming,
) -> WrittenExport:
    from hil.cli.export_files import write_export
    from hil_datasets.export.exporter import ExportRequest

    request = ExportRequest(file_name=path.name, name=how.name, given_map=how.map_file)
    return write_export(
        format_name, exporter, coefficients, request, path.parent, may_replace=how.force
    )


def _write_all(
    coefficients: CoefficientSet,
    folder: Path,
    how: Naming,
) -> tuple[list[WrittenExport], list[ConfigError]]:
    """Write every format that can be; return also why others could not."""
    from hil.core.errors import ConfigError, Problem
    from hil.core.extras import MissingExtraError

    exporters = cast(
        "dict[str, Exporter]",
        load_usable(
            PluginGroup.EXPORTERS, on_broken=lambda error: click.echo(f"{error}", err=True)
        ),
    )
    refuse_inside_run(folder / _STEM)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(folder), [Problem("", f"cannot be made: {reason}")]) from error
    written, failed = [], []
    for format_name, exporter in exporters.items():
        suffix = getattr(exporter, "suffix", "") or f".{format_name}"
        path = folder / f"{_STEM}{suffix}"
        try:
            one = _write_one(format_name, exporter, coefficients, path, how)
        except ConfigError as error:
            click.echo(f"left out: {error}", err=True)
            if not isinstance(error, MissingExtraError):
                failed.append(error)
        else:
            written.append(one)
            click.echo(f"{format_name}: {', '.join(str(path) for path in one.paths)}", err=True)
    return written, failed


def _warn_of_mismatches(coefficients: CoefficientSet) -> None:
    for tile in coefficients.tiles:
        if tile.nmpu_mismatches:
            click.echo(
                f"warning: {tile.key.name}: {tile.nmpu_mismatches} outputs of the device's NMPU "
                "differ from the integer model; do not trust these coefficients on that device",
                err=True,
            )
