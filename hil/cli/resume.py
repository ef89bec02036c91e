"""``hil resume``."""

from pathlib import Path

import click

from hil.campaign.config import load_campaign
from hil.campaign.config_files import check_files
from hil.campaign.runner import resume_run, utc_now
from hil.cli.assignments import takes_assignments
from hil.cli.errors import reports_errors
from hil.cli.progress import ProgressBar
from hil.cli.run import end_with
from hil.core.errors import ConfigError, Problem


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--campaign",
    "given",
    type=click.Path(path_type=Path),
    help="The campaign file, read again; what the run keeps of it if left out.",
)
@takes_assignments
@click.option(
    "--accept-changes",
    "accepts_changes",
    is_flag=True,
    help="Go on although the configuration, or the chip's firmware, has changed.",
)
@click.option(
    "--break-lock",
    "breaks_lock",
    is_flag=True,
    help="Take the lock of another machine, where nothing writes the run any more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(
    *,
    run: Path,
    given: Path | None,
    assignments: tuple[str, ...],
    accepts_changes: bool,
    breaks_lock: bool,
    as_json: bool,
) -> None:
    """Go on with the run in the folder RUN where it ended.

    Finished steps stay as they are; one that was begun goes on after its last whole block. The chip
    must be the same one, and the configuration as it was. A run that is complete is printed.
    """
    if assignments and given is None:
        raise ConfigError("--set", [Problem("", "changes a campaign file: name it by --campaign")])
    campaign = None if given is None else load_campaign(given, assignments=assignments)
    if campaign is not None:
        check_files(campaign)
    with ProgressBar() as progress:
        outcome = resume_run(
            run,
            campaign,
            accepts_changes=accepts_changes,
            breaks_lock=breaks_lock,
            observer=progress,
            now=utc_now,
        )
    end_with(outcome, progress, as_json=as_json)
