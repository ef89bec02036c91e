"""Many runs fitted again, each into a file of its own, by the same workers."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, HilError
from hil.recorded.refit import RefitRun, refit_job
from hil.recorded.refit_file import write_refit
from hil.recorded.refit_options import RefitOptions
from hil.recorded.refit_plan import RefitSelection
from hil.scale.stages import work_through
from hil.scale.work_pool import WorkPool
from hil_datasets.content_id import StepIds
from hil_datasets.step import StepKey

OnRunStep = Callable[[int, int, int], None]
"""Called with the place of a run among the runs, its steps that are done, and all its steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitTarget:
    """A run, and what it becomes."""

    run: Path
    """Folder or packed file."""
    file: Path
    """The file to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """What another fit has changed of a step."""

    key: StepKey
    """Which step."""
    errors_before: dict[str, float]
    """Relative L2 errors of the former correction."""
    errors: dict[str, float]
    """Those of the new one, on the same held-out vectors."""
    ids_before: StepIds
    """Its former ids."""
    ids: StepIds
    """The new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitReport:
    """What became of a run: small, where the result itself is in the file."""

    steps: tuple[StepChange, ...]
    """The steps that were fitted or judged."""
    refused: tuple[tuple[str, str], ...]
    """Names of the others, and why their readouts allow no conclusion."""


def refit_files(
    targets: Sequence[RefitTarget],
    options: RefitOptions,
    *,
    pool: WorkPool,
    writers: WorkPool,
    selection: RefitSelection,
    may_replace: bool = False,
    on_step: OnRunStep = lambda _run, _done, _of: None,
) -> Iterator[RefitReport | HilError]:
    """Fit runs again: one map over the steps of all of them, another over the files.

    A file is written as soon as its run is fitted, and gets its name when it is whole.

    Parameters
    ----------
    targets
        The runs and the files.
    options
        What is to be different.
    pool
        Who looks at the runs and fits them.
    writers
        Who writes the files: `pool`, unless its workers are on other machines.
    selection
        Which steps of each run.
    may_replace
        Whether files that exist may be replaced.
    on_step
        Told how far each run is.

    Returns
    -------
    For each run, in their order, what became of it, or the error because of which it has no file.

    Raises
    ------
    WorkerLostError
        If a worker is gone, or the whole cluster; what is written by then stays.
    """
    order: deque[int] = deque()
    jobs = (
        refit_job(target.run, options, selection=selection, on_step=partial(on_step, place))
        for place, target in enumerate(targets)
    )

    def files() -> Iterator[_FileTask]:
        for place, fitted in work_through(jobs, pool=pool):
            order.append(place)
            file = targets[place].file.absolute()
            yield _FileTask(fitted=fitted, file=file, may_replace=may_replace)

    found: dict[int, RefitReport | HilError] = {}
    due = 0
    for report in writers.map(_write, files(), on_error=lambda error: error):
        found[order.popleft()] = report
        while due in found:
            yield _in_words_of(targets[due], found.pop(due))
            due += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileTask:
    fitted: RefitRun | HilError
    file: Path
    may_replace: bool

    def __str__(self) -> str:
        return str(self.file)


def _write(task: _FileTask) -> RefitReport | HilError:
    fitted = task.fitted
    if isinstance(fitted, HilError):
        return fitted  # reported when it is due
    write_refit(fitted, task.file, may_replace=task.may_replace)
    return RefitReport(
        steps=tuple(
            StepChange(
                key=result.key,
                errors_before=result.errors_before,
                errors=result.conclusion.errors,
                ids_before=fitted.ids_before[result.key],
                ids=fitted.ids(result),
            )
            for result in fitted.results
            if result.conclusion is not None
        ),
        refused=tuple((result.key.name, result.refusal) for result in fitted.refused),
    )


def _in_words_of(target: RefitTarget, found: RefitReport | HilError) -> RefitReport | HilError:
    """Name places in an error as whoever asked has named them, not as the workers do."""
    if not isinstance(found, ConfigError | DatasetError):
        return found

    def said(text: str) -> str:
        for path in (target.run, target.file):
            if text.startswith(str(path.absolute())):
                return text.replace(str(path.absolute()), str(path), 1)
        return text

    problems = [
        replace(problem, source=problem.source and said(problem.source))
        for problem in found.problems
    ]
    kind = DatasetError if isinstance(found, DatasetError) else ConfigError
    return kind(said(found.source), problems)
