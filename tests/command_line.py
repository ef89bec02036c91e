"""Running the installed `hil` as a user does: a real process, with its exit code and its words."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from forked_hil import forked_hil
from hil.cli import command_line

PROJECT = Path(__file__).parents[1]
HIL = Path(sys.executable).with_name("hil")
QUICKSTART = PROJECT / "examples" / "quickstart.toml"


_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def hil(*arguments: object, cwd: Path | None = None) -> Ended:
    """Run `hil` to its end, in a process of its own."""
    # What is installed elsewhere, plug-ins too, is not known to a process that has imported all.
    script = HIL if "PYTHONPATH" in os.environ else forked_hil()
    done = subprocess.run(
        [str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=100,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def hil_here(*arguments: object) -> Ended:
    """Run `hil` in this process, where only its words and its exit code matter: that is quicker."""
    done = CliRunner().invoke(command_line, [str(word) for word in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def start_hil(
    *arguments: object, cwd: Path | None = None, script: Path = HIL
) -> subprocess.Popen[str]:
    """Start `hil` in a process group of its own; `ended_processes` ends it at the latest."""
    process = subprocess.Popen(
        [str(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
    )
    _started.append(process)
    return process


@contextmanager
def ended_processes() -> Iterator[None]:
    """End what `start_hil` starts inside: a test that fails must not leave it to the next one."""
    before = len(_started)
    yield
    for process in _started[before:]:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=20)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    del _started[before:]


@contextmanager
def served_mock(*arguments: object) -> Iterator[str]:
    """Serve a mock on a free port; give its resource string."""
    script = HIL if "PYTHONPATH" in os.environ else forked_hil()
    server = start_hil("mock", "serve", "--tcp", "127.0.0.1:0", *arguments, script=script)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "::" in line, server.communicate()[1]
        yield line.strip()
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.communicate(timeout=20)


def campaign_file(
    folder: Path,
    *,
    resource: str = "mock://quickstart",
    campaign: str = "",
    vectors: str = "calibration = 64\nverification = 32",
    rest: str = "",
    device: str = "",
) -> Path:
    """Write a small campaign; the parts are TOML lines of their sections."""
    path = folder / "campaign.toml"
    path.write_text(
        f"""schema_version = 1
[campaign]
title = "Test"
out = "{folder}/run"
{campaign}
[device]
resource = "{resource}"
{device}
[vectors]
{vectors}
{rest}
"""
    )
    return path
