"""``--at``, ``--visit`` and ``--newest``: which calibrations of a run are meant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from hil.core.legible import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil_datasets.calibration_choice import CalibrationChoice


def _read_settings(
    _: click.Context, __: click.Parameter, given: tuple[str, ...]
) -> dict[str, float]:
    """Read ``NAME=VALUE`` texts; a click callback."""
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


def choice_options(side: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options, of one side of a comparison; of both, or of a lone run, without `side`.

    The command gets ``at``, ``visit`` and ``newest``, with the name of the side behind them.
    """
    end, of = (f"-{side.lower()}", f" of {side}") if side else ("", "")

    def add(function: Callable[..., None]) -> Callable[..., None]:
        function = click.option(
            f"--newest{end}", is_flag=True, help=f"The last of the calibrations{of} that are left."
        )(function)
        function = click.option(
            f"--visit{end}",
            type=click.IntRange(min=0),
            help=f"Only calibrations{of} of this visit.",
        )(function)
        return click.option(
            f"--at{end}",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_read_settings,
            help=f"Only calibrations{of} at this setting: chamber.temperature=25. May be repeated.",
        )(function)

    return add


def choice_of(options: dict[str, Any], side: str) -> CalibrationChoice:
    """Return what the options say of a side: its own, or else those of both."""
    from hil_datasets.calibration_choice import CalibrationChoice

    end = f"_{side.lower()}"
    own_visit = options[f"visit{end}"]
    return CalibrationChoice(
        at=options["at"] | options[f"at{end}"],
        visit=options["visit"] if own_visit is None else own_visit,
        newest=options["newest"] or options[f"newest{end}"],
    )
