"""``hil data verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil_datasets.integrity.finding import RunFindings

_MOST_LINES = 200


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--quick", is_flag=True, help="Leave out what reads every byte: checksums and content hashes."
)
@reports_errors
def command(*, run: Path, as_json: bool, quick: bool) -> None:
    """Find every problem of the folder RUN, each with its file and place; change nothing.

    Exits with 0 if it is whole, with 1 if something is wrong, with 5 if it is no run or its journal
    cannot be read. Of a folder with the runs of several chips every run is checked.
    """
    from hil.campaign.chips.chips_folder import is_chips_folder, read_chips_folder

    if not is_chips_folder(run):
        found = _verify(run, is_quick=quick)
        if as_json:
            click.echo(json.dumps(_document(found), indent=1))
        else:
            _show(found)
        raise SystemExit(ExitCode.DONE if found.is_whole else ExitCode.SOME_FAILED)
    _verify_chips(read_chips_folder(run), as_json=as_json, is_quick=quick)


def _verify_chips(folder: Any, *, as_json: bool, is_quick: bool) -> None:
    from hil.core.errors import DatasetError

    documents: dict[str, Any] = {}
    worst = ExitCode.DONE
    for chip in folder.chips:
        try:
            found = _verify(folder.run(chip).path, is_quick=is_quick)
        except DatasetError as error:
            documents[chip] = {"error": str(error)}
            worst = ExitCode.DATA
            if not as_json:
                click.echo(f"{chip}: {printable(str(error))}")
            continue
        documents[chip] = _document(found)
        if not found.is_whole:
            worst = max(worst, ExitCode.SOME_FAILED)
        if not as_json:
            click.echo(f"{chip}:")
            _show(found)
    if as_json:
        click.echo(json.dumps({"chips": documents}, indent=1))
    raise SystemExit(worst)


def _verify(path: Path, *, is_quick: bool) -> RunFindings:
    from rich.progress import DownloadColumn

    from hil.cli.progress import draw_bar
    from hil_datasets.integrity.run_check import verify_run

    with draw_bar(DownloadColumn()) as bar:
        task = bar.add_task("checking", total=None)
        return verify_run(
            path,
            is_quick=is_quick,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )


def _document(found: RunFindings) -> dict[str, Any]:
    return {
        "run": str(found.run),
        "is_whole": found.is_whole,
        "is_quick": found.is_quick,
        "steps": found.steps,
        "checked_bytes": found.checked_bytes,
        "problems": [asdict(finding) for finding in found.findings],
        "notes": list(found.notes),
    }


def _show(found: RunFindings) -> None:
    for note in found.notes[:_MOST_LINES]:
        click.echo(f"note: {printable(note)}")
    for finding in found.findings[:_MOST_LINES]:
        click.echo(printable(str(finding)))
    if len(found.findings) > _MOST_LINES:
        click.echo(f"... {len(found.findings) - _MOST_LINES} more: --json prints all of them")
    size = f"{found.steps} step files, {found.checked_bytes / 1e6:.1f} MB"
    how = ", without checksums" if found.is_quick else ""
    what = "whole" if found.is_whole else f"{len(found.findings)} problems"
    click.echo(f"{printable(str(found.run))}: {what} ({size}{how})")
