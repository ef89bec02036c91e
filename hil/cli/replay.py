"""``hil replay``."""

from pathlib import Path

import click

from hil.cli.assignments import takes_quiet
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import reports_errors
from hil.cli.run import finish


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Output folder; RUN-replay-TIME if left out. Never one that holds a run.",
)
@click.option(
    "--campaign",
    "other",
    type=click.Path(path_type=Path),
    help="Take [nmpu] and [calibration] from this campaign file instead of the run's own.",
)
@takes_quiet
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
@gives_verdict
def command(*, run: Path, out: Path | None, other: Path | None, quiet: bool, as_json: bool) -> None:
    """Calibrate again from the raw readouts stored in the folder RUN; no device is involved.

    The same software gives the same coefficients, byte for byte.
    """
    from hil.campaign.config.load import load_campaign, load_stored_campaign
    from hil.campaign.runner import replay_run, utc_now
    from hil.cli.progress import ProgressBar
    from hil_datasets.run_directory import open_directory

    campaign = load_campaign(other) if other else load_stored_campaign(open_directory(run))
    with ProgressBar(is_quiet=quiet) as progress:
        outcome = replay_run(
            run, campaign, is_own=other is None, out=out, observer=progress, now=utc_now
        )
    finish(outcome, as_json=as_json)
