"""``hil run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.assignments import takes_assignments, takes_chip, takes_quiet
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors

if TYPE_CHECKING:
    from hil.campaign.runner import RunOutcome
    from hil.cli.progress import ProgressBar


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=True),
    help="Output folder; the campaign file's own if left out. Never one that holds a run.",
)
@takes_chip
@takes_assignments
@takes_quiet
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
@gives_verdict
def command(
    *,
    campaign: Path,
    out: Path | None,
    chip: str | None,
    assignments: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the calibration campaign of the TOML file CAMPAIGN on its device.

    Streams raw readouts, fits every column, quantises the corrections to NMPU registers, loads them
    back, verifies them on held-out vectors, and stores everything in the output folder.

    Where the file names several chips in [devices], all are driven at the same time, each by a
    process of its own, unless --chip names one.
    """
    from hil.campaign.chips.campaigns import chip_names
    from hil.campaign.config.files import check_files
    from hil.campaign.config.load import load_campaign
    from hil.campaign.runner import run_campaign, utc_now
    from hil.cli.progress import ProgressBar

    if chip is None and chip_names(campaign, assignments=assignments):
        from hil.cli.chips_run import run_chips

        run_chips(campaign, out=out, assignments=assignments, is_quiet=quiet, as_json=as_json)
        return
    loaded = load_campaign(campaign, assignments=assignments, chip=chip)
    check_files(loaded)
    with ProgressBar(is_quiet=quiet) as progress:
        outcome = run_campaign(loaded, out=out, observer=progress, now=utc_now)
    end_with(outcome, progress, as_json=as_json)


def end_with(outcome: RunOutcome, progress: ProgressBar, *, as_json: bool) -> None:
    """Print a run that has ended; exit with 4 if the chip could not be left safe."""
    finish(outcome, as_json=as_json)
    if progress.is_unsafe:
        raise SystemExit(ExitCode.DEVICE)


def finish(outcome: RunOutcome, *, as_json: bool) -> None:
    """Print a run that has ended; exit with 1 if a step failed."""
    from hil.cli.output import echo_run

    echo_run(outcome.run, as_json=as_json)
    if outcome.failed:
        raise SystemExit(ExitCode.SOME_FAILED)
