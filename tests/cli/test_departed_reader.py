"""A command that judges tells its verdict by its exit code, whether its words are read or not."""

import subprocess
import sys

import pytest

_COMMAND = """
import sys, time, click
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import reports_errors

@click.command()
@reports_errors
@gives_verdict
def command():
    sys.stdin.readline()  # until the reader has left
    for _ in range(3):
        click.echo("x" * 100_000)
    raise SystemExit({code})

command()
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_verdict_outlives_its_reader(code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _COMMAND.format(code=code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as judge:
        assert judge.stdout is not None
        assert judge.stdin is not None
        judge.stdout.close()
        judge.stdin.write("\n")
        judge.stdin.close()
        assert judge.stderr is not None
        assert judge.stderr.read() == ""
        assert judge.wait(timeout=60) == code


def test_a_verdict_without_any_stdout_is_given() -> None:
    script = _COMMAND.format(code=1).replace("sys.stdin.readline()", "assert sys.stdout is None")
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" >&-', sys.executable, script],  # noqa: S607 - this system's
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
