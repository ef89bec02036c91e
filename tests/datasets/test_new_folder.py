"""New folders: whole under their name or not there, whenever their maker is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import example_steps as example
from command_line import PROJECT
from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.joining.merging import merge_runs
from hil_datasets.joining.splitting import SplitBy, split_run
from hil_datasets.leftovers import in_use
from hil_datasets.new_folder import new_folder
from hil_datasets.packed.pack import pack_run
from hil_datasets.packed.packed_run import open_packed
from hil_datasets.packed.unpack import unpack_run
from hil_datasets.run_directory import RunDirectory

UTC = "2026-02-03T04:05:06+00:00"
MADE = "a file in it"


def files_of(folder: Path) -> dict[str, bytes]:
    """Return names and contents; of an index, whose bytes tell the time, the name."""
    return {
        str(path.relative_to(folder)): b"" if path.name == "campaign.h5" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.glob(".hil-*.part"))


def killed_at(event: int, work: Callable[[], object]) -> bool:
    """Do the work in a fork that kills itself at its nth file operation; say whether it did."""
    child = os.fork()
    if child == 0:
        left = event

        def count(name: str, _arguments: object) -> None:
            nonlocal left
            if name in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)


@pytest.fixture(params=["unpack", "split", "merge"])
def work(
    request: pytest.FixtureRequest, run: RunDirectory, tmp_path: Path
) -> Callable[[Path], object]:
    if request.param == "unpack":
        pack_run(run, tmp_path / "run.hil.h5")
        return lambda out: unpack_run(open_packed(tmp_path / "run.hil.h5"), out)
    if request.param == "split":
        return lambda out: split_run(run.path, SplitBy.CORE, out, utc=UTC)
    split_run(run.path, SplitBy.CORE, tmp_path / "parts", utc=UTC)
    parts = [tmp_path / "parts" / name for name in ("core00", "core02")]
    return lambda out: merge_runs(parts, out, utc=UTC)


def test_killed_work_leaves_its_folder_whole_or_not_there(
    work: Callable[[Path], object], tmp_path: Path
) -> None:
    work(tmp_path / "reference")
    reference = files_of(tmp_path / "reference")
    runs = sorted(name.rpartition("journal.jsonl")[0] for name in reference if "journal" in name)
    event, was_there = 1, []
    while killed_at(event, lambda: work(tmp_path / "out")):
        was_there.append((tmp_path / "out").exists())
        if was_there[-1]:
            assert files_of(tmp_path / "out") == reference
            assert not any(verify_run(tmp_path / "out" / name).findings for name in runs)
            (tmp_path / "out").rename(tmp_path / f"whole{event}")
        event = event * 3 // 2 + 1
    assert len(was_there) >= 5
    assert not was_there[0]
    assert files_of(tmp_path / "out") == reference


def test_work_that_ends_leaves_nothing_beside_its_folder(
    work: Callable[[Path], object], tmp_path: Path
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    work(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} - before == {"out"}


def test_body_that_fails_leaves_nothing_and_tells_places_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def fail() -> None:
        with new_folder(tmp_path / "out") as made:
            made.mkdir()
            raise DatasetError(str(made / "steps" / "a.h5"), [Problem("", "is wrong")])

    with pytest.raises(DatasetError, match=f"^{tmp_path}/out/steps/a.h5: is wrong$"):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_folder_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    def make() -> None:
        with new_folder(tmp_path / "out") as made:
            made.mkdir()
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").write_text(MADE)

    with pytest.raises(ConfigError, match="out: was taken by another process meanwhile"):
        make()
    assert files_of(tmp_path) == {"out/theirs": MADE.encode()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: out.write_text(MADE), "is a file"),
        (lambda out: out.symlink_to(out.parent), "is a symbolic link"),
        (lambda out: out.symlink_to("nowhere"), "is a symbolic link"),
        (lambda out: (out / "x").mkdir(parents=True), "is not empty"),
    ],
    ids=["file", "link", "dangling link", "folder"],
)
def test_name_in_use_is_refused(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "out")
    with pytest.raises(ConfigError) as caught, new_folder(tmp_path / "out"):
        pytest.fail("must not begin")
    told = f"{tmp_path / 'out'}: {words}; choose another folder with --out (nothing was changed)"
    assert str(caught.value) == told


def killed_maker(folder: Path) -> Path:
    """Return what a process leaves that is killed while it makes a folder, made old."""
    code = (
        "import os; from pathlib import Path; from hil_datasets.new_folder import new_folder\n"
        f"with new_folder(Path({str(folder)!r}) / 'out') as made:\n"
        "    made.mkdir(); (made / 'x').write_text('x'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = leftovers(folder)
    assert [path.name for path in left.rglob("x")] == ["x"]
    hour_ago = time.time() - 3600
    os.utime(left, (hour_ago, hour_ago))
    return left


def test_leftover_of_a_killed_process_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed_maker(tmp_path)
    with new_folder(tmp_path / "out") as made:
        made.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftover_that_is_young_or_held_or_no_plain_thing_stays(tmp_path: Path) -> None:
    old = killed_maker(tmp_path)
    (tmp_path / ".hil-young.part").write_text(MADE)
    (tmp_path / ".hil-link.part").symlink_to(tmp_path)
    with in_use(old), new_folder(tmp_path / "out") as made:
        made.mkdir()
    names = [old.name, ".hil-link.part", ".hil-young.part"]
    assert leftovers(tmp_path) == sorted(tmp_path / name for name in names)
    assert (old / "made" / "x").read_text() == "x"
