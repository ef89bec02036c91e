"""Questions about many files, asked ahead by several guarded readers, answered in order."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hil.scale.work_pool import WorkPool
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError

MOST_TOGETHER = 64
"""Files for which one reader is started."""
_GROUPS_PER_WORKER = 4


class Reader(Protocol):
    """Whoever answers questions about files."""

    def ask(self, what: str, path: Path, **details: Any) -> list[dict[str, Any]]:
        """Ask about a file, as in `GuardedReader`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about a file."""

    what: str
    """Which question: a name of `hil_datasets.integrity.reader_process`."""
    path: Path
    """The file."""
    details: dict[str, Any]
    """More about the question, as JSON holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Questions for which one reader is started."""

    questions: tuple[Question, ...]
    """The questions."""
    patience_s: float
    """As in `GuardedReader`."""

    def __str__(self) -> str:
        return f"{self.questions[0].path} to {self.questions[-1].path.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reader has said of a file."""

    said: list[dict[str, Any]]
    """As `Reader.ask` returns it."""
    ended: str = ""
    """Why the reader came to an end; empty if it did not."""


class PooledReader:
    """A `Reader` whose first answers come from others.

    Parameters
    ----------
    reader
        Who answers whatever was not asked ahead.
    questions
        What will be asked first, in this order.
    answers
        The answers to these.
    """

    def __init__(
        self, reader: Reader, questions: Sequence[Question], answers: Iterator[Answer]
    ) -> None:
        self._reader = reader
        self._ahead = deque(questions)
        self._answers = answers

    def ask(self, what: str, path: Path, **details: Any) -> list[dict[str, Any]]:
        """Return the answer that was asked ahead, or ask."""
        if not self._ahead or self._ahead[0] != Question(what=what, path=path, details=details):
            return self._reader.ask(what, path, **details)
        self._ahead.popleft()
        answer = next(self._answers)
        if answer.ended:
            raise ReaderEndedError(answer.ended, answer.said)
        return answer.said


def ask_ahead(
    reader: Reader, questions: Sequence[Question], *, pool: WorkPool, patience_s: float
) -> PooledReader:
    """Return a reader whose first answers come from the workers of a pool.

    Parameters
    ----------
    reader
        Who answers whatever was not asked ahead.
    questions
        What will be asked first, in this order.
    pool
        The workers; each reads the files itself.
    patience_s
        As in `GuardedReader`.
    """
    size = -(-len(questions) // (_GROUPS_PER_WORKER * pool.workers))
    groups = groups_of(questions, together=size, patience_s=patience_s)
    return PooledReader(reader, questions, _one_by_one(pool.map(answer_group, groups)))


def groups_of(
    questions: Sequence[Question], *, together: int = MOST_TOGETHER, patience_s: float
) -> list[Group]:
    """Return the questions in groups of at most so many, and of at most `MOST_TOGETHER`."""
    size = min(max(together, 1), MOST_TOGETHER)
    return [
        Group(questions=tuple(questions[first : first + size]), patience_s=patience_s)
        for first in range(0, len(questions), size)
    ]


def answer_group(group: Group) -> list[Answer]:
    """Answer in a worker, with one guarded reader for the whole group."""
    answers = []
    with GuardedReader(patience_s=group.patience_s) as reader:
        for question in group.questions:
            try:
                said = reader.ask(question.what, question.path.absolute(), **question.details)
                answers.append(Answer(said=said))
            except ReaderEndedError as error:
                answers.append(Answer(said=error.said, ended=str(error)))
    return answers


def _one_by_one(groups: Iterator[list[Answer]]) -> Iterator[Answer]:
    for group in groups:
        yield from group
