"""What holds for every test: no process outlives it, and a busy machine gets a second chance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import ended_processes

HERE = Path(__file__).parent
WITHOUT_PROCESSES = ("calibration", "core", "docs", "inference")
"""Folders whose tests talk to no other process. All others may, with deadlines: a machine that
stalls for seconds fails them. They run up to twice more; pytest prints each such test as RERUN, so
that none goes unseen."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with processes run again."""
    for item in items:
        if (
            item.path.is_relative_to(HERE)
            and item.path.relative_to(HERE).parts[0] not in WITHOUT_PROCESSES
        ):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    with ended_processes():
        yield
