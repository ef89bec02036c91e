"""``hil data verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors
from hil.cli.scale_options import scale_options, tell_waiting
from hil.core.errors import DatasetError
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.scale.work_pool import WorkPool
    from hil_datasets.integrity.finding import RunFindings

_MOST_LINES = 200


@click.command()
@click.argument("paths", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--quick", is_flag=True, help="Leave out what reads every byte: checksums and content hashes."
)
@scale_options
@reports_errors
@gives_verdict
def command(
    *, paths: tuple[Path, ...], as_json: bool, quick: bool, workers: int, cluster: str | None
) -> None:
    """Find every problem of the folder RUN, each with its file and place; change nothing.

    Exits with 0 if it is whole, with 1 if something is wrong or it is not finished, with 5 if it is
    no run or its journal cannot be read. Of a folder with the runs of several chips every run is
    checked, and so is every run below any other folder. Of what `hil evaluate` left the id and
    the hash of its content are computed again.
    """
    from hil.campaign.chips.chips_folder import is_chips_folder, read_chips_folder
    from hil.cli.data.evaluations import only_evaluations, verify_evaluations
    from hil.scale.pool import open_pool

    if evaluations := only_evaluations(paths):
        raise SystemExit(verify_evaluations(evaluations, as_json=as_json))
    runs = tuple(dict.fromkeys(run for path in paths for run in _runs(path)))
    with open_pool(workers=workers, cluster=cluster, on_wait=tell_waiting) as pool:
        if len(paths) == 1 and is_chips_folder(paths[0]):
            worst = _verify_chips(read_chips_folder(paths[0]), pool, as_json=as_json, quick=quick)
        elif runs == paths and len(runs) == 1:
            is_spread = workers > 1 or cluster is not None
            worst = _verify_one(runs[0], pool if is_spread else None, as_json=as_json, quick=quick)
        else:
            worst = _verify_many(runs, pool, as_json=as_json, quick=quick)
    raise SystemExit(worst)


def _runs(path: Path) -> list[Path]:
    """Return the runs that a path stands for; itself where it holds none, for it to be said."""
    from hil_datasets.found_runs import find_runs

    try:
        return [run.path for run in find_runs([path])]
    except DatasetError:
        return [path]


def _verify_one(run: Path, pool: WorkPool | None, *, as_json: bool, quick: bool) -> ExitCode:
    from rich.progress import DownloadColumn

    from hil.cli.bars import draw_bar
    from hil_datasets.integrity.run_check import verify_run

    with draw_bar(DownloadColumn()) as bar:
        task = bar.add_task("checking", total=None)
        found = verify_run(
            run,
            is_quick=quick,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
            pool=pool,
        )
    if as_json:
        click.echo(json.dumps(_document(found), indent=1))
    else:
        _show(found)
    return _exit_code(found)


def _verify_chips(folder: Any, pool: WorkPool, *, as_json: bool, quick: bool) -> ExitCode:
    documents: dict[str, Any] = {}
    worst = ExitCode.DONE
    runs = tuple(folder.run(chip).path for chip in folder.chips)
    for chip, found in zip(folder.chips, _each(runs, pool, quick=quick), strict=True):
        worst = max(worst, _exit_code(found))
        documents[chip] = _document(found) if not isinstance(found, DatasetError) else _error(found)
        if as_json:
            continue
        if isinstance(found, DatasetError):
            click.echo(f"{chip}: {printable(str(found))}")
        else:
            click.echo(f"{chip}:")
            _show(found)
    if as_json:
        click.echo(json.dumps({"chips": documents}, indent=1))
    return worst


def _verify_many(runs: tuple[Path, ...], pool: WorkPool, *, as_json: bool, quick: bool) -> ExitCode:
    documents, lines = [], []
    worst = ExitCode.DONE
    for run, found in zip(runs, _each(runs, pool, quick=quick), strict=True):
        worst = max(worst, _exit_code(found))
        if isinstance(found, DatasetError):
            documents.append({"run": str(run), **_error(found)})
            lines.append(("", "", "cannot be read", str(run)))
            if not as_json:
                click.echo(printable(str(found)))
            continue
        documents.append(_document(found))
        what = _what(found)
        lines.append((f"{found.steps}", f"{found.checked_bytes / 1e6:.1f}", what, str(run)))
        if not as_json:
            _show_findings(found, place=f"{run}/")
    if as_json:
        click.echo(json.dumps(documents, indent=1))
    else:
        _show_table(lines)
    return worst


def _each(
    runs: tuple[Path, ...], pool: WorkPool, *, quick: bool
) -> Iterator[RunFindings | DatasetError]:
    from rich.progress import MofNCompleteColumn

    from hil.cli.bars import draw_bar
    from hil_datasets.integrity.many_runs import verify_runs

    with draw_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("checking", total=len(runs))
        for found in verify_runs(runs, is_quick=quick, pool=pool):
            bar.update(task, advance=1)
            yield found


def _exit_code(found: RunFindings | DatasetError) -> ExitCode:
    if isinstance(found, DatasetError):
        return ExitCode.DATA
    return ExitCode.DONE if found.is_whole else ExitCode.SOME_FAILED


def _error(error: DatasetError) -> dict[str, Any]:
    return {"error": str(error)}


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
    _show_findings(found, place="")
    size = f"{found.steps} step files, {found.checked_bytes / 1e6:.1f} MB"
    how = ", without checksums" if found.is_quick else ""
    click.echo(f"{printable(str(found.run))}: {_what(found)} ({size}{how})")


def _show_findings(found: RunFindings, *, place: str) -> None:
    for note in found.notes[:_MOST_LINES]:
        click.echo(f"note: {printable(place + note)}")
    # A killed run has a line for every step that it did not come to; damage would drown in them.
    shown = [finding for finding in found.findings if not finding.step]
    for finding in shown[:_MOST_LINES]:
        click.echo(printable(f"{place}{finding}"))
    if len(shown) > _MOST_LINES:
        click.echo(f"... {len(shown) - _MOST_LINES} more: --json prints all of them")
    if found.unfinished_steps:
        steps = f"{found.unfinished_steps} of {found.planned_steps} steps"
        goes_on = "" if found.run.is_file() else " (hil resume goes on with them)"
        click.echo(printable(f"{place}unfinished: {steps}{goes_on}"))


def _what(found: RunFindings) -> str:
    if found.is_whole:
        return "whole"
    if found.is_only_unfinished:
        return "unfinished, nothing damaged"
    problems = sum(not finding.step for finding in found.findings)
    return f"{problems} problem{'' if problems == 1 else 's'}"


def _show_table(lines: list[tuple[str, str, str, str]]) -> None:
    heads = ("steps", "MB", "result", "run")
    result = max(len(line[2]) for line in [*lines, heads])
    for steps, size, what, run in [heads, *lines]:
        click.echo(f"{steps:>5} {size:>10}  {what:{result}}  {printable(run)}")
