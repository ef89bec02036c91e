"""What holds for every test: no process outlives it, and a busy machine gets a second chance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import ended_processes
from forked_hil import ForkedMock
from hil_mock_device import launch

HERE = Path(__file__).parent
WITHOUT_PROCESSES = ("calibration", "core", "docs", "inference")
"""Folders whose tests talk to no other process. All others may, with deadlines: a machine that
stalls for seconds fails them. They run up to twice more; pytest prints each such test as RERUN, so
that none goes unseen."""


LONG = ("end_to_end", "faults", "chips", "guards", "cli")
"""Folders whose files take long: they come first, so that all workers end at the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with processes run again, and what takes long begin first."""
    items.sort(key=lambda item: not is_long(item.path))
    for item in items:
        if (
            item.path.is_relative_to(HERE)
            and item.path.relative_to(HERE).parts[0] not in WITHOUT_PROCESSES
        ):
            item.add_marker(pytest.mark.flaky(reruns=2))


def is_long(path: Path) -> bool:
    """Tell whether a file's tests are likely to take long; pages run campaigns."""
    is_test = path.is_relative_to(HERE)
    return path.suffix == ".md" or (is_test and path.relative_to(HERE).parts[0] in LONG)


@pytest.fixture(autouse=True, scope="session")
def _quick_mocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "SERVER", ForkedMock())
        yield


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    with ended_processes():
        yield
