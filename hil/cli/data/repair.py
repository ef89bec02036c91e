"""``hil data repair``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil_datasets.integrity.repair import RepairReport
    from hil_datasets.integrity.repaired_journal import StepLoss


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the new run. Never one that holds anything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(*, run: Path, out: Path, as_json: bool) -> None:
    """Save what is left of the damaged folder RUN into a new run; RUN is only read.

    Prints what was lost. Exits with 0 if the new run is whole, whatever was lost on the way to it,
    and with 1 if something is still wrong with it.
    """
    from rich.progress import MofNCompleteColumn

    from hil.campaign.concluded_again import conclude_with
    from hil.campaign.config.load import load_stored_campaign
    from hil.campaign.runner import utc_now
    from hil.cli.bars import draw_bar
    from hil_datasets.integrity.repair import repair_run

    with draw_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("repairing", total=None)
        report = repair_run(
            run,
            out,
            conclude=lambda saved: conclude_with(lambda: load_stored_campaign(saved).config),
            utc=utc_now().isoformat(timespec="seconds"),
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if as_json:
        _echo_json(report)
    else:
        _show(report)
    if not report.findings.is_whole:
        raise SystemExit(ExitCode.SOME_FAILED)


def _echo_json(report: RepairReport) -> None:
    document = {
        "run": str(report.run),
        "whole": list(report.whole),
        "steps": [asdict(loss) for loss in report.losses],
        "lines_lost": list(report.lines_lost),
        "files_lost": dict(report.files_lost),
        "is_whole": report.findings.is_whole,
        "problems": [asdict(finding) for finding in report.findings.findings],
    }
    click.echo(json.dumps(document, indent=1))


def _show(report: RepairReport) -> None:
    for loss in report.losses:
        click.echo(printable(_words(loss)))
    if report.lines_lost:
        numbers = ", ".join(map(str, report.lines_lost))
        click.echo(f"journal: lost lines {numbers}")
    for file, why in report.files_lost.items():
        click.echo(printable(f"{file}: lost: {why}"))
    if not (report.losses or report.lines_lost or report.files_lost):
        click.echo("nothing is lost")
    for finding in report.findings.findings:
        click.echo(printable(f"still wrong: {finding}"))
    as_they_are = f"{len(report.whole)} steps copied as they are"
    click.echo(f"{printable(str(report.run))}: {as_they_are}, {len(report.losses)} not")


def _words(loss: StepLoss) -> str:
    lost = "; ".join(loss.lost)
    if loss.state == "salvaged" and loss.raw_sha256:
        proof = {
            "raw_sha256": "proven by their content hash",
            "crc": "proven by their check sum",
            "none": "with no check sum that proves them",
        }[loss.proof]
        total = loss.vectors + loss.vectors_lost
        return f"{loss.step}: {loss.vectors} of {total} vectors saved, {proof}; lost: {lost}"
    return f"{loss.step}: {loss.state}: {lost}"
