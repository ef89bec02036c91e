"""What a person can get wrong: one clear error, the right exit code, nothing overwritten."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from command_line import QUICKSTART, Ended, campaign_file, hil


def assert_refused(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    for word in words:
        assert word in ended.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("finished")
    ended = hil("run", campaign_file(folder, campaign="cores = [0]"))
    assert ended.code == 0, ended.stderr
    return folder / "run"


def copy_of(run: Path, folder: Path) -> Path:
    copy = folder / "copy"
    for path in sorted(run.rglob("*")):
        target = copy / path.relative_to(run)
        if path.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


def test_missing_campaign_file_is_named(tmp_path: Path) -> None:
    assert_refused(hil("run", tmp_path / "none.toml"), 3, "none.toml", "no such file")


def test_every_problem_of_a_campaign_file_is_listed_with_its_key(tmp_path: Path) -> None:
    path = campaign_file(
        tmp_path,
        campaign='seeds = 3\ncores = [0, 0]\nread_modes = ["one_phases"]',
        device='timeout_s = "5"',
        vectors='calibration = "512"\nverification = 0',
        rest='[nmpu]\nin_bit = 4\nrounding = "up"',
    )
    assert_refused(
        hil("run", path),
        3,
        "8 problems",
        "campaign.seeds: unknown key; did you mean 'seed'?",
        "campaign.cores: names one twice: 0, 0",
        "campaign.read_modes[0]",
        "'one_phase' or 'four_phase'",
        "device.timeout_s",
        "vectors.calibration",
        "got '512'",
        "vectors.verification",
        "greater than or equal to 1",
        "nmpu.in_bit: unknown key; did you mean 'in_bits'?",
        "nmpu.rounding",
        "'half_up', 'floor', 'half_even', 'half_away' or 'toward_zero'",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("mock://quickstar", "no such profile"),
        ("mock://quickstart?sed=1", "unknown option 'sed'"),
        ("mock://quickstart?seed=x", "seed 'x' must be a number"),
        ("COM3", "is no resource"),
        ("TCPIP0::127.0.0.1::http::SOCKET", "is no resource"),
    ],
)
def test_resource_that_is_none_is_refused(tmp_path: Path, resource: str, words: str) -> None:
    assert_refused(hil("run", campaign_file(tmp_path, resource=resource)), 3, words)


def test_mock_profile_that_is_missing_is_named(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, resource="mock://lost.toml")
    assert_refused(hil("run", path), 3, "lost.toml", "no such file")


def test_core_that_does_not_exist_is_named_with_the_range(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, campaign="cores = [1, 9]")
    assert_refused(hil("run", path), 3, "campaign.cores[1]", "core 9", "0 to 3")
    assert not (tmp_path / "run").exists()


def test_campaign_beyond_memory_is_refused_before_its_folder_is_made(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, vectors="calibration = 10000000\nverification = 1000000")
    assert_refused(hil("run", path, "--out", tmp_path / "run"), 3, "of memory", "lower vectors")
    assert not (tmp_path / "run").exists()


def test_shift_in_the_campaign_file_is_refused(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, rest="[nmpu]\nshift = 2")
    assert_refused(hil("run", path), 3, "nmpu.shift is chosen per core")


def test_closed_port_ends_with_the_device_exit_code(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    path = campaign_file(tmp_path, resource=f"TCPIP0::127.0.0.1::{port}::SOCKET")
    assert_refused(hil("run", path), 4, str(port), "refused")
    assert not (tmp_path / "run").exists()


@contextmanager
def device_that(answer: bytes) -> Iterator[str]:
    """Listen, answer every request alike, `@1` being its tag; give the resource string."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                while request := connection.recv(4096):
                    connection.sendall(answer.replace(b"@1", request.split(b" ")[0]))
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
    thread.join(timeout=5)


