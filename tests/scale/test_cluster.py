"""Work on a Dask cluster: a real scheduler and real workers, each a process of this machine."""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

import h5py
import pytest

import scale_functions
from benchmarks.local_cluster import LocalCluster, local_cluster
from command_line import campaign_file, hil
from hil.core.errors import ConfigError, DatasetError, HilError, WorkerLostError
from hil.scale.pool import open_pool
from hil_datasets.integrity.run_check import verify_run

pytest.importorskip("distributed", reason="needs the extra `cluster`")

from hil.scale.cluster import open_cluster

PROFILE = """\
schema_version = 1
name = "small"
seed = 3
[array]
cores = 2
rows = 32
columns = 16
[counter]
full_scale_products = 70000.0
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A cluster of four workers, all of them there."""
    with local_cluster(4) as started:
        started.wait_for_workers(4)
        yield started


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a small chip, a damaged copy of it, and a folder that is no run."""
    folder = tmp_path_factory.mktemp("chips")
    (folder / "small.toml").write_text(PROFILE)
    many = folder / "many"
    ended = hil("run", campaign_file(folder, resource="mock://small.toml"), "--out", many / "a")
    assert ended.code == 0, ended.stderr
    shutil.copytree(many / "a", many / "b")
    step = sorted((many / "b" / "steps").iterdir())[1]
    with h5py.File(step) as file:
        counts_at = file["raw"].id.get_offset()
    with step.open("r+b") as file:
        file.seek(counts_at)
        file.write(b"\x55\xaa")
    (many / "c").mkdir()
    (many / "c" / "journal.jsonl").write_text("no journal\n")
    return many


def test_results_come_in_the_order_of_the_items(cluster: LocalCluster) -> None:
    with open_pool(cluster=cluster.address) as pool:
        found = list(pool.map(scale_functions.square, range(9)))
    assert found == [0, 1, 4, 9, 16, 25, 36, 49, 64]


def test_error_of_a_worker_has_its_class_and_every_problem(cluster: LocalCluster) -> None:
    with open_pool(cluster=cluster.address) as pool:
        results = pool.map(scale_functions.complain, range(9))
        assert list(islice(results, 3)) == [0, 1, 2]
        with pytest.raises(DatasetError) as caught:
            next(results)
    assert [problem.where for problem in caught.value.problems] == ["/raw", "line"]


def test_result_too_large_for_a_scheduler_is_refused(cluster: LocalCluster) -> None:
    size = 16 * 1024 * 1024
    with (
        open_pool(cluster=cluster.address) as pool,
        pytest.raises(HilError, match=f"{size}: a result of .* bytes; at most 16777216 go through"),
    ):
        list(pool.map(scale_functions.large, [size]))


def test_killed_worker_costs_no_result(cluster: LocalCluster, tmp_path: Path) -> None:
    with open_pool(cluster=cluster.address) as pool:
        results = pool.map(scale_functions.note_and_square, [(tmp_path, n) for n in range(60)])
        found = list(islice(results, 10))
        at_work = {int(note.name) for note in tmp_path.iterdir()}
        victim = next(worker for worker in cluster.workers if worker.pid in at_work)
        victim.kill()
        victim.wait()
        found += results
    cluster.add_worker()
    cluster.wait_for_workers(4)
    assert found == [n * n for n in range(60)]


def test_many_runs_are_verified_to_the_same_bytes_by_one_and_by_four_workers_of_a_cluster(
    cluster: LocalCluster, runs: Path
) -> None:
    words = ("data", "verify", "many", "--json")
    one = hil(*words, cwd=runs.parent)
    assert [(entry["run"], entry["is_whole"]) for entry in one.json] == [
        ("many/a", True), ("many/b", False), ("many/c", False),
    ]  # fmt: skip
    assert one.code == 1
    assert hil(*words, "--cluster", cluster.address, cwd=runs.parent) == one


def test_many_runs_are_shown_as_one_table(runs: Path) -> None:
    ended = hil("data", "verify", "many/a", "many/b", "lost", "--workers", 2, cwd=runs.parent)
    assert ended.code == 5
    lines = ended.stdout.splitlines()
    assert lines[-5] == "lost: no such folder"
    assert [line.split()[0] for line in lines[-4:]] == ["steps", "4", "4", "cannot"]
    assert [line.rpartition("  ")[2] for line in lines[-4:]] == ["run", "many/a", "many/b", "lost"]
    assert lines[-3].split()[2] == "whole"
    assert "3 problems" in lines[-2]
    assert any(line.startswith("many/b/steps/core00_") for line in lines[:-5])


def test_one_run_is_verified_file_by_file_with_the_same_findings(
    cluster: LocalCluster, runs: Path
) -> None:
    one = verify_run(runs / "b")
    assert [finding.path for finding in one.findings] == ["steps/core00_one_phase.h5"] * 3
    with open_pool(cluster=cluster.address) as pool:
        assert verify_run(runs / "b", pool=pool) == one
    with open_pool(workers=2) as pool:
        assert verify_run(runs / "b", pool=pool) == one


def test_runs_fitted_on_a_cluster_become_the_same_files_as_in_one_process(
    cluster: LocalCluster, runs: Path
) -> None:
    words = ("calibrate", "fit", "many", "--read-mode", "one_phase", "--json", "--force", "--out")
    one = hil(*words, "one", cwd=runs.parent)
    many = hil(*words, "spread", "--cluster", cluster.address, cwd=runs.parent)
    assert [list(entry) for entry in one.json["runs"]] == [
        ["run", "file", "options", "steps", "refused"], ["run", "error"], ["run", "error"],
    ]  # fmt: skip
    assert one.code == 5
    assert (many.code, many.stdout.replace("spread", "one"), many.stderr) == (
        5,
        one.stdout,
        one.stderr,
    )
    files = [sorted((runs.parent / name).iterdir()) for name in ("one", "spread")]
    assert [[path.name for path in found] for found in files] == [["a.hil.h5"]] * 2
    assert files[0][0].read_bytes() == files[1][0].read_bytes()


def test_study_on_a_cluster_stores_the_same_bytes_as_one_process(
    cluster: LocalCluster, runs: Path, tmp_path: Path
) -> None:
    words = ("explore", "many/a", "--axis", "scale_bits=8,4", "--core", 0, "--json", "--out")
    one = hil(*words, tmp_path / "one", "--workers", 1, cwd=runs.parent)
    many = hil(*words, tmp_path / "many", "--cluster", cluster.address, cwd=runs.parent)
    assert (many.code, many.stdout) == (0, one.stdout)
    stored = [(tmp_path / name / "results.jsonl").read_bytes() for name in ("one", "many")]
    assert stored[0] == stored[1]
    assert stored[0].count(b"\n") == 4  # two formats on two steps


def test_worker_of_another_version_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    preload = tmp_path / "older.py"
    preload.write_text("import hil\nhil.__version__ = '0.0.1'\n")
    with local_cluster(0) as other:
        other.add_worker("--preload", str(preload))
        with (
            pytest.raises(ConfigError, match=r"has aimc-hil 0\.0\.1, the command has .*: install"),
            open_cluster(other.address),
        ):
            pass


def test_scheduler_without_workers_is_waited_for_and_says_how_to_start_one() -> None:
    told: list[str] = []
    with (
        local_cluster(0) as idle,
        pytest.raises(ConfigError, match="has no workers after 1 s: start some with: dask worker"),
        open_cluster(idle.address, patience_s=0.6, on_wait=told.append),
    ):
        pass
    [words] = told
    assert words.startswith(f"{idle.address} has no workers yet: waiting up to 1 s for one; start")


def test_item_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    # One death is enough for this scheduler to give an item up; the pool then tries it once more.
    with local_cluster(2, allowed_failures=0) as fragile:
        fragile.wait_for_workers(2)
        with (
            open_cluster(fragile.address) as pool,
            pytest.raises(WorkerLostError, match=r"^2: the workers .* died, 1 one after"),
        ):
            list(pool.map(scale_functions.die, [2]))


def test_scheduler_that_ends_is_an_error_that_says_so() -> None:
    with local_cluster(1) as ended, open_cluster(ended.address) as pool:
        results = pool.map(scale_functions.square, range(10**6))
        assert list(islice(results, 3)) == [0, 1, 4]
        ended.scheduler.kill()
        with pytest.raises(WorkerLostError, match="connection to the scheduler of the cluster"):
            list(results)


def test_address_where_nobody_answers_is_named() -> None:
    with (
        pytest.raises(ConfigError, match=r"--cluster tcp://127\.0\.0\.1:1: no scheduler answers"),
        open_cluster("tcp://127.0.0.1:1", connects_within_s=0.3),
    ):
        pass


def answering(words: bytes) -> Iterator[str]:
    """Listen, take connections, say something to each, and keep it."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as held:

        def take() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    link = held.enter_context(server.accept()[0])
                    link.sendall(words)

        thread = threading.Thread(target=take)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"", "nobody greeted within 0.5 s: no Dask scheduler listens there, or it hangs"),
        (b"\x40\0\0\0\0\0\0\0half", "nobody greeted within 0.5 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "somebody answers there who is no Dask scheduler"),
        (b"\0\0\0\xff\0\0\0\0", "somebody answers there who is no Dask scheduler"),
        (b"\x04\0\0\0\0\0\0\0\xff\xff\xff\xff", "no scheduler answers there"),
    ],
    ids=["silent", "slow", "http", "gigabytes", "garbage"],
)
def test_listener_that_is_no_scheduler_is_named(words: bytes, told: str) -> None:
    with (
        contextmanager(answering)(words) as address,
        pytest.raises(ConfigError, match=f"--cluster {address}: {told}.*; start one with: dask"),
        open_cluster(address, connects_within_s=0.5),
    ):
        pass


@pytest.mark.parametrize("address", ["scheduler", "http://127.0.0.1:8786", "tcp://127.0.0.1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"--cluster {address}: is no address of a scheduler, as"),
        open_pool(cluster=address),
    ):
        pass


def test_missing_library_is_named_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['distributed'] = None; from hil.cli import main; "
        "sys.argv[1:] = ['data', 'verify', 'run', '--cluster', 'tcp://127.0.0.1:1']; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stderr == (
        "error: --cluster: needs the library distributed: pip install 'aimc-hil[cluster]'\n"
    )


def test_workers_and_cluster_together_are_refused() -> None:
    ended = hil("data", "verify", "run", "--workers", 2, "--cluster", "tcp://127.0.0.1:1")
    assert ended.code == 2
    assert "--workers and --cluster exclude each other; use one" in ended.stderr
