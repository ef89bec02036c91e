"""``hil resume``."""

from pathlib import Path

import click

from hil.cli.assignments import takes_assignments, takes_chip, takes_quiet
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import reports_errors
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
@takes_chip
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
@takes_quiet
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
@gives_verdict
def command(
    *,
    run: Path,
    given: Path | None,
    chip: str | None,
    assignments: tuple[str, ...],
    accepts_changes: bool,
    breaks_lock: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Go on with the run in the folder RUN where it ended.

    Finished steps stay as they are; one that was begun goes on after its last whole block, or
    begins anew where its core has to be programmed again. The chip must be the same one, and the
    configuration as it was. A run that is complete is printed.

    Where RUN holds the runs of several chips, all of them go on.
    """
    from hil.campaign.chips.chips_folder import is_chips_folder
    from hil.campaign.config.files import check_files
    from hil.campaign.config.load import load_campaign
    from hil.campaign.runner import resume_run, utc_now
    from hil.cli.progress import ProgressBar

    if assignments and given is None:
        raise ConfigError("--set", [Problem("", "changes a campaign file: name it by --campaign")])
    if is_chips_folder(run):
        from hil.cli.chips_run import ResumeOptions, resume_chips

        if chip is not None:
            message = f"{run} holds the runs of several chips: resume {run / chip}"
            raise ConfigError("--chip", [Problem("", message)])
        flags = {"--accept-changes": accepts_changes, "--break-lock": breaks_lock}
        options = ResumeOptions(
            campaign=given,
            assignments=assignments,
            flags=tuple(flag for flag, is_set in flags.items() if is_set),
        )
        resume_chips(run, options, is_quiet=quiet, as_json=as_json)
        return
    campaign = None
    if given is not None:
        campaign = load_campaign(given, assignments=assignments, chip=chip)
    if campaign is not None:
        check_files(campaign)
    with ProgressBar(is_quiet=quiet) as progress:
        outcome = resume_run(
            run,
            campaign,
            accepts_changes=accepts_changes,
            breaks_lock=breaks_lock,
            observer=progress,
            now=utc_now,
        )
    end_with(outcome, progress, as_json=as_json)
