"""``hil load``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.core_options import core_options
from hil.cli.errors import reports_errors
from hil.core.errors import ConfigError, DeviceError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from hil.core.readout import ChipIdentity, ReadMode
    from hil_datasets.export.exported import ExportedSet, ExportedTile
    from hil_drivers.chip import Chip

_LARGEST_FILE = 256 << 20
"""Most bytes of a file that is loaded: far more than any chip's coefficients."""
_SUFFIXES = {".json": "json", ".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5"}
"""Formats that can be loaded, by the end of a file's name."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("resource")
@core_options
@click.option(
    "--other-chip", is_flag=True, help="Load them even though they belong to another chip."
)
@click.option("--driver", default="aimc-board", show_default=True, help="The chip's driver.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.01, max=3600),
    default=10.0,
    show_default=True,
    help="How long an answer may take, seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(
    file: Path,
    resource: str,
    *,
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    other_chip: bool,
    driver: str,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Write the coefficients of FILE into the NMPU of the chip at RESOURCE, and read them back.

    FILE is an export as JSON (.json), NPZ (.npz) or HDF5 (.h5). Coefficients of another chip are
    refused. At the end no input is driven and the NMPU is off; its registers stay.
    """
    from hil.campaign.bench import open_device, require_resource
    from hil.core.readout import ReadMode
    from hil_drivers.open_transport import TransportChoice

    exported = read_export(file)
    require_resource(resource, driver, where="RESOURCE")
    tiles = choose_tiles(file, exported, cores, [ReadMode(mode) for mode in read_modes])
    with open_device(
        resource,
        base=Path.cwd(),
        seed=0,
        timeout_s=timeout_s,
        choice=TransportChoice.AUTO,
        driver=driver,
        on_unsafe=lambda reason: click.echo(f"warning: {reason}", err=True),
    ) as device:
        chip = device.chip
        identity = chip.identify()
        _check_chip(file, exported, identity, may_differ=other_chip)
        _check_geometry(file, tiles, chip)
        for tile in tiles:
            _load(chip, exported, tile)
            if not as_json:
                click.echo(f"{tile.name}: {len(tile.registers.swap)} columns, shift {tile.shift}")
    if as_json:
        click.echo(json.dumps(_document(exported, tiles, identity), indent=1))
    click.echo(f"{len(tiles)} tiles loaded into {identity} and read back the same", err=True)


def _document(
    exported: ExportedSet, tiles: Collection[ExportedTile], identity: ChipIdentity
) -> dict[str, Any]:
    return {
        "chip": asdict(identity),
        "coefficients_id": exported.coefficients_id or None,
        "tiles": [
            {
                "core": tile.core,
                "read_mode": str(tile.read_mode),
                "columns": len(tile.registers.swap),
                "shift": tile.shift,
                "coefficients_id": tile.coefficients_id or None,
            }
            for tile in tiles
        ],
    }


def read_export(path: Path) -> ExportedSet:
    """Read an export that can be loaded.

    Raises
    ------
    ConfigError
        If the file is missing, of no such format, damaged, or holds a code that does not fit.
    """
    from hil.core.regular_file import read_regular_file
    from hil_datasets.export import hdf5_format, json_format, npz_format

    readers = {
        "json": json_format.read_json,
        "npz": npz_format.read_npz_export,
        "hdf5": hdf5_format.read_hdf5,
    }
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        message = f"cannot be loaded: its name must end in {', '.join(_SUFFIXES)}"
        raise ConfigError(str(path), [Problem("", message)])
    content = read_regular_file(path, largest=_LARGEST_FILE)
    try:
        return readers[kind](content)
    except (ValueError, MemoryError) as error:
        raise ConfigError(str(path), [Problem("", str(error) or "is too large")]) from error


def choose_tiles(
    path: Path,
    exported: ExportedSet,
    cores: Collection[int],
    read_modes: Collection[ReadMode],
) -> list[ExportedTile]:
    """Return the tiles that are asked for, all where nothing is said.

    Raises
    ------
    ConfigError
        If one is asked for that the file does not have, or the file has one twice.
    """
    from hil_datasets.export.exported import ExportedTile

    tiles = [tile for tile in exported.tiles if isinstance(tile, ExportedTile)]
    names = [tile.name for tile in tiles]
    chosen = [
        tile
        for tile in tiles
        if (not cores or tile.core in cores) and (not read_modes or tile.read_mode in read_modes)
    ]
    missing = sorted(set(cores) - {tile.core for tile in chosen})
    problems = []
    if len(set(names)) < len(names):
        problems.append(Problem("", "holds a tile twice"))
    if missing or not chosen:
        what = f"nothing for core {missing[0]}" if missing else "nothing of what is asked for"
        problems.append(Problem("", f"holds {what}; it holds {', '.join(names) or 'no tile'}"))
    if problems:
        raise ConfigError(str(path), problems)
    return chosen


def _check_chip(
    path: Path, exported: ExportedSet, identity: ChipIdentity, *, may_differ: bool
) -> None:
    of = exported.chip
    if of is None or may_differ:
        return
    if (of.manufacturer, of.model, of.serial) != (
        identity.manufacturer,
        identity.model,
        identity.serial,
    ):
        message = (
            f"belongs to {of}; this is {identity}. Nothing was loaded; "
            "--other-chip loads it all the same"
        )
        raise ConfigError(str(path), [Problem("", message)])


def _check_geometry(path: Path, tiles: Collection[ExportedTile], chip: Chip) -> None:
    """Refuse what the chip has no place for, before anything is written."""
    geometry = chip.geometry()
    problems = []
    for tile in tiles:
        columns = len(tile.registers.swap)
        if not 0 <= tile.core < geometry.cores:
            problems.append(Problem(tile.name, f"the chip has cores 0 to {geometry.cores - 1}"))
        elif columns != geometry.columns:
            message = f"has {columns} columns: the chip has {geometry.columns}"
            problems.append(Problem(tile.name, message))
    if problems:
        raise ConfigError(str(path), problems)


def _load(chip: Chip, exported: ExportedSet, tile: ExportedTile) -> None:
    from hil_datasets.export.exported import format_of
    from hil_drivers.scpi import ScpiError

    fmt = format_of(exported.nmpu or {}, tile.shift)
    chip.write_nmpu(tile.core, tile.read_mode, fmt, tile.registers)
    if chip.read_nmpu(tile.core, tile.read_mode) != (fmt, tile.registers):
        raise DeviceError(
            ScpiError.DATA_CORRUPT_OR_STALE,
            "the NMPU registers read back differ from those written",
            request=f"registers of {tile.name}",
        )
