"""Many runs verified by the same workers: what is found does not depend on who reads the files."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.core.errors import DatasetError, HilError
from hil.scale.in_order import in_order
from hil.scale.work_pool import Later
from hil_datasets.integrity.many_runs import verify_runs
from hil_datasets.integrity.run_check import verify_run
from recorded_runs import command


@pytest.fixture(scope="module")
def bench(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a run that has 63 files too many, and a damaged one."""
    folder = tmp_path_factory.mktemp("bench")
    for chip in ("large", "small"):
        shutil.copytree(run, folder / chip)
    for number in range(63):
        extra = folder / "large" / "steps" / f"core{number + 1:02d}_one_phase.h5"
        extra.write_bytes(b"no step")
    (folder / "small" / "steps" / "core00_four_phase.h5").unlink()
    return folder


class Noted:
    """An item that is worked on when its result is due."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.result = find

    def is_ready(self) -> bool:
        return False

    def cancel(self) -> None:
        pass

    def finished(self) -> tuple[Any, ...]:
        return ()


class NotedPool:
    """Two workers that are this process, and the names of what they were given."""

    workers = 2

    def __init__(self) -> None:
        self.given: list[str] = []

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any | Later],
        *,
        on_leftover: Callable[[Any], None] | None = None,
        on_error: Callable[[HilError], Any] | None = None,
    ) -> Iterator[Any]:
        def submit(item: Any) -> Noted:
            self.given.append(str(item).rpartition("/")[2])
            return Noted(lambda: function(item))

        yield from in_order(
            items, submit=submit, most=8, on_leftover=on_leftover, on_error=on_error
        )


def test_run_of_many_files_is_left_to_several_workers_with_the_same_findings(bench: Path) -> None:
    pool = NotedPool()
    chips = [bench / name for name in ("large", "small", "gone")]
    large, small, gone = verify_runs(chips, is_quick=False, pool=pool)
    assert pool.given == [
        "large",
        "small",
        "gone",
        "core00_four_phase.h5 to core55_one_phase.h5",
        "core56_one_phase.h5 to core63_one_phase.h5",
        "large",
    ]
    assert large == verify_run(chips[0])
    assert large.steps == 72
    assert len(large.findings) >= 63
    assert small == verify_run(chips[1])
    assert not small.is_whole
    assert str(gone) == f"{bench}/gone: no such folder"
    assert isinstance(gone, DatasetError)


def test_findings_are_the_same_for_one_and_two_workers(bench: Path) -> None:
    words = ("data", "verify", bench, "--quick", "--json", "--workers")
    one, two = command(*words, 1), command(*words, 2)
    assert [entry["run"].rpartition("/")[2] for entry in one.json] == ["large", "small"]
    assert one.code == 1
    assert one == two
