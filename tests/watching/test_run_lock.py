"""One writer per run directory, with real processes; other machines and old numbers are faked."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil.campaign.process_identity import ProcessIdentity, ProcessTable, Whereabouts
from hil.campaign.run_lock import acquire_run_lock, read_lock
from hil.core.errors import ConfigError
from run_writer import running_writer

BOOT = "11111111-2222-3333-4444-555555555555"


def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def fake_proc(
    folder: Path, *, boot_id: str = BOOT, processes: dict[int, tuple[int, str]] | None = None
) -> Path:
    """Write what a Linux system tells of its processes: number to start time and state."""
    kernel = folder / "sys" / "kernel" / "random"
    kernel.mkdir(parents=True, exist_ok=True)
    (kernel / "boot_id").write_text(f"{boot_id}\n")
    for pid, (started, state) in (processes or {}).items():
        (folder / str(pid)).mkdir(exist_ok=True)
        middle = " ".join(["0"] * 18)
        (folder / str(pid) / "stat").write_text(f"{pid} (a) b) {state} {middle} {started} 0 0\n")
    return folder


def table_of(proc: Path, *, host: str = "bench", machine: str = "m1") -> ProcessTable:
    identifier = proc / f"machine-{machine}"
    identifier.write_text(machine)
    return ProcessTable(proc=proc, machine_id=identifier, host=host)


def write_lock(folder: Path, process: ProcessIdentity) -> bytes:
    content = json.dumps({**process.to_json(), "since": "2026-01-30T00:00:00+00:00"}).encode()
    (folder / "lock.json").write_bytes(content)
    return content


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return fake_proc(
        tmp_path / "proc", processes={os.getpid(): (500, "R"), 77: (900, "S"), 78: (901, "Z")}
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def other(table: ProcessTable, pid: int, started: int) -> ProcessIdentity:
    return replace(table.own(), pid=pid, started=started, user="ada")


def test_lock_names_its_process_and_is_gone_afterwards(run: Path) -> None:
    with acquire_run_lock(run, now=now) as lock:
        stored = json.loads((run / "lock.json").read_bytes())
        assert lock.is_held
        assert stored["pid"] == os.getpid()
        assert stored["since"] == "2026-01-31T12:00:00+00:00"
        assert stored["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert list(run.iterdir()) == []
    assert not lock.is_held


def test_start_time_is_the_systems_own() -> None:
    stat = Path(f"/proc/{os.getpid()}/stat").read_text()
    assert ProcessTable().own().started == int(stat.rsplit(")", 1)[1].split()[19])


def test_second_writer_is_refused_and_told_who_the_first_is(run: Path) -> None:
    with running_writer(run, "--steps", "50") as first:
        with pytest.raises(
            ConfigError, match=f"is written by process {first.pid} of .* hil status"
        ):
            acquire_run_lock(run, now=now)
        with pytest.raises(ConfigError, match="is written by"):
            acquire_run_lock(run, now=now, breaks_lock=True)
        assert first.poll() is None


def test_same_process_cannot_take_it_twice(run: Path) -> None:
    with acquire_run_lock(run, now=now), pytest.raises(ConfigError, match="is written by"):
        acquire_run_lock(run, now=now)


def test_reader_does_not_let_go_of_it(run: Path) -> None:
    with acquire_run_lock(run, now=now) as lock:
        assert read_lock(run) == lock.owner
        with pytest.raises(ConfigError):
            acquire_run_lock(run, now=now)


def test_killed_writers_lock_is_taken_over_with_a_note(run: Path) -> None:
    with running_writer(run, "--steps", "50") as first:
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=20)
    assert (run / "lock.json").exists()
    with acquire_run_lock(run, now=now) as lock:
        assert lock.note.startswith(f"took over the lock of process {first.pid} of ")
        assert lock.note.endswith("that process is gone")
        assert json.loads((run / "lock.json").read_bytes())["pid"] == os.getpid()


def test_suspended_writer_keeps_it(run: Path) -> None:
    with running_writer(run, "--steps", "50") as first:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(ConfigError, match="is written by"):
            acquire_run_lock(run, now=now)
        first.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("leaves_stale_lock", [False, True], ids=["no lock", "stale lock"])
def test_of_many_at_once_exactly_one_gets_it(
    run: Path, proc: Path, *, leaves_stale_lock: bool
) -> None:
    if leaves_stale_lock:
        own = ProcessTable().own()
        write_lock(run, replace(own, boot_id="before", user="ada"))
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hil.campaign.run_lock import acquire_run_lock\n"
        "from datetime import UTC, datetime\n"
        "from hil.core.errors import ConfigError\n"
        "sys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
        "try:\n"
        f"    lock = acquire_run_lock(Path({str(run)!r}), now=lambda: datetime.now(UTC))\n"
        "except ConfigError:\n"
        "    sys.exit(3)\n"
        "sys.stdin.readline()\n"
    )
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for contender in contenders:
        assert contender.stdout is not None
        assert contender.stdout.readline() == "up\n"
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("go\n")
        contender.stdin.flush()
    # The winner holds it until it is told to end, so the losers must end on their own.
    losers: list[subprocess.Popen[str]] = []
    while len(losers) < 3:
        losers = [contender for contender in contenders if contender.poll() is not None]
    (winner,) = (contender for contender in contenders if contender not in losers)
    assert {loser.returncode for loser in losers} == {3}
    owner = read_lock(run)
    assert owner is not None
    assert owner.process.pid == winner.pid
    for contender in contenders:
        contender.communicate(timeout=20)
    assert [path.name for path in run.iterdir()] == ["lock.json"]


@pytest.mark.parametrize(
    ("pid", "started", "boot_id", "where"),
    [
        (77, 900, BOOT, Whereabouts.ALIVE),
        (77, 899, BOOT, Whereabouts.REUSED),
        (76, 900, BOOT, Whereabouts.GONE),
        (78, 901, BOOT, Whereabouts.GONE),
        (77, 900, "another boot", Whereabouts.REBOOTED),
    ],
    ids=["alive", "number used again", "gone", "zombie", "rebooted"],
)
def test_process_is_told_from_those_that_had_its_number(
    proc: Path, pid: int, started: int, boot_id: str, where: Whereabouts
) -> None:
    table = table_of(proc)
    process = replace(other(table, pid, started), boot_id=boot_id)
    assert table.find(process) is where


def test_lock_of_a_number_that_is_used_again_is_taken_over(run: Path, proc: Path) -> None:
    table = table_of(proc)
    write_lock(run, other(table, 77, 899))
    with acquire_run_lock(run, now=now, table=table) as lock:
        assert lock.note.endswith("that process is gone, and another one has its number")


def test_lock_from_before_a_restart_of_the_machine_is_taken_over(run: Path, proc: Path) -> None:
    table = table_of(proc)
    write_lock(run, replace(other(table, 77, 900), boot_id="another boot"))
    with acquire_run_lock(run, now=now, table=table) as lock:
        assert lock.note.endswith("the machine has started again since")


def test_live_process_keeps_it_where_the_system_has_no_locks(run: Path, proc: Path) -> None:
    table = table_of(proc)
    content = write_lock(run, other(table, 77, 900))  # nobody has the system's lock on it
    with pytest.raises(ConfigError, match="is written by process 77 of ada on bench"):
        acquire_run_lock(run, now=now, table=table, breaks_lock=True)
    assert (run / "lock.json").read_bytes() == content


@pytest.mark.parametrize(("host", "machine"), [("cellar", "m2"), ("bench", "m2")])
def test_other_machines_lock_is_broken_only_on_request(
    run: Path, tmp_path: Path, proc: Path, host: str, machine: str
) -> None:
    far = table_of(fake_proc(tmp_path / "far", boot_id="far"), host=host, machine=machine)
    content = write_lock(run, other(far, 77, 900))
    table = table_of(proc)
    with pytest.raises(ConfigError, match=f"ada on {host}.* another machine.*--break-lock"):
        acquire_run_lock(run, now=now, table=table)
    assert (run / "lock.json").read_bytes() == content
    with acquire_run_lock(run, now=now, table=table, breaks_lock=True) as lock:
        assert lock.note.endswith("it was to be broken")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"pid": -1}', b"\xff", b"[" * 40000],
    ids=["empty", "cut", "list", "wrong", "binary", "deep"],
)
def test_unreadable_lock_is_broken_only_on_request(run: Path, content: bytes) -> None:
    (run / "lock.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"lock.json cannot be read.*--break-lock"):
        acquire_run_lock(run, now=now)
    with pytest.raises(ValueError, match=r"lock.json"):
        read_lock(run)
    with acquire_run_lock(run, now=now, breaks_lock=True) as lock:
        assert lock.is_held


def test_holder_sees_that_its_lock_was_broken_and_leaves_the_new_one(run: Path) -> None:
    lock = acquire_run_lock(run, now=now)
    (run / "lock.json").unlink()
    (run / "lock.json").write_text("another's")
    assert not lock.is_held
    lock.release()
    assert (run / "lock.json").read_text() == "another's"


def test_child_that_was_left_behind_does_not_look_like_the_writer(run: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from hil.campaign.run_lock import acquire_run_lock\n"
        "from datetime import UTC, datetime\n"
        f"lock = acquire_run_lock(Path({str(run)!r}), now=lambda: datetime.now(UTC))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(60)\n"
        "sys.stdout.write(f'{child}\\n'); sys.stdout.flush()\n"
        "os._exit(0)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    child = int(writer.stdout.readline())
    writer.wait(timeout=20)
    writer.stdout.close()
    try:
        with pytest.raises(ConfigError, match="which is gone, but a process that it started"):
            acquire_run_lock(run, now=now)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_is_a_clear_error(run: Path) -> None:
    run.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be locked: Permission denied"):
        acquire_run_lock(run, now=now)


def test_lock_is_whole_whenever_its_process_is_killed(run: Path) -> None:
    code = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from hil.campaign.run_lock import acquire_run_lock\n"
        "sys.stdout.write('up\\n'); sys.stdout.flush()\n"
        "while True:\n"
        f"    acquire_run_lock(Path({str(run)!r}), now=lambda: datetime.now(UTC)).release()\n"
    )
    for number in range(8):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(0.003 * number)
        process.kill()
        process.communicate(timeout=20)
        read_lock(run)  # raises if it is cut short
        acquire_run_lock(run, now=now).release()


def test_folder_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be locked: No such file or directory"):
        acquire_run_lock(tmp_path / "none", now=now)


def test_lock_that_is_a_folder_is_a_clear_error(run: Path) -> None:
    (run / "lock.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be locked: Is a directory"):
        acquire_run_lock(run, now=now)
