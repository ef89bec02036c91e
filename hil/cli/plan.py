"""``hil plan``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.assignments import takes_assignments, takes_chip
from hil.cli.errors import ExitCode, reports_errors
from hil.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hil.campaign.config.load import Campaign
    from hil.campaign.estimate.campaign_plan import CampaignPlan
    from hil.campaign.estimate.steps import StepOutline

_NARROWEST_PIPE = 100


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Output folder, as hil run is given it.",
)
@takes_chip
@takes_assignments
@click.option("--no-device", is_flag=True, help="Open no device; use files alone.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(
    *,
    campaign: Path,
    out: Path | None,
    chip: str | None,
    assignments: tuple[str, ...],
    no_device: bool,
    as_json: bool,
) -> None:
    """Show what the campaign of the TOML file CAMPAIGN would do, take and need.

    Looks at the device without programming it. Ends with 3 and every reason if the campaign cannot
    be run so.
    """
    from hil.campaign.chips.campaigns import chip_names, load_chips
    from hil.campaign.config.files import check_files
    from hil.campaign.config.load import load_campaign
    from hil.campaign.estimate.campaign_plan import check_plan

    if chip is None and chip_names(campaign, assignments=assignments):
        from hil.cli.chips_plan import show_plans

        campaigns = load_chips(campaign, assignments=assignments)
        folder = _output_folder(next(iter(campaigns.values())), out)  # one for all
        plans = {
            name: _plan(each, folder / name, no_device=no_device)
            for name, each in campaigns.items()
        }
        show_plans(plans, campaign, document_of=_document if as_json else None, echo=_echo)
        return
    loaded = load_campaign(campaign, assignments=assignments, chip=chip)
    check_files(loaded)
    plan = _plan(loaded, _output_folder(loaded, out), no_device=no_device)
    problems = check_plan(plan)
    if as_json:
        click.echo(json.dumps(_document(plan, problems), indent=1, allow_nan=False))
    else:
        _echo(plan)
        if not problems:
            click.echo("nothing stands against it")
    if problems:
        click.echo(f"error: {ConfigError(str(campaign), problems)}", err=True)
        raise SystemExit(ExitCode.CONFIG)


def _echo(plan: CampaignPlan) -> None:
    from hil.cli.output import LegibleConsole
    from hil.report.plan_table import print_plan

    console = LegibleConsole()
    if not console.is_terminal:
        console = LegibleConsole(width=max(console.width, _NARROWEST_PIPE))
    with console.capture() as captured:
        print_plan(plan, console)
    click.echo(captured.get(), nl=False)


def _plan(campaign: Campaign, folder: Path, *, no_device: bool) -> CampaignPlan:
    from hil.campaign.estimate.sources import plan_with_device, plan_without_device
    from hil_datasets.chip_book.place import user_data_folder

    if no_device:
        return plan_without_device(campaign, folder=folder)
    return plan_with_device(
        campaign,
        folder=folder,
        data_folder=user_data_folder(),
        start_s=time.process_time(),  # hil run imports as much
    )


def _output_folder(campaign: Campaign, out: Path | None) -> Path:
    from hil.campaign.config.sections import START_PLACEHOLDER
    from hil.campaign.runner import utc_now

    stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
    return out or Path(campaign.config.campaign.out.replace(START_PLACEHOLDER, stamp))


def _document(plan: CampaignPlan, problems: list[Problem]) -> dict[str, Any]:
    document = asdict(plan)
    document["visits"] = [
        {
            "number": visit.number,
            "settings": dict(visit.settings),
            "kinds": [str(kind) for kind in visit.kinds],
            "age_s": visit.due_s,
        }
        for visit in plan.visits
    ]
    document["steps"] = [_step_document(step) for step in plan.steps]
    document["vectors"] = plan.vectors
    if plan.storage is not None:
        document["storage"]["total_bytes"] = plan.storage.total_bytes
    if plan.time is not None:
        document["time"] |= {
            "total_s": plan.time.total_s,
            "is_lower_bound": plan.time.is_lower_bound,
        }
    del document["misfits"]
    document["problems"] = [
        {"key": problem.where, "message": problem.message, "line": problem.line}
        for problem in problems
    ]
    return document


def _step_document(step: StepOutline) -> dict[str, Any]:
    return {
        "name": step.key.name,
        "visit": step.key.visit,
        "kind": str(step.key.kind),
        "core": step.key.core,
        "read_mode": str(step.key.read_mode),
        "rows": step.rows_used,
        "columns": step.columns_used,
        "calibration_vectors": step.calibration_vectors,
        "verification_vectors": step.verification_vectors,
    }