@pytest.mark.parametrize(
    ("transport", "answer", "words"),
    [
        pytest.param("tcp", b"", "within 0.5 s", id="silent"),
        pytest.param("tcp", b"HEWLETT,34401A,0,10\n", "does not speak", id="multimeter"),
        pytest.param("tcp", b"@1 99\n", "version", id="other version"),
        pytest.param("tcp", b"@1 #800000016", "within 0.5 s", id="half a block"),
        pytest.param("tcp", b"x" * 8192, "without a newline", id="babble"),
        pytest.param("tcp", b"@1 #94294967295", "at most", id="4 GiB length"),
        pytest.param("visa", b"", "within 0.5 s", id="silent, VISA"),
        pytest.param("visa", b"HEWLETT,34401A,0,10\n", "does not speak", id="multimeter, VISA"),
        pytest.param("visa", b"x" * 8192, "without a newline", id="babble, VISA"),
    ],
)
def test_device_that_answers_nonsense_gets_a_named_error(
    tmp_path: Path, transport: str, answer: bytes, words: str
) -> None:
    with device_that(answer) as resource:
        path = campaign_file(
            tmp_path, resource=resource, device=f'timeout_s = 0.5\ntransport = "{transport}"'
        )
        assert_refused(hil("run", path), 4, words)


def test_output_folder_that_holds_a_run_stays_untouched(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert_refused(hil("run", QUICKSTART, "--out", finished), 3, "already holds a run", "--out")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    ended = hil("run", QUICKSTART, "--out", tmp_path / "taken")
    assert_refused(ended, 3, "cannot be used as output folder")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    ended = hil("run", QUICKSTART, "--out", tmp_path / "new")
    tmp_path.chmod(0o700)
    assert_refused(ended, 3, "cannot be used as output folder", "Permission denied")


@pytest.mark.parametrize("command", ["info", "replay", "export"])
def test_truncated_step_file_ends_with_the_data_exit_code(
    finished: Path, tmp_path: Path, command: str
) -> None:
    run = copy_of(finished, tmp_path)
    step = run / "steps" / "core00_one_phase.h5"
    step.write_bytes(step.read_bytes()[:-1000])
    more = ["--format", "json", "-o", tmp_path / "out"] if command == "export" else []
    assert_refused(hil(command, run, *more), 5, "core00_one_phase.h5", "damaged")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["info", "replay"])
def test_folder_that_is_no_run_is_refused(tmp_path: Path, command: str) -> None:
    assert_refused(hil(command, tmp_path), 5, "journal.jsonl")
    assert_refused(hil(command, tmp_path / "none"), 5, "no such folder")


def test_replay_of_an_edited_campaign_file_is_refused(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path)
    with (run / "campaign.toml").open("a") as file:
        file.write("# a remark\n")
    assert_refused(hil("replay", run), 5, "campaign.toml", "was changed")


def test_too_small_a_format_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, rest="[nmpu]\nscale_int = 4\nscale_frac = 5")
    assert_refused(hil("run", path), 3, "scale_int + scale_frac = 9", "1 to 8")


def test_unknown_option_is_a_usage_error() -> None:
    assert hil("run", "--fast").code == 2


def test_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = hil("mock", "serve", "--tcp", f"127.0.0.1:{port}")
    assert_refused(ended, 3, str(port), "cannot be listened on")


def test_step_of_another_run_is_found_out(finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path)
    other = hil("run", campaign_file(tmp_path, campaign="cores = [0]\nseed = 9"))
    assert other.code == 0, other.stderr
    foreign = tmp_path / "run" / "steps" / "core00_one_phase.h5"
    (run / "steps" / "core00_one_phase.h5").write_bytes(foreign.read_bytes())
    assert_refused(hil("info", run), 5, "core00_one_phase.h5")


@pytest.mark.parametrize("content", [None, b"nonsense = ["], ids=["missing", "no TOML"])
def test_replay_of_a_damaged_stored_campaign_is_a_data_error(
    finished: Path, tmp_path: Path, content: bytes | None
) -> None:
    run = copy_of(finished, tmp_path)
    (run / "campaign.toml").unlink()
    if content is not None:
        (run / "campaign.toml").write_bytes(content)
    assert_refused(hil("replay", run), 5, "campaign.toml")


def test_vectors_that_expect_nothing_verify_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (8, 4), dtype=np.int8)
    inputs = rng.integers(-127, 128, (64, 8), dtype=np.int8)
    order = np.random.default_rng(0).permutation(64)
    inputs[order[-1:]] = 0
    np.savez(tmp_path / "layer.npz", weights=weights, inputs=inputs)
    path = campaign_file(
        tmp_path,
        campaign='workload = "layer.npz"',
        vectors="calibration = 63\nverification = 1",
    )
    ended = hil("run", path, "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["steps"][0]["errors"]["nmpu"] is None
    assert "n/a" in hil("info", tmp_path / "run").stdout
