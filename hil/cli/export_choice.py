"""Which calibrations `hil export` writes, and telling so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable
from hil_datasets.calibration_choice import (
    FoundCalibration,
    choose_calibrations,
)
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export.quality_fields import circumstance_of
from hil_datasets.step import StepKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hil.cli.export_files import WrittenExport
    from hil_datasets.calibration_choice import CalibrationChoice, ChosenCalibrations
    from hil_datasets.coefficients import CoefficientSet
    from hil_datasets.run_source import RunSource, StepFacts
    from hil_datasets.step import StepKey


def collect_chosen(
    opened: RunSource,
    choice: CalibrationChoice,
    *,
    cores: Sequence[int] = (),
    read_modes: Sequence[str] = (),
) -> tuple[ChosenCalibrations, CoefficientSet]:
    """Return which calibrations are meant, and their coefficients; tell on stderr which they are.

    Parameters
    ----------
    opened
        The run.
    choice
        What they have to be.
    cores, read_modes
        Only these; all where nothing is said.

    Raises
    ------
    ConfigError
        If the run has no such core or read mode, or the choice leaves several calibrations of one,
        or none at all.
    DatasetError
        If a step cannot be read, or the calibrations do not belong together.
    """
    among = _among(opened, cores, read_modes) if cores or read_modes else None
    chosen = choose_calibrations(opened, choice, among=among)
    steps = [opened.read_facts(key) for key in chosen.keys]
    hashes = {event["campaign_sha256"] for event in opened.events() if "campaign_sha256" in event}
    coefficients = collect_coefficients(str(opened.path), steps, campaigns=hashes)
    if chosen.is_choice:
        _tell_chosen(steps)
    for key in chosen.left_out:
        click.echo(f"core {key.core} {key.read_mode} has no such calibration", err=True)
    return chosen, coefficients


def export_document(
    opened: RunSource,
    chosen: ChosenCalibrations,
    coefficients: CoefficientSet,
    written: Sequence[WrittenExport],
) -> dict[str, Any]:
    """Return what was written, and of which calibrations, as JSON holds it."""
    return {
        "run": str(opened.path),
        "chip": str(coefficients.chip),
        "coefficients_id": coefficients.coefficients_id,
        "files": {each.format_name: [str(path) for path in each.paths] for each in written},
        "calibrations": [
            {
                "core": tile.key.core,
                "read_mode": str(tile.key.read_mode),
                "step": tile.key.name,
                "coefficients_id": tile.coefficients_id,
                **circumstance_of(tile),
            }
            for tile in coefficients.tiles
        ],
        "left_out": [
            {"core": key.core, "read_mode": str(key.read_mode)} for key in chosen.left_out
        ],
    }


def _among(opened: RunSource, cores: Sequence[int], read_modes: Sequence[str]) -> list[StepKey]:
    """Return the finished calibrations of some cores and read modes."""
    there = [key for key in opened.finished_steps() if key.kind is StepKind.CALIBRATE]
    _refuse_absent(opened, "--core", cores, {key.core for key in there})
    _refuse_absent(opened, "--read-mode", read_modes, {str(key.read_mode) for key in there})
    meant = [
        key
        for key in there
        if (not cores or key.core in cores) and (not read_modes or str(key.read_mode) in read_modes)
    ]
    if not meant:
        message = "has no calibration of these cores in these read modes"
        raise ConfigError(str(opened.path), [Problem("", message)])
    return meant


def _refuse_absent(
    opened: RunSource, option: str, wanted: Sequence[object], there: Collection[object]
) -> None:
    for one in wanted:
        if one not in there:
            known = ", ".join(map(str, sorted(there, key=lambda each: (str(type(each)), each))))
            message = f"{option} {one}: this run has calibrations of {known or 'none'}"
            raise ConfigError(str(opened.path), [Problem("", message)])


def _tell_chosen(steps: Sequence[StepFacts]) -> None:
    for step in steps:
        when = step.origin.measured_utc[:19].replace("T", " ")
        words = f"core {step.key.core} {step.key.read_mode}: {FoundCalibration.of(step)}, {when}"
        click.echo(printable(words), err=True)
    visits = Counter(step.key.visit for step in steps)
    if len(visits) > 1:
        each = ", ".join(f"{visit} ({count})" for visit, count in sorted(visits.items()))
        click.echo(
            f"note: the coefficients are of {len(visits)} visits (of each so many): {each}; "
            "--visit or --at takes those of one circumstance",
            err=True,
        )
