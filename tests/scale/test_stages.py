"""Jobs of several stages in one map."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import scale_functions
from hil.core.errors import DatasetError, HilError
from hil.scale.pool import open_pool
from hil.scale.stages import Job, Stage, work_through
from hil.scale.work_pool import Later


def squares_twice(numbers: list[int]) -> Job[list[int]]:
    """Square numbers, then their squares."""
    for _ in range(2):
        found: list[int] = []

        def keep(_task: int, result: int, found: list[int] = found) -> None:
            found.append(result)

        yield Stage(function=scale_functions.square, tasks=numbers, on_result=keep)
        numbers = found
    return numbers


def complaint(number: int) -> Job[str]:
    yield Stage(function=scale_functions.complain, tasks=[1, number, 5, 6])
    return "whole"


def meeting(folder: Path, own: str, other: str) -> Job[str]:
    met: list[str] = []
    yield Stage(
        function=scale_functions.meet,
        tasks=[(folder, own, other)],
        on_result=lambda _, found: met.append(found),
    )
    return met[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_stage_begins_with_what_the_one_before_has_found(workers: int) -> None:
    jobs = [squares_twice([1, 2, 3]), squares_twice([]), squares_twice([4])]
    with open_pool(workers=workers) as pool:
        found = dict(work_through(jobs, pool=pool))
    assert found == {0: [1, 16, 81], 1: [], 2: [256]}


def test_tasks_of_different_jobs_are_under_way_at_the_same_time(tmp_path: Path) -> None:
    jobs = [meeting(tmp_path, "left", "right"), meeting(tmp_path, "right", "left")]
    with open_pool(workers=2) as pool:
        found = dict(work_through(jobs, pool=pool))
    assert found == {0: "right", 1: "left"}


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_a_task_ends_its_own_job_alone(workers: int) -> None:
    jobs = [complaint(2), complaint(3), complaint(4)]
    with open_pool(workers=workers) as pool:
        found = dict(work_through(jobs, pool=pool))
    assert (found[0], found[2]) == ("whole", "whole")
    assert isinstance(found[1], DatasetError)
    assert [problem.where for problem in found[1].problems] == ["/raw", "line"]


def test_error_is_raised_where_the_job_has_yielded_its_stage() -> None:
    def careful() -> Job[str]:
        try:
            yield Stage(function=scale_functions.complain, tasks=[3])
        except DatasetError as error:
            return f"caught {error.source}"
        return "nothing"

    with open_pool() as pool:
        assert list(work_through([careful()], pool=pool)) == [(0, "caught run")]


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 9)])
def test_few_jobs_are_open_at_a_time(workers: int, most: int) -> None:
    began = ended = largest = 0

    def jobs() -> Iterator[Job[list[int]]]:
        nonlocal began, largest
        for number in range(100):
            began += 1
            largest = max(largest, began - ended)
            yield squares_twice([number])

    with open_pool(workers=workers) as pool:
        for _ in work_through(jobs(), pool=pool):
            ended += 1
    assert (began, ended) == (100, 100)
    assert largest <= most  # as many as tasks under way: four for each of two workers


@pytest.mark.parametrize("workers", [1, 2])
def test_error_becomes_the_result_that_was_asked_for(workers: int) -> None:
    def none_of(_error: HilError) -> int:
        return -1

    with open_pool(workers=workers) as pool:
        found = list(pool.map(scale_functions.complain, range(6), on_error=none_of))
    assert found == [0, 1, 2, -1, 4, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_items_may_follow_from_results(workers: int) -> None:
    results: list[int] = []

    def items() -> Iterator[int | Later]:
        yield 2
        yield 3
        while len(results) < 2:
            yield Later.LATER
        yield sum(results)

    with open_pool(workers=workers) as pool:
        for result in pool.map(scale_functions.square, items()):
            results.append(result)  # noqa: PERF402 - the next items look at it
    assert results == [4, 9, 169]
