"""``chips.json``, and the commands that read a folder with the runs of several chips."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from hil.campaign.chips.chips_folder import (
    ChipsFolder,
    is_chips_folder,
    make_chips_folder,
    read_chips_folder,
)
from hil.campaign.chips.chips_status import read_chips_status
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_lock import acquire_run_lock
from hil.cli import command_line
from hil.cli.chips_run import chips_table
from hil.core.errors import ConfigError, DatasetError
from hil_datasets.run_directory import RunDirectory, open_directory
from run_writer import start_journal


def hil(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments])


def folder_of(path: Path) -> ChipsFolder:
    return ChipsFolder(
        path=path,
        title="Two",
        campaign="/bench/two.toml",
        campaign_sha256="ab" * 32,
        assignments=("device.timeout_s=5",),
        chips=("left", "right"),
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "out"
    make_chips_folder(folder_of(path))
    return path


def test_folder_says_which_runs_belong_together(made: Path) -> None:
    assert json.loads((made / "chips.json").read_text()) == {
        "schema_version": 1,
        "title": "Two",
        "campaign": "/bench/two.toml",
        "campaign_sha256": "ab" * 32,
        "assignments": ["device.timeout_s=5"],
        "chips": ["left", "right"],
    }
    assert is_chips_folder(made)
    assert read_chips_folder(made) == folder_of(made)


def test_folder_that_holds_something_is_left_alone(made: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty; choose another folder"):
        make_chips_folder(folder_of(made))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"schema_version": 2}',
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "chips": ["../left"]}',
        b'{"schema_version": 1, "chips": [".."]}',
        b'{"schema_version": 1, "chips": []}',
    ],
)
def test_damaged_file_is_refused(made: Path, content: bytes) -> None:
    (made / "chips.json").write_bytes(content)
    with pytest.raises(DatasetError, match="each run beside it goes on by itself"):
        read_chips_folder(made)
    for command in ("status", "abort", "resume"):
        ended = hil(command, made)
        assert ended.exit_code == 5
        assert "chips.json: is damaged" in ended.output


def test_runs_that_have_not_begun_are_said_to_be_so(made: Path) -> None:
    ended = hil("status", made)
    assert (ended.exit_code, ended.output) == (0, "left: has not begun\nright: has not begun\n")
    document = json.loads(hil("status", made, "--json").output)
    assert [chip["status"] for chip in document["chips"]] == [None, None]
    assert hil("abort", made).output == "left: has not begun\nright: has not begun\n"


def test_damaged_run_is_shown_with_its_problem_beside_the_others(made: Path) -> None:
    (made / "left").mkdir()
    (made / "left" / "journal.jsonl").write_text("no JSON\n")
    folder = read_chips_folder(made)
    statuses = read_chips_status(folder, now=datetime.now(UTC), table=ProcessTable())
    console = Console(file=io.StringIO(), width=300)
    console.print(chips_table(folder, statuses))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [("is no JSON" in line, "has not begun" in line) for line in lines[-2:]] == [
        (True, False),
        (False, True),
    ]


def test_status_advises_to_resume_the_folder_rather_than_each_run(made: Path) -> None:
    start_journal(made / "left", ["core00_one_phase"])
    RunDirectory(made / "left").journal.append(
        "stop", utc="2026-01-31T12:00:20+00:00", status="interrupted", reason="SIGTERM"
    )
    ended = hil("status", made)
    assert ended.output.splitlines()[-1] == f"hil resume {made} goes on with left and right"
    assert f"hil resume {made}/left" not in ended.output


def test_resume_of_a_run_that_is_still_at_work_does_not_advise_to_resume_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    make_chips_folder(replace(folder_of(path), chips=("left",)))
    start_journal(path / "left", ["core00_one_phase"])
    (path / "left" / "campaign.toml").write_text("schema_version = 1\n")
    with acquire_run_lock(path / "left", now=lambda: datetime.now(UTC)):
        ended = hil("resume", path)
    assert ended.exit_code != 0
    assert ended.output.splitlines()[-1] == (
        f"still at work, each in a process of its own: left; hil status {path} shows how far, "
        f"hil abort {path} stops"
    )


def test_list_shows_which_runs_belong_together_and_which_have_not_begun(made: Path) -> None:
    start_journal(made / "left", ["core00_one_phase"])
    left, left_words, right, right_words = hil("list", made.parent).output.splitlines()
    assert (left, right) == (f"{made}/left", f"{made}/right")
    together = f"one of several chips in {made}"
    assert "0/1 steps" in left_words
    assert f"not begun  {together}" in right_words
    document = json.loads(hil("list", made.parent, "--json").output)
    told = [(run["part_of"], run["has_begun"]) for run in document]
    assert told == [(str(made), True), (str(made), False)]


def test_chip_without_a_finished_step_has_no_worst_error(made: Path) -> None:
    start_journal(made / "left", ["core00_one_phase"])
    folder = read_chips_folder(made)
    statuses = read_chips_status(folder, now=datetime.now(UTC), table=ProcessTable())
    console = Console(file=io.StringIO(), width=300)
    console.print(chips_table(folder, statuses))
    assert "none" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_needs_one_run_says_which_there_are(made: Path) -> None:
    for chip in ("left", "right"):
        (made / chip).mkdir()
        (made / chip / "journal.jsonl").touch()
    words = f"holds the runs of several chips, give one of them: {made}/left, {made}/right"
    with pytest.raises(DatasetError, match=words):
        open_directory(made)
    for arguments in (("info",), ("replay",), ("export", "--format", "csv", "-o", made / "x.csv")):
        ended = hil(arguments[0], made, *arguments[1:])
        assert (ended.exit_code, words in ended.output) == (5, True), ended.output


def test_chip_that_never_began_needs_its_campaign_file_unchanged(made: Path) -> None:
    campaign = made.parent / "two.toml"
    campaign.write_text("changed = true\n")
    document = json.loads((made / "chips.json").read_text())
    (made / "chips.json").write_text(json.dumps({**document, "campaign": str(campaign)}))
    ended = hil("resume", made)
    assert ended.exit_code == 3
    assert "was changed since" in ended.output
    assert "name the file by --campaign" in ended.output


def test_one_chip_of_a_folder_is_resumed_in_its_own(made: Path) -> None:
    ended = hil("resume", made, "--chip", "left")
    assert ended.exit_code == 3
    assert f"resume {made}/left" in ended.output


CAMPAIGN = """schema_version = 1
[campaign]
title = "Two"
cores = [0]
read_modes = ["one_phase"]
[devices.left]
resource = "mock://quickstart?seed=1"
[devices.right]
resource = "mock://quickstart?seed=2"
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(CAMPAIGN)
    return path


