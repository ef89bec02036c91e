"""What help costs: nothing heavy is imported to print it, for any command."""

import subprocess
import sys

_WALK = """
import sys
import click
from click.testing import CliRunner
from hil.cli import command_line

HEAVY = {"numpy", "h5py", "pyvisa", "serial", "pydantic", "rich"}

def walk(command, words):
    done = CliRunner().invoke(command_line, [*words, "--help"])
    assert done.exit_code == 0 and done.output.startswith("Usage: "), (words, done.output)
    print(" ".join(["hil", *words]), *sorted(HEAVY & set(sys.modules)), sep=",")
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), [*words, name])

walk(command_line, [])
"""


def test_no_help_imports_anything_heavy() -> None:
    # What one command imports stays, so the first line with a comma names the culprit.
    done = subprocess.run([sys.executable, "-c", _WALK], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if "," in line] == []
    assert {"hil", "hil run", "hil mock serve", "hil nmpu trace", "hil chip history"} <= set(lines)
    assert len(lines) >= 30
