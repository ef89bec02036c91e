"""``hil drivers`` in real processes, on the mock and on the example package, installed by pip."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Ended, hil
from conformance_bench import PROJECT_ENTRIES
from hil.campaign.config.sections import DeviceSection
from hil_mock_device.launch import MockProcess

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_chip"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", folder, EXAMPLE),
        ],
        check=True,
        timeout=100,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def toychip(shelf: Path) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "toychip.mock", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(shelf)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def drivers(*arguments: object, shelf: Path | None = None) -> Ended:
    """Run `hil drivers` to its end."""
    code = "from hil.cli.drivers import command; command(prog_name='hil drivers')"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(shelf or "")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_installed_example_is_listed(shelf: Path) -> None:
    ended = drivers("list", "--check", shelf=shelf)
    assert ended.code == 0
    assert "toychip           toychip-driver 1.0" in ended.stdout
    listed = drivers("list", "--json", shelf=shelf).json
    assert {
        "group": "hil.chips",
        "name": "toychip",
        "distribution": "toychip-driver",
        "version": "1.0",
        "target": "toychip.driver:DRIVER",
    } in listed


def test_info_says_what_it_is_and_where_from(shelf: Path) -> None:
    info = drivers("info", "toychip", "--json", shelf=shelf).json
    assert info["resource_form"] == "toychip://HOST:PORT"
    assert (info["distribution"], info["api_version"]) == ("toychip-driver", "1")


def test_broken_plugin_is_a_warning_and_the_rest_is_listed(shelf: Path, tmp_path: Path) -> None:
    info = tmp_path / "half_done-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half_done\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[hil.chips]\nhalf = half_done_nowhere:DRIVER\n")
    path = Path(f"{shelf}{os.pathsep}{tmp_path}")
    assert drivers("list", shelf=path).code == 0
    checked = drivers("list", "--check", shelf=path)
    assert checked.code == 1
    assert "toychip" in checked.stdout
    lines = {line.split()[0]: line for line in checked.stdout.splitlines() if line[:1] == " "}
    assert lines["toychip"].endswith(" ok")
    assert lines["half"].endswith(
        " plug-in half (hil.chips) of half_done 0.3: cannot be imported from "
        "half_done_nowhere:DRIVER: ModuleNotFoundError: No module named 'half_done_nowhere'"
    )
    assert checked.stderr == ""
    asked = drivers("info", "half", shelf=path)
    assert (asked.code, asked.stdout) == (3, "")


def test_example_driver_keeps_every_promise(shelf: Path, toychip: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ("test", "toychip", "--resource", toychip, "--destructive", "--json", report)
    ended = drivers(*arguments, shelf=shelf)
    assert ended.code == 0, ended.stdout + ended.stderr
    document = json.loads(report.read_text())
    assert document["passed"] is True
    assert {finding["result"] for finding in document["findings"]} == {"pass"}
    assert ended.stdout.splitlines()[-1] == f"{len(document['findings'])} passed"
    again = drivers(*arguments, shelf=shelf)
    assert again.code == 3  # the report is not replaced
    assert "exists; use --force" in again.stderr


def test_report_without_a_file_goes_to_stdout_alone(shelf: Path, toychip: str) -> None:
    arguments = ("test", "toychip", "--resource", toychip, "--no-program", "--json")
    ended = drivers(*arguments, shelf=shelf)
    assert ended.json["driver"] == "toychip"
    assert " passed" in ended.stderr.splitlines()[-1]


def test_resource_that_is_none_is_told_before_anything_is_opened(shelf: Path) -> None:
    ended = drivers("test", "toychip", "--resource", "tcp://x", shelf=shelf)
    assert (ended.code, ended.stdout) == (3, "")
    assert "'tcp://x' is no toychip: use toychip://HOST:PORT" in ended.stderr


def test_device_that_is_absent_fails_every_check_in_time(shelf: Path) -> None:
    ended = drivers("test", "toychip", "--resource", "toychip://127.0.0.1:1", shelf=shelf)
    assert ended.code == 1
    assert "cannot connect" in ended.stdout
    assert "0 passed" not in ended.stdout


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder that declares this project's plug-ins, where its installation does not yet."""
    if any(each["name"] == "aimc-board" for each in drivers("list", "--json").json):
        return None
    folder = tmp_path_factory.mktemp("declared")
    info = folder / "aimc_board_only-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aimc-board-only\nVersion: 0\n")
    (info / "entry_points.txt").write_text(PROJECT_ENTRIES)
    return folder


def test_board_driver_keeps_every_promise_over_tcp(built_in: Path | None) -> None:
    with MockProcess(["--profile", "quickstart", "--seed", "0"]) as mock:
        ended = drivers("test", "--resource", mock.resource, "--destructive", shelf=built_in)
    assert ended.code == 0, ended.stdout
    assert ended.stdout.splitlines()[-1].endswith(" passed")
    assert "skip" not in ended.stdout


def test_nothing_is_programmed_when_that_is_forbidden(
    built_in: Path | None, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    ended = drivers(
        *("test", "aimc-board", "--resource", "mock://quickstart", "--no-program"),
        *("--json", report),
        shelf=built_in,
    )
    assert ended.code == 0, ended.stdout
    document = json.loads(report.read_text())
    assert document["programming"] == "nothing"
    assert document["findings"][-1]["evidence"] == "0 programmings in all"


@pytest.mark.skipif(
    "driver" not in DeviceSection.model_fields, reason="campaigns cannot name a driver yet"
)
def test_campaign_runs_on_the_example_chip(
    shelf: Path, toychip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(shelf))
    campaign = tmp_path / "campaign.toml"
    text = (EXAMPLE / "campaign.toml").read_text()
    campaign.write_text(text.replace("toychip://127.0.0.1:7777", toychip))
    ended = hil("run", campaign, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["status"] == "complete"
    assert ended.json["chip"] == "Toy lab toychip, serial T-1, firmware 1.0"
    steps = ended.json["steps"]
    assert [step["nmpu_mismatches"] for step in steps] == [0] * 4
    assert max(step["errors"]["float"] for step in steps) < 0.05