def test_plan_shows_every_chip_and_what_they_need_together(campaign: Path) -> None:
    ended = hil("plan", campaign, "--no-device", "--out", campaign.with_name("out"))
    assert ended.exit_code == 0, ended.output
    assert "[left]\n" in ended.output
    assert "[right]\n" in ended.output
    assert f"in {campaign.parent}/out/right" in ended.output.replace("\n", "")
    assert "2 chips at the same time" in ended.output
    document = json.loads(
        hil("plan", campaign, "--no-device", "--out", campaign.with_name("out"), "--json").output
    )
    chips = document["chips"]
    needs = [chips[chip]["storage"] for chip in ("left", "right")]
    together = sum(need["total_bytes"] + need["passing_bytes"] for need in needs)
    assert document["together"]["storage_bytes"] == together


def test_plan_has_one_folder_for_all_chips(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC) for second in range(60))
    monkeypatch.setattr("hil.campaign.runner.utc_now", lambda: next(times))
    chips = json.loads(hil("plan", campaign, "--no-device", "--json").output)["chips"]
    left, right = (Path(chips[chip]["room"]["folder"]) for chip in ("left", "right"))
    assert left.parent == right.parent


def test_plan_of_one_chip_is_that_of_a_plain_campaign(campaign: Path) -> None:
    out = campaign.with_name("out")
    document = json.loads(
        hil("plan", campaign, "--no-device", "--json", "--out", out, "--chip", "right").output
    )
    assert document["resource"] == "mock://quickstart?seed=2"


def test_config_check_looks_at_every_chip(campaign: Path) -> None:
    ended = hil("config", "check", campaign)
    left, right = ended.output.splitlines()
    assert "left: no problem; resolved SHA-256" in left
    assert "right: no problem; resolved SHA-256" in right
    ended = hil("config", "check", campaign, "--set", "devices.right.resource=mock://quick")
    assert ended.exit_code == 3
    assert "devices.right.resource: 'mock://quick': no such profile" in ended.output


def test_config_show_says_where_the_keys_of_a_chip_are_from(campaign: Path) -> None:
    ended = hil("config", "show", campaign, "--chip", "right")
    assert f'resource = "mock://quickstart?seed=2" # {campaign}:9' in ended.output
    assert "devices" not in ended.output
