"""``hil run``."""

from pathlib import Path

import click

from hil.campaign.config import load_campaign
from hil.campaign.config_files import check_files
from hil.campaign.runner import RunOutcome, run_campaign, utc_now
from hil.cli.assignments import takes_assignments
from hil.cli.errors import ExitCode, reports_errors
from hil.cli.output import echo_run
from hil.cli.progress import ProgressBar


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=True),
    help="Output folder; the campaign file's own if left out. Never one that holds a run.",
)
@takes_assignments
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(
    *, campaign: Path, out: Path | None, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Run the calibration campaign of the TOML file CAMPAIGN on its device.

    Streams raw readouts, fits every column, quantises the corrections to NMPU registers, loads them
    back, verifies them on held-out vectors, and stores everything in the output folder.
    """
    loaded = load_campaign(campaign, assignments=assignments)
    check_files(loaded)
    with ProgressBar() as progress:
        outcome = run_campaign(loaded, out=out, observer=progress, now=utc_now)
    end_with(outcome, progress, as_json=as_json)


def end_with(outcome: RunOutcome, progress: ProgressBar, *, as_json: bool) -> None:
    """Print a run that has ended; exit with 4 if the chip could not be left safe."""
    finish(outcome, as_json=as_json)
    if progress.is_unsafe:
        raise SystemExit(ExitCode.DEVICE)


def finish(outcome: RunOutcome, *, as_json: bool) -> None:
    """Print a run that has ended; exit with 1 if a step failed."""
    echo_run(outcome.run, as_json=as_json)
    if outcome.failed:
        raise SystemExit(ExitCode.SOME_FAILED)
