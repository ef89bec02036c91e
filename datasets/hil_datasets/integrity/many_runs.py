"""Checking many runs: small ones each as a whole, large ones some files at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hil.core.errors import DatasetError, HilError
from hil.scale.stages import Job, Stage, work_through
from hil.scale.work_pool import WorkPool
from hil_datasets.integrity.finding import RunFindings
from hil_datasets.integrity.pooled_reader import (
    MOST_TOGETHER,
    Answer,
    Group,
    answer_group,
    groups_of,
)
from hil_datasets.integrity.run_check import questions_about, verify_run
from hil_datasets.run_directory import open_directory

_PATIENCE_S = 20.0


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
    tasks = [
        _Task(path=run.absolute(), is_quick=is_quick, is_split=pool.workers > 1) for run in runs
    ]
    found: dict[int, RunFindings | HilError] = {}
    due = 0
    for place, outcome in work_through(map(_verified, tasks), pool=pool):
        found[place] = outcome
        while due in found:
            yield _in_words_of(runs[due], found.pop(due))
            due += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    path: Path
    is_quick: bool
    is_split: bool
    """Whether a run of many files is left to several workers."""
    answers: tuple[Answer, ...] = ()
    """What was found in its files, one by one."""

    def __str__(self) -> str:
        return str(self.path)


def _verified(task: _Task) -> Job[RunFindings]:
    found: list[RunFindings | list[Group]] = []
    yield Stage(
        function=_verify_or_split, tasks=[task], on_result=lambda _, result: found.append(result)
    )
    first = found.pop()
    if isinstance(first, RunFindings):
        return first
    answers: list[Answer] = []
    yield Stage(
        function=answer_group, tasks=first, on_result=lambda _, result: answers.extend(result)
    )
    whole: list[RunFindings] = []
    yield Stage(
        function=_verify_answered,
        tasks=[replace(task, answers=tuple(answers))],
        on_result=lambda _, result: whole.append(result),
    )
    return whole.pop()


def _verify_or_split(task: _Task) -> RunFindings | list[Group]:
    if task.is_split and task.path.is_dir():
        questions = questions_about(open_directory(task.path), is_quick=task.is_quick)
        if len(questions) > MOST_TOGETHER:
            return groups_of(questions, patience_s=_PATIENCE_S)
    return verify_run(task.path, is_quick=task.is_quick, patience_s=_PATIENCE_S)


def _verify_answered(task: _Task) -> RunFindings:
    return verify_run(
        task.path, is_quick=task.is_quick, patience_s=_PATIENCE_S, answers=task.answers
    )


def _in_words_of(run: Path, found: RunFindings | HilError) -> RunFindings | DatasetError:
    """Name the run as whoever asked has named it."""
    if isinstance(found, RunFindings):
        return replace(found, run=run)
    if not isinstance(found, DatasetError):
        raise found
    return DatasetError(found.source.replace(str(run.absolute()), str(run), 1), found.problems)
