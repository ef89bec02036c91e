"""Only missing work is done: tasks without a stored result are evaluated, and stored at once."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from hil.explore.evaluate import FormatResult
from hil.explore.store import ResultKey, StudyFolder
from hil.scale.pool import open_pool


class StudyObserver(Protocol):
    """Who is told how a study goes."""

    def on_start(self, *, missing: int, stored: int) -> None:
        """Hear how many results are to be found, and how many were found before."""
        ...

    def on_result(self, result: FormatResult) -> None:
        """Hear of one more result, which is stored."""
        ...


class StudyTask(Protocol):
    """What one result is asked for by."""

    @property
    def format_text(self) -> str:
        """The format, shift 0."""
        ...

    @property
    def raw_sha256(self) -> str:
        """What tells its results from those of the same format elsewhere."""
        ...


TaskT = TypeVar("TaskT", bound=StudyTask)


def run_missing(
    wanted: Sequence[TaskT],
    evaluate: Callable[[TaskT], FormatResult],
    *,
    folder: StudyFolder,
    workers: int,
    cluster: str | None,
    observer: StudyObserver,
) -> tuple[dict[ResultKey, FormatResult], int]:
    """Evaluate the tasks that a folder has no result of; each is stored as soon as it is known.

    Parameters
    ----------
    wanted
        The tasks.
    evaluate
        What answers one; a function of a module, for other processes.
    folder
        Where the results are.
    workers, cluster, observer
        As in `run_study`.

    Returns
    -------
    The results of all tasks, and how many of them are new.
    """
    with folder.held():
        results = folder.results()
        missing = [task for task in wanted if (task.format_text, task.raw_sha256) not in results]
        observer.on_start(missing=len(missing), stored=len(wanted) - len(missing))
        keep = _keeper(folder, results, observer)
        if missing:
            with open_pool(workers=workers, cluster=cluster) as pool:
                for result in pool.map(evaluate, missing, on_leftover=keep):
                    keep(result)
    keys = {(task.format_text, task.raw_sha256) for task in wanted}
    return {key: result for key, result in results.items() if key in keys}, len(missing)


def _keeper(
    folder: StudyFolder, results: dict[ResultKey, FormatResult], observer: StudyObserver
) -> Callable[[FormatResult], None]:
    def keep(result: FormatResult) -> None:
        folder.append(result)
        results[result.format_text, result.raw_sha256] = result
        observer.on_result(result)

    return keep
