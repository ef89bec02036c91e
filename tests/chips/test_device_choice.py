"""``[devices.NAME]``: one device out of several, and everything that is wrong with the choice."""

from pathlib import Path

import pytest
import tomlkit

from hil.campaign.chips.campaigns import chip_names, load_chips
from hil.campaign.config.load import load_campaign
from hil.campaign.config.schema import bench_schema, campaign_schema
from hil.core.errors import ConfigError

jsonschema = pytest.importorskip("jsonschema", reason="the test extra has it")

TWO = """schema_version = 1
[campaign]
title = "Two"
[device]
timeout_s = 7
recovery_s = 3
[devices.left]
resource = "mock://quickstart?seed=1"
[devices.right]
resource = "TCPIP0::10.0.0.9::5025::SOCKET"
timeout_s = 9
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "two.toml"
    path.write_text(text)
    return path


def refusal(path: Path, chip: str | None = None, *assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_campaign(path, chip=chip, assignments=assignments, environment={})
    return str(caught.value).replace(f"{path.parent}/", "")


def test_keys_of_a_chip_replace_those_of_the_device(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    left = load_campaign(path, chip="left", environment={}).config.device
    right = load_campaign(path, chip="right", environment={}).config.device
    assert (left.resource, left.timeout_s, left.recovery_s) == ("mock://quickstart?seed=1", 7, 3)
    assert (right.timeout_s, right.recovery_s) == (9, 3)


def test_campaign_of_one_chip_is_the_plain_campaign_of_that_device(tmp_path: Path) -> None:
    chosen = load_campaign(written(tmp_path, TWO), chip="left", environment={})
    plain = tmp_path / "plain.toml"
    plain.write_text(
        'schema_version = 1\n[campaign]\ntitle = "Two"\n[device]\n'
        'resource = "mock://quickstart?seed=1"\ntimeout_s = 7\nrecovery_s = 3\n'
    )
    assert chosen.resolved_sha256 == load_campaign(plain, environment={}).resolved_sha256


def test_device_table_may_be_left_out(tmp_path: Path) -> None:
    text = TWO.replace("[device]\ntimeout_s = 7\nrecovery_s = 3\n", "")
    left = load_campaign(written(tmp_path, text), chip="left", environment={})
    assert left.config.device.timeout_s == 10


def test_names_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert chip_names(written(tmp_path, TWO), environment={}) == ("left", "right")


def test_setting_of_the_device_holds_for_every_chip(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    chips = load_chips(path, assignments=["device.timeout_s=5"], environment={})
    assert [chip.config.device.timeout_s for chip in chips.values()] == [5, 5]


def test_setting_of_one_chip_leaves_the_others(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    given = {"HIL_SET__DEVICES__RIGHT__TIMEOUT_S": "6", "HIL_SET__DEVICES__LEFT__TIMEOUT_S": "4"}
    chips = load_chips(path, assignments=["devices.left.timeout_s=5"], environment=given)
    assert [chip.config.device.timeout_s for chip in chips.values()] == [5, 6]


def test_bench_file_may_hold_the_chips(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "bench.toml").write_text('[devices.left]\nresource = "mock://kind.toml"\n')
    text = 'schema_version = 1\ninclude = ["bench/bench.toml"]\n[campaign]\ntitle = "Two"\n'
    left = load_campaign(written(tmp_path, text), chip="left", environment={})
    assert left.config.device.resource == "mock://bench/kind.toml"


def test_wrong_key_of_a_chip_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, TWO.replace("timeout_s = 9", "timeout_s = -9"))
    words = "two.toml:11: devices.right.timeout_s: Input should be greater than 0, got -9"
    assert refusal(path, "right") == words
    assert load_campaign(path, chip="left", environment={}).config.device.timeout_s == 7


def test_chip_without_an_address_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, TWO.replace('resource = "mock://quickstart?seed=1"\n', ""))
    assert "devices.left.resource: is missing" in refusal(path, "left")


@pytest.mark.parametrize(
    ("devices", "chip", "words"),
    [
        ("devices = 3", None, "two.toml:2: devices: must hold a table for each chip"),
        ("[devices]", None, "two.toml:2: devices: must hold a table for each chip"),
        ("[devices.Left]", "Left", "two.toml:2: devices.Left: is no name of a chip"),
        ('[devices."../x"]', "../x", "is no name of a chip: must be a lower-case letter"),
        ("[devices]\nleft = 3", "left", "two.toml:3: devices.left: must be a table with keys"),
        ("[devices.left]\n[devices.right]", None, "names 2 chips, left and right: choose one"),
        ("[devices.left]\n[devices.right]", "rihgt", "'rihgt': no such chip; did you mean 'right'"),
        ("[devices.left]\n[devices.right]", "zz", "no such chip; there are left and right"),
        ("", "left", "--chip: 'left': the campaign names no chips in [devices]; leave it out"),
    ],
)
def test_wrong_choice_is_refused(
    tmp_path: Path, devices: str, chip: str | None, words: str
) -> None:
    text = f'schema_version = 1\n{devices}\n[campaign]\ntitle = "Two"\n'
    assert words in refusal(written(tmp_path, text), chip)


@pytest.mark.parametrize(
    ("document", "is_right"),
    [
        ({"device": {"timeout_s": 3.0}, "devices": {"left": {"resource": "mock://stress"}}}, True),
        ({"devices": {"left": {"resource": "mock://stress"}}}, True),
        ({"device": {"resource": "mock://stress"}}, True),
        ({"device": {"timeout_s": 3.0}}, False),
        ({}, False),
        ({"devices": {}}, False),
        ({"devices": {"Left": {"resource": "mock://stress"}}}, False),
        ({"devices": {"left": {"resourc": "mock://stress"}}}, False),
    ],
)
def test_schema_knows_several_devices(document: dict[str, object], is_right: bool) -> None:
    whole = {"schema_version": 1, "campaign": {"title": "Two"}, **document}
    schema = campaign_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(whole) is is_right


def test_bench_schema_knows_several_devices() -> None:
    bench = tomlkit.parse("[devices.left]\ntimeout_s = 3.0\n").unwrap()
    assert jsonschema.Draft202012Validator(bench_schema()).is_valid(bench)
