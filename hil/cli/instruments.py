"""``hil instruments``: looking at a campaign's bench instruments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.assignments import takes_chip
from hil.cli.errors import ExitCode, exit_code_of, reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.campaign.config.instruments import InstrumentSection, QuantitySection
    from hil.campaign.instrument_check import CheckedInstrument


@click.group(cls=SuggestingGroup)
def command() -> None:
    """Look at a campaign's bench instruments."""


@command.command("check")
@click.argument("campaign", type=click.Path(path_type=Path))
@takes_chip
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def check_command(campaign: Path, chip: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Open, identify and read the instruments of the file CAMPAIGN, and show their limits.

    Nothing is set: no start command, no value, no safe value is sent.
    """
    from hil.campaign.bench import open_mock_instruments
    from hil.campaign.config.load import load_campaign
    from hil.campaign.instrument_check import check_instruments
    from hil.campaign.instruments import named_mock_instruments

    config = load_campaign(campaign, chip=chip).config
    sections = config.instruments
    if not sections:
        raise ConfigError(str(campaign), [Problem("instruments", "there are none to check")])
    checked = []
    with open_mock_instruments(
        config.device.resource,
        base=campaign.parent,
        seed=config.campaign.seed,
        names=named_mock_instruments(sections),
    ) as addresses:
        for instrument in check_instruments(sections, mock_addresses=addresses):
            checked.append(instrument)
            if not as_json:
                click.echo("\n".join(_lines(instrument, sections[instrument.name])))
    if as_json:
        click.echo(json.dumps([_document(each, sections[each.name]) for each in checked], indent=1))
    raise SystemExit(_exit_code(checked))


def _exit_code(checked: Sequence[CheckedInstrument]) -> ExitCode:
    problems = [instrument.problem for instrument in checked if instrument.problem is not None]
    return exit_code_of(problems[0]) if problems else ExitCode.DONE


def _lines(instrument: CheckedInstrument, section: InstrumentSection) -> list[str]:
    lines = [f"{instrument.name}: {instrument.identity or 'not opened'} at {section.resource}"]
    for reading in instrument.readings:
        quantity = section.quantities[reading.quantity]
        shown = f"{reading.value:g} {reading.unit}".rstrip()
        lines.append(f"  {reading.quantity}: reads {shown}; {_bounds(quantity)}")
    if instrument.problem is not None:
        lines.append(f"  PROBLEM {instrument.problem}")
    return lines


def _bounds(quantity: QuantitySection) -> str:
    if quantity.set is None:
        return "only read"
    parts = [f"may be set to {quantity.lower:g} to {quantity.upper:g}"]
    if quantity.ramp_per_s is not None:
        parts.append(f"at {quantity.ramp_per_s:g} per second")
    if quantity.value is not None:
        parts.append(f"the campaign sets {quantity.value:g}")
    parts.append("left as it is" if quantity.safe is None else f"safe at {quantity.safe:g}")
    return ", ".join(parts)


def _document(instrument: CheckedInstrument, section: InstrumentSection) -> dict[str, Any]:
    return {
        "name": instrument.name,
        "resource": section.resource,
        "identity": instrument.identity,
        "problem": None if instrument.problem is None else str(instrument.problem),
        "quantities": [
            {
                "name": reading.quantity,
                "unit": reading.unit,
                "value": reading.value,
                "lower": section.quantities[reading.quantity].lower,
                "upper": section.quantities[reading.quantity].upper,
            }
            for reading in instrument.readings
        ],
    }
