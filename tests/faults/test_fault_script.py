"""Fault scripts: what they hold, and how they say what is wrong."""

from pathlib import Path

import pytest

from hil.core.errors import ConfigError
from hil_mock_device.faults.fault_kinds import Aftermath, Direction, MockFault, Place
from hil_mock_device.faults.fault_script import FaultRule, FaultScript, load_fault_script


def written(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_fault_script(written(folder, text))
    return str(error.value).replace(str(folder), "")


def test_script_is_read(tmp_path: Path) -> None:
    text = """
seed = 7
[[fault]]
kind = "flip"
every = 20
direction = "request"
place = "anywhere"
[[fault]]
kind = "brown_out"
at = [2, 5]
then = "error"
"""
    assert load_fault_script(written(tmp_path, text)) == FaultScript(
        seed=7,
        fault=(
            FaultRule(
                kind=MockFault.FLIP, every=20, direction=Direction.REQUEST, place=Place.ANYWHERE
            ),
            FaultRule(kind=MockFault.BROWN_OUT, at=(2, 5), then=Aftermath.ERROR),
        ),
    )


def test_empty_script_has_no_faults(tmp_path: Path) -> None:
    assert load_fault_script(written(tmp_path, "")) == FaultScript(seed=0, fault=())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('kind = "dorp"\nevery = 1', "fault[0].kind: Input should be 'latency'"),
        ('kind = "drop"', "fault[0]: needs one of every, chance and at"),
        ('kind = "drop"\nevery = 1\nchance = 0.5', "fault[0]: needs one of every, chance and at"),
        ('kind = "drop"\nevery = 0', "fault[0].every: Input should be greater than or equal to 1"),
        ('kind = "drop"\nchance = 1.5', "fault[0].chance: Input should be less than or equal"),
        ('kind = "drop"\nevry = 1', "fault[0].evry: unknown key; did you mean 'every'?"),
        ('kind = "stall"\nevery = 1', "fault[0]: stall needs seconds"),
        ('kind = "gain_jump"\nevery = 1', "fault[0]: gain_jump needs column, factor"),
        (
            'kind = "drop"\nevery = 1\nbaud = 9600',
            "fault[0]: drop has no use for baud; it takes at",
        ),
        ('kind = "stale"\nevery = 1\ndirection = "request"', "stale has no use for direction"),
        ('kind = "saturation"\nevery = 1\nshare = 1\nheader = "READ?"', "no use for header"),
        ('kind = "drop"\nevery = 1\nheader = "READ? 1"', "header must be one command, as READ?"),
        ('kind = "drop"\nevery = 1\nbetween_s = [2, 1]', "between_s must be two times"),
        ('kind = "drop"\nat = []', "fault[0].at: Tuple should have at least 1 item"),
        ('kind = "identity"\nevery = 1\nidentity = "A\\nB"', "fault[0].identity: String should"),
    ],
)
def test_wrong_rule_is_refused_by_name(tmp_path: Path, fault: str, words: str) -> None:
    assert words in refusal(tmp_path, f"[[fault]]\n{fault}\n")


def test_every_problem_is_listed(tmp_path: Path) -> None:
    words = refusal(tmp_path, 'seed = -1\n[[fault]]\nkind = "drop"\n[[fault]]\nkind = "stale"\n')
    assert "3 problems" in words
    assert "fault[1]: needs one of" in words


def test_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: "):
        load_fault_script(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("kind=drop,every=5", FaultRule(kind=MockFault.DROP, every=5)),
        (" kind = drop , at = [3, 9] ", FaultRule(kind=MockFault.DROP, at=(3, 9))),
        (
            "kind=identity,chance=0.25,identity='A,B,1,2'",
            FaultRule(kind=MockFault.IDENTITY, chance=0.25, identity="A,B,1,2"),
        ),
        (
            "kind=disconnect,every=1,header=FETCh:COUNts?,byte=40,times=1",
            FaultRule(kind=MockFault.DISCONNECT, every=1, header="FETCh:COUNts?", byte=40, times=1),
        ),
        (
            "kind=reboot,every=3,keeps_link=true,between_s=[0.5, 2]",
            FaultRule(kind=MockFault.REBOOT, every=3, keeps_link=True, between_s=(0.5, 2.0)),
        ),
    ],
)
def test_rule_is_read_from_text_and_written_back(text: str, rule: FaultRule) -> None:
    assert FaultRule.from_text(text) == rule
    assert FaultRule.from_text(rule.to_text()) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be settings NAME=VALUE"),
        ("drop", "must be settings NAME=VALUE"),
        ("kind=drop,every=1,every=2", "each name once"),
        ("kind=drop,every=x", "every: Input should be a valid integer"),
        ("kind=drop,every=1,seconds=1", "drop has no use for seconds"),
        ("kind=drop,every=1,colour=red", "colour: Extra inputs are not permitted"),
    ],
)
def test_wrong_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FaultRule.from_text(text)


@pytest.mark.parametrize(
    ("header", "is_concerned"),
    [("READ?", True), ("read?", True), (":READ?", True), ("READ:MODE?", False), ("READ", False)],
)
def test_rule_with_a_header_strikes_that_command_only(header: str, is_concerned: bool) -> None:
    rule = FaultRule.from_text("kind=drop,every=1,header=READ?")
    assert rule.concerns(header) is is_concerned


def test_short_and_long_headers_are_the_same_command() -> None:
    rule = FaultRule.from_text("kind=drop,every=1,header=FETCh:COUNts?")
    assert rule.concerns("FETC:COUN?")
    assert rule.concerns("FETCH:COUNTS?")
    assert not rule.concerns("FETC:OUTP?")


def test_too_many_rules_are_counted_and_not_checked(tmp_path: Path) -> None:
    text = '[[fault]]\nkind = "dorp"\n' * 1001
    assert refusal(tmp_path, text) == "/faults.toml:1: fault: has 1001 rules: must be at most 1000"
