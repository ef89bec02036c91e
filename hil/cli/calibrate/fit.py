"""``hil calibrate fit``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.assignments import takes_assignments
from hil.cli.errors import ExitCode, exit_code_of, reports_errors
from hil.cli.publish import refuse_inside_run
from hil.cli.scale_options import scale_options, tell_waiting
from hil.core.errors import ConfigError, DatasetError, HilError, Problem, WorkerLostError
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from hil.recorded.refit import RefitRun, RefitSelection
    from hil.recorded.refit_options import RefitOptions
    from hil.scale.work_pool import WorkPool
    from hil_datasets.found_runs import FoundRun


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
@click.option("--core", "cores", type=click.IntRange(min=0), multiple=True, help="Only this core.")
@click.option(
    "--read-mode",
    "read_modes",
    type=click.Choice([str(mode) for mode in ReadMode]),
    multiple=True,
    help="Only this read mode.",
)
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
    from hil.recorded.refit import RefitSelection
    from hil.recorded.refit_options import RefitOptions
    from hil.scale.pool import open_pool

    targets = _targets(paths, out, force=force)
    documents: list[dict[str, Any]] = []
    code = ExitCode.DONE
    with open_pool(workers=workers, cluster=cluster, on_wait=tell_waiting) as pool:
        job = _Job(
            options=RefitOptions(
                assignments=assignments,
                calibration_vectors=calibration_vectors,
                is_robust=robust,
            ),
            selection=RefitSelection(
                cores=cores, read_modes=[ReadMode(mode) for mode in read_modes]
            ),
            pool=pool,
            force=force,
        )
        for run, file in targets.items():
            try:
                refit = _fit(run, file, job)
            except HilError as error:
                if len(targets) == 1 or isinstance(error, WorkerLostError):
                    raise
                click.echo(f"error: {error}", err=True)
                documents.append({"run": str(run), "error": str(error)})
                code = max(code, exit_code_of(error))
                continue
            documents.append(_document(refit, file))
            if refit.refused:
                code = max(code, ExitCode.SOME_FAILED)
            if not as_json:
                _echo(documents[-1])
    if as_json:
        click.echo(json.dumps({"runs": documents}, indent=1, allow_nan=False))
    raise SystemExit(code)


def _targets(paths: tuple[Path, ...], out: Path, *, force: bool) -> dict[Path, Path]:
    """Return which file each run becomes; nothing is read before all of them are free."""
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
        targets = {runs[0].path: out}
    else:
        targets = {run.path: out / f"{run.name}{PACK_SUFFIX}" for run in runs}
        _make_folder(out)
    for file in targets.values():
        same = [str(run) for run, other in targets.items() if other == file]
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


def _fit(run: Path, file: Path, job: _Job) -> RefitRun:
    from rich.progress import MofNCompleteColumn

    from hil.cli.progress import draw_bar
    from hil.recorded.refit import refit_run
    from hil.recorded.refit_file import write_refit
    from hil_datasets.opened import open_source

    with draw_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(run.name, total=None)
        refit = refit_run(
            open_source(run),
            job.options,
            pool=job.pool,
            selection=job.selection,
            on_step=lambda done, of: bar.update(task, completed=done, total=of),
        )
        write_refit(refit, file, may_replace=job.force)
    return refit


def _document(refit: RefitRun, file: Path) -> dict[str, Any]:
    from hil.cli.output import without_nan

    steps = [
        {
            "step": result.key.name,
            "core": result.key.core,
            "read_mode": str(result.key.read_mode),
            "visit": result.key.visit,
            "kind": str(result.key.kind),
            "errors_before": result.errors_before,
            "errors": result.conclusion.errors,
            "ids_before": asdict(refit.ids_before[result.key]),
            "ids": asdict(refit.ids(result)),
        }
        for result in refit.results
        if result.conclusion is not None
    ]
    refused = [{"step": each.key.name, "reason": each.refusal} for each in refit.refused]
    document: dict[str, Any] = without_nan(
        {
            "run": str(refit.source.path),
            "file": str(file),
            "options": refit.options.to_dict(),
            "steps": steps,
            "refused": refused,
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
