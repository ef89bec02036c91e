"""``hil plan`` of several chips: each by itself, and what they need together."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from hil.campaign.estimate.campaign_plan import CampaignPlan, check_plan
from hil.campaign.estimate.storage import shown_bytes
from hil.cli.errors import ExitCode
from hil.cli.progress_words import duration_words
from hil.core.errors import ConfigError, Problem


def show_plans(
    plans: Mapping[str, CampaignPlan],
    source: Path,
    *,
    document_of: Callable[[CampaignPlan, list[Problem]], dict[str, Any]] | None,
    echo: Callable[[CampaignPlan], None],
) -> None:
    """Print the plans of several chips; exit with 3 if something stands against one of them.

    Parameters
    ----------
    plans
        Chip to plan.
    source
        The campaign file.
    document_of
        Makes what is printed as JSON; None where a person reads it.
    echo
        Prints one plan for a person.
    """
    problems = {chip: check_plan(plan) for chip, plan in plans.items()}
    together = _room_problems(plans)
    if document_of is not None:
        document = {
            "chips": {chip: document_of(plan, problems[chip]) for chip, plan in plans.items()},
            "together": {
                "storage_bytes": _storage_bytes(plans),
                "total_s": _longest_s(plans),
                "problems": [problem.message for problem in together],
            },
        }
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        for chip, plan in plans.items():
            click.echo(f"[{chip}]")
            echo(plan)
        click.echo(_together_words(plans))
    found = [problem for several in problems.values() for problem in several] + together
    if found:
        unique = list(dict.fromkeys(found))
        click.echo(f"error: {ConfigError(str(source), unique)}", err=True)
        raise SystemExit(ExitCode.CONFIG)
    if document_of is None:
        click.echo("nothing stands against it")


def _storage_bytes(plans: Mapping[str, CampaignPlan]) -> int | None:
    needs = [plan.storage for plan in plans.values()]
    known = [need.total_bytes + need.passing_bytes for need in needs if need is not None]
    return sum(known) if len(known) == len(needs) else None


def _longest_s(plans: Mapping[str, CampaignPlan]) -> float | None:
    times = [plan.time.total_s for plan in plans.values() if plan.time is not None]
    return max(times) if len(times) == len(plans) else None


def _room_problems(plans: Mapping[str, CampaignPlan]) -> list[Problem]:
    needed = _storage_bytes(plans)
    free = [plan.room.free_bytes for plan in plans.values() if plan.room.free_bytes is not None]
    if needed is None or not free or needed <= min(free):
        return []
    message = f"all chips together need {shown_bytes(needed)}: the disk has "
    return [Problem("campaign.out", f"{message}{shown_bytes(min(free))} free")]


def _together_words(plans: Mapping[str, CampaignPlan]) -> str:
    needed, longest_s = _storage_bytes(plans), _longest_s(plans)
    parts = [f"{len(plans)} chips at the same time"]
    if longest_s is not None:
        parts.append(f"as long as the slowest, {duration_words(longest_s)}")
    if needed is not None:
        parts.append(f"{shown_bytes(needed)} of disk together")
    return ": ".join((parts[0], ", ".join(parts[1:]))) if len(parts) > 1 else parts[0]
