"""Checking many runs, each as a whole by one worker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hil.core.errors import DatasetError
from hil.scale.work_pool import WorkPool
from hil_datasets.integrity.finding import RunFindings
from hil_datasets.integrity.run_check import verify_run


def verify_runs(
    runs: Sequence[Path], *, is_quick: bool, pool: WorkPool
) -> Iterator[RunFindings | DatasetError]:
    """Yield what is wrong in each run, in the order of the runs.

    Parameters
    ----------
    runs
        Their folders.
    is_quick
        As in `verify_run`.
    pool
        Who does it; the findings do not depend on it.

    Returns
    -------
    For each run its findings, or the error because of which there are none.
    """
    tasks = [_Task(path=run.absolute(), is_quick=is_quick) for run in runs]
    for run, task, found in zip(runs, tasks, pool.map(_verify, tasks), strict=True):
        if isinstance(found, RunFindings):
            yield replace(found, run=run)
        else:  # in the words of whoever asked
            source = found.source.replace(str(task.path), str(run), 1)
            yield DatasetError(source, found.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    path: Path
    is_quick: bool

    def __str__(self) -> str:
        return str(self.path)


def _verify(task: _Task) -> RunFindings | DatasetError:
    try:
        return verify_run(task.path, is_quick=task.is_quick)
    except DatasetError as error:
        return error  # the other runs are checked all the same
