"""``hil calibrate fit``."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.assignments import takes_assignments
from hil.cli.core_options import core_options
from hil.cli.errors import ExitCode, exit_code_of, reports_errors
from hil.cli.publish import refuse_inside_run
from hil.cli.scale_options import scale_options, tell_waiting
from hil.core.errors import ConfigError, DatasetError, HilError, Problem
from hil.core.legible import printable
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.recorded.refit_files import RefitReport, RefitTarget
    from hil.recorded.refit_options import RefitOptions
    from hil.recorded.refit_plan import RefitSelection
    from hil.scale.work_pool import WorkPool
    from hil_datasets.found_runs import FoundRun


_FITS = ("least-squares", "weighted", "huber", "robust", "clip-aware")
"""Names of `hil.recorded.fit_kind.FitKind`, which needs numpy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    options: RefitOptions
    selection: RefitSelection
    pool: WorkPool
    force: bool


@click.command()
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, NAME.hil.h5; for several runs the folder of such files.",
)
@takes_assignments
@click.option(
    "--calibration-vectors",
    type=click.IntRange(min=1),
    help="Fit this many vectors of each calibration, from the first; hold out the others.",
)
@click.option("--robust", is_flag=True, help="Leave out glitches in every column that has any.")
@click.option(
    "--fit",
    "fit",
    type=click.Choice(_FITS),
    default=_FITS[0],
    show_default=True,
    help="How gains and offsets are found.",
)
@core_options
@scale_options
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(
    *,
    paths: tuple[Path, ...],
    out: Path,
    assignments: tuple[str, ...],
    calibration_vectors: int | None,
    robust: bool,
    fit: str,
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    workers: int,
    cluster: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Fit the stored readouts of PATH again, with other options and without a device.

    PATH is a run, a packed file, or a folder of any number of them. --set takes the keys of
    [calibration] and [nmpu] in the campaign file; without any, the result is the campaign's own.
    Each run becomes a packed file without readouts, for `hil export`, `hil info` and the like.
    """
    from hil.recorded.fit_kind import FitKind
    from hil.recorded.refit_options import RefitOptions
    from hil.recorded.refit_plan import RefitSelection
    from hil.scale.pool import open_pool

    targets = _targets(paths, out, force=force)
    with open_pool(workers=workers, cluster=cluster, on_wait=tell_waiting) as pool:
        job = _Job(
            options=RefitOptions(
                assignments=assignments,
                calibration_vectors=calibration_vectors,
                is_robust=robust,
                fit=FitKind(fit),
            ),
            selection=RefitSelection(
                cores=cores, read_modes=[ReadMode(mode) for mode in read_modes]
            ),
            pool=pool,
            force=force,
        )
        with _writers(pool, len(targets), is_far=cluster is not None) as writers:
            code, documents = _fit_all(targets, job, writers, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"runs": documents}, indent=1, allow_nan=False))
    raise SystemExit(code)


def _fit_all(
    targets: list[RefitTarget], job: _Job, writers: WorkPool, *, as_json: bool
) -> tuple[ExitCode, list[dict[str, Any]]]:
    documents: list[dict[str, Any]] = []
    code, failed = ExitCode.DONE, 0
    for target, report in zip(targets, _reports(targets, job, writers), strict=True):
        if isinstance(report, HilError):
            if len(targets) == 1:
                raise report
            lines = str(report).split("\n")
            click.echo("error: " + "\n".join(map(printable, lines)), err=True)
            documents.append({"run": str(target.run), "error": str(report)})
            code = max(code, exit_code_of(report))
            failed += 1
            continue
        documents.append(_document(target, report, job.options))
        if report.refused:
            code = max(code, ExitCode.SOME_FAILED)
        if not as_json:
            _echo(documents[-1])
    if failed:
        told = f"{failed} of {len(targets)} runs could not be fitted and have no new file"
        click.echo(f"{told}: see the errors above", err=True)
    return code, documents


@contextmanager
def _writers(pool: WorkPool, files: int, *, is_far: bool) -> Iterator[WorkPool]:
    """Return who writes the files: processes of this machine, which need not share its disk."""
    from hil.scale.pool import open_pool

    if not is_far:
        yield pool
        return
    with open_pool(workers=min(len(os.sched_getaffinity(0)), files)) as writers:
        yield writers


def _targets(paths: tuple[Path, ...], out: Path, *, force: bool) -> list[RefitTarget]:
    """Return which file each run becomes; nothing is read before all of them are free."""
    from hil.recorded.refit_files import RefitTarget
    from hil_datasets.found_runs import find_runs
    from hil_datasets.packed.layout import PACK_SUFFIX
    from hil_datasets.packed.new_file import check_free

    runs = [run for run in find_runs(paths) if run.is_named or not _is_result(run)]
    if not runs:
        message = "holds no readouts, only results of hil calibrate fit"
        raise DatasetError(str(paths[0]), [Problem("", message)])
    if len(runs) == 1 and runs[0].is_named and not out.is_dir():
        if not out.name.endswith(PACK_SUFFIX):
            message = (
                f"must end in {PACK_SUFFIX}: no command finds a file of another name below a "
                f"folder; give {out.name}{PACK_SUFFIX}, or a folder that exists"
            )
            raise ConfigError(str(out), [Problem("--out", message)])
        targets = [RefitTarget(run=runs[0].path, file=out)]
    else:
        targets = [RefitTarget(run=run.path, file=out / f"{run.name}{PACK_SUFFIX}") for run in runs]
        _make_folder(out)
    sources: dict[Path, list[str]] = {}
    for target in targets:
        sources.setdefault(target.file, []).append(str(target.run))
    for file, same in sources.items():
        if len(same) > 1:
            message = f"would be the file of {' and of '.join(same)}; fit them into two folders"
            raise ConfigError(str(file), [Problem("", message)])
        refuse_inside_run(file)
        check_free(file, may_replace=force)
    return targets


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(out), [Problem("", f"cannot be made: {reason}")]) from error


def _is_result(run: FoundRun) -> bool:
    """Tell whether a file in a folder is one that this command has written."""
    from hil_datasets.opened import open_source

    try:
        events = open_source(run.path).events()
    except DatasetError:
        return False  # whoever reads it says what is wrong
    if any("refit_of" in event for event in events):
        click.echo(f"left out: {run.path}: was itself fitted again", err=True)
        return True
    return False


def _reports(
    targets: list[RefitTarget], job: _Job, writers: WorkPool
) -> Iterator[RefitReport | HilError]:
    from rich.progress import MofNCompleteColumn

    from hil.cli.bars import draw_bar
    from hil.recorded.refit_files import refit_files

    is_one = len(targets) == 1
    whole: set[int] = set()
    shares: dict[int, float] = {}
    with draw_bar(MofNCompleteColumn()) as bar:
        name = targets[0].run.name if is_one else "fitting"
        task = bar.add_task(name, total=None if is_one else len(targets))

        def show(run: int, done: int, of: int) -> None:
            if is_one:
                bar.update(task, completed=done, total=of)
                return
            shares[run] = done / of
            if done == of:
                whole.add(run)
                del shares[run]
            bar.update(task, completed=len(whole) + sum(shares.values()))

        yield from refit_files(
            targets,
            job.options,
            pool=job.pool,
            writers=writers,
            selection=job.selection,
            may_replace=job.force,
            on_step=show,
        )


def _document(target: RefitTarget, report: RefitReport, options: RefitOptions) -> dict[str, Any]:
    from hil.cli.output import without_nan

    steps = [
        {
            "step": step.key.name,
            "core": step.key.core,
            "read_mode": str(step.key.read_mode),
            "visit": step.key.visit,
            "kind": str(step.key.kind),
            "errors_before": step.errors_before,
            "errors": step.errors,
            "ids_before": asdict(step.ids_before),
            "ids": asdict(step.ids),
        }
        for step in report.steps
    ]
    document: dict[str, Any] = without_nan(
        {
            "run": str(target.run),
            "file": str(target.file),
            "options": options.to_dict(),
            "steps": steps,
            "refused": [{"step": step, "reason": reason} for step, reason in report.refused],
        }
    )
    return document


def _echo(document: dict[str, Any]) -> None:
    from hil.cli.output import table_console
    from hil.report.refit_table import refit_table

    console = table_console()
    console.print(refit_table(document["steps"]))
    for refused in document["refused"]:
        click.echo(f"FAILED {refused['step']}: {refused['reason']}")
    click.echo(f"{document['run']}, fitted again: {document['file']}")
