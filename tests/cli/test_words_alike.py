"""Words that commands have alike: errors, names nearly right, examples, ``-o`` and ``--json``."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest

import example_steps as example
from command_line import hil_here
from hil.cli import command_line
from hil.cli.examples import EXAMPLES


def found(words: str) -> click.Command:
    command: click.Command = command_line
    for word in words.split():
        assert isinstance(command, click.Group)
        within = command.get_command(click.Context(command), word)
        assert within is not None, words
        command = within
    return command


@pytest.mark.parametrize(
    ("words", "meant"), [("rnu x.toml", "run"), ("data vrify x", "verify"), ("mock srve", "serve")]
)
def test_command_that_is_nearly_right_is_told_the_right_one(words: str, meant: str) -> None:
    ended = hil_here(*words.split())
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1].startswith("error: No such command ")
    assert ended.stderr.endswith(f"; did you mean '{meant}'?\n")


@pytest.mark.parametrize(
    "words", ["nonsense", "run", "export x --nonsense", "data verify", "list no-such-folder"]
)
def test_whatever_is_wrong_begins_with_the_same_word(words: str) -> None:
    ended = hil_here(*words.split())
    assert "Error:" not in ended.stderr
    assert ended.code == 0 or ended.stderr.splitlines()[-1].startswith("error: ")


def test_every_command_is_listed_once_below_a_heading() -> None:
    lines = hil_here("--help").stdout.splitlines()
    headings = ["Campaigns:", "Calibrations:", "Stored data:", "Studies:", "The bench:"]
    assert [line for line in lines if line in headings] == headings
    names = re.findall(r"^  ([a-z]+) +[A-Z]", "\n".join(lines), re.MULTILINE)
    assert sorted(names) == sorted(command_line.list_commands(click.Context(command_line)))


@pytest.mark.parametrize("words", list(EXAMPLES))
def test_examples_at_the_end_of_help_are_commands_that_are_understood(words: str) -> None:
    command = found(words)
    help_text = hil_here(*words.split(), "--help").stdout
    for line in EXAMPLES[words]:
        assert f"    {line}\n" in help_text
        typed = shlex.split(line)
        assert typed[: 1 + len(words.split())] == ["hil", *words.split()]
        context = click.Context(command, info_name=words)
        values, rest, _ = command.make_parser(context).parse_args(typed[1 + len(words.split()) :])
        assert rest == []
        needed = [one.name for one in command.params if one.required]
        assert [name for name in needed if values.get(name) is None] == []


@pytest.mark.parametrize(
    "words",
    [
        "run", "replay", "plan", "export", "explore", "evaluate", "doctor", "data pack",
        "data unpack", "data merge", "data split", "data repair", "data convert", "calibrate fit",
        "calibrate apply",
    ],
)  # fmt: skip
def test_every_command_that_writes_takes_o_and_out(words: str) -> None:
    taken = {name for option in found(words).params for name in option.opts}
    assert {"-o", "--out"} <= taken


@pytest.mark.parametrize("words", ["export", "data pack", "calibrate apply"])
def test_old_name_of_out_still_works_and_is_not_shown(words: str) -> None:
    assert "--output" in {name for option in found(words).params for name in option.opts}
    shown = hil_here(*words.split(), "--help").stdout
    assert "-o, --out " in shown
    assert "--output" not in shown


def test_packed_and_unpacked_are_told_in_json(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE).path
    path, out = tmp_path / "run.hil.h5", tmp_path / "out"
    packed = hil_here("data", "pack", run, "--out", path, "--compress", "gzip", "--json").json
    assert (packed["file"], packed["steps"], packed["compression"]) == (str(path), 1, "gzip")
    assert (packed["needs_plug_in"], packed["file_bytes"]) == (False, path.stat().st_size)
    unpacked = hil_here("data", "unpack", path, "-o", out, "--json")
    assert unpacked.json == {"run": str(out), "steps": 1}


def test_report_without_a_file_goes_to_stdout(tmp_path: Path) -> None:
    ended = hil_here("doctor", "-o", tmp_path, "--json")
    assert json.loads(ended.stdout)["resource"] is None


def test_width_of_a_scale_is_named_by_what_it_is_made_of() -> None:
    campaign = Path(__file__).parents[2] / "examples" / "quickstart.toml"
    ended = hil_here("config", "check", campaign, "--set", "nmpu.scale_bits=8")
    assert ended.code == 3
    assert "nmpu.scale_bits: unknown key; it is scale_int + scale_frac: set these" in ended.stderr
