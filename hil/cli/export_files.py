"""Writing the files of a format, and reading them back before they are called good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hil.cli.publish import publish
from hil.core.errors import ConfigError, DatasetError, Problem
from hil_calibration.nmpu import apply_nmpu
from hil_datasets.export.exported import AffineTile, ExportedSet
from hil_datasets.export.exporter import ExportRequest, make_files
from hil_datasets.export.self_check import ReadoutCheck, read_back, register_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hil_datasets.coefficients import CoefficientSet
    from hil_datasets.export.exporter import Exporter
    from hil_datasets.step import StepRecord

_MOST_TOLD = 5
"""Problems of one file that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenExport:
    """A format's files where they lie now."""

    format_name: str
    """Name of the format."""
    exporter: Exporter
    """What wrote them."""
    request: ExportRequest
    """How."""
    paths: tuple[Path, ...]
    """The file that was asked for, then those beside it."""


def write_export(
    format_name: str,
    exporter: Exporter,
    coefficients: CoefficientSet,
    request: ExportRequest,
    folder: Path,
    *,
    may_replace: bool,
) -> WrittenExport:
    """Write all files of a format.

    Raises
    ------
    ConfigError
        If one exists and may not be replaced, or cannot be written, or the format cannot hold the
        coefficients.
    """
    files = make_files(exporter, coefficients, request)
    paths = tuple(folder / name for name in files)
    existing = [path for path in paths if path.is_file()]
    if existing and not may_replace:  # before the first of them is written
        raise ConfigError(str(existing[0]), [Problem("", "exists; use --force to replace it")])
    for path, content in zip(paths, files.values(), strict=True):
        publish(content, path, may_replace=may_replace)
    return WrittenExport(format_name=format_name, exporter=exporter, request=request, paths=paths)


def check_exports(
    written: Sequence[WrittenExport],
    steps: Iterable[StepRecord],
    coefficients: CoefficientSet,
) -> None:
    """Read files back and apply them to the readouts they were made from; say what was found.

    Raises
    ------
    DatasetError
        If something is wrong with one of them. All stay where they are.
    """
    problems: dict[str, list[Problem]] = {}
    readable: list[tuple[WrittenExport, ExportedSet]] = []
    for export in written:
        exported = _read(export, problems)
        if exported is not None:
            readable.append((export, exported))
    losses: dict[str, list[tuple[float, float]]] = {}
    for record in steps:
        check = ReadoutCheck(record, coefficients.nmpu, apply_nmpu)
        for export, exported in readable:
            found = [Problem("", text) for text in check.problems(exported)]
            problems.setdefault(str(export.paths[0]), []).extend(found)
            losses.setdefault(export.format_name, []).extend(
                check.affine_rms(tile)
                for tile in exported.tiles
                if isinstance(tile, AffineTile) and check.is_of(tile)
            )
    _tell_losses(losses)
    _raise(problems)


def check_without_readouts(written: Sequence[WrittenExport], coefficients: CoefficientSet) -> None:
    """Read files back and compare their registers; say that they were applied to nothing.

    Raises
    ------
    DatasetError
        If something is wrong with one of them. All stay where they are.
    """
    problems: dict[str, list[Problem]] = {}
    for export in written:
        exported = _read(export, problems)
        if exported is not None:
            found = [Problem("", text) for text in register_problems(exported, coefficients)]
            problems[str(export.paths[0])] = found
    click.echo(
        "read back and compared; not applied to readouts, for it was packed without them", err=True
    )
    _raise(problems)


def _raise(problems: Mapping[str, list[Problem]]) -> None:
    for path, found in problems.items():
        if found:
            raise DatasetError(path, _failed(found))


def _read(export: WrittenExport, problems: dict[str, list[Problem]]) -> ExportedSet | None:
    """Return what a format's files hold; None, with the problem noted or told, if nothing can."""
    content = {path.name: path.read_bytes() for path in export.paths}
    try:
        exported = read_back(export.exporter, content, export.request)
    except ValueError as error:
        problems[str(export.paths[0])] = [Problem("", str(error))]
        return None
    if exported is None:
        click.echo(f"{export.format_name}: has no reader, so it was not checked", err=True)
    return exported


def _failed(found: list[Problem]) -> list[Problem]:
    told = [Problem("", f"failed its check, do not use it: {found[0]}"), *found[1:_MOST_TOLD]]
    if len(found) > _MOST_TOLD:
        told.append(Problem("", f"and {len(found) - _MOST_TOLD} more problems"))
    return told


def _tell_losses(losses: dict[str, list[tuple[float, float]]]) -> None:
    for format_name, pairs in losses.items():
        if pairs:
            one, two = (max(pair[place] for pair in pairs) for place in (0, 1))
            click.echo(
                f"{format_name}: has one scale per column where the NMPU has two: the worst "
                f"tile's error is {one:.4g} product units, with the NMPU's registers {two:.4g}",
                err=True,
            )
