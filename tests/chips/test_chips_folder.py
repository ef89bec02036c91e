"""``chips.json``, and the commands that read a folder with the runs of several chips."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hil.campaign.chips.chips_folder import (
    ChipsFolder,
    is_chips_folder,
    make_chips_folder,
    read_chips_folder,
)
from hil.cli import command_line
from hil.core.errors import ConfigError, DatasetError
from hil_datasets.run_directory import open_run


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


def test_what_needs_one_run_says_which_there_are(made: Path) -> None:
    for chip in ("left", "right"):
        (made / chip).mkdir()
        (made / chip / "journal.jsonl").touch()
    words = f"holds the runs of several chips, give one of them: {made}/left, {made}/right"
    with pytest.raises(DatasetError, match=words):
        open_run(made)
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
