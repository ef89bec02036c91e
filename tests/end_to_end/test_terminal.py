"""What reaches the terminal, the pipe and the exit code in awkward places."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from command_line import HIL, campaign_file, hil


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal") / "m[/b][first]"
    folder.mkdir(parents=True)
    ended = hil("run", campaign_file(folder, campaign="cores = [0]"))
    assert ended.code == 0, ended.stderr
    return folder / "run"


def test_folder_with_brackets_is_printed_as_it_is(run: Path) -> None:
    assert f"{run}/campaign.h5" in hil("info", run).stdout


def test_run_can_be_named_by_a_dot(run: Path) -> None:
    ended = hil("replay", ".", cwd=run)
    assert ended.code == 0, ended.stderr
    assert len(list(run.parent.glob("run-replay-*"))) == 1


@pytest.mark.parametrize(("options", "is_shown"), [((), True), (("--quiet",), False)])
def test_quiet_run_shows_no_bar_on_a_terminal(
    tmp_path: Path, options: tuple[str, ...], *, is_shown: bool
) -> None:
    ours, theirs = os.openpty()
    done = subprocess.run(
        [str(HIL), "run", str(campaign_file(tmp_path, campaign="cores = [0]")), *options],
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 65536)
    except BlockingIOError:
        shown = b""
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, shown
    assert "Test: complete" in done.stdout
    assert bool(shown) == is_shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_behind_stdout_is_a_clear_error(run: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(HIL), "info", str(run), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_reader_that_had_enough_is_no_error(run: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [str(HIL), "info", str(run)], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_title_outside_the_terminals_encoding_is_escaped(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, campaign="cores = [0]")
    path.write_text(path.read_text().replace('"Test"', '"Tü 漢"'), encoding="utf-8")
    done = subprocess.run(
        [str(HIL), "run", str(path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "T\\xfc \\u6f22: complete" in done.stdout


def test_interrupt_before_anything_has_begun_exits_130(tmp_path: Path) -> None:
    path = campaign_file(tmp_path)
    for delay_s in (0.12, 0.2, 0.3):
        process = subprocess.Popen(
            [str(HIL), "run", str(path), "--out", str(tmp_path / f"out-{delay_s}")],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=30)
        # Before the interpreter has begun, Python itself answers: with a signal, and no words.
        assert process.returncode in {130, -signal.SIGINT}
        assert "Aborted" not in words
