"""A signal ends a command wherever it finds it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import PROJECT

SCRIPT = """\
import gc, os, random, signal, threading, time, weakref
from pathlib import Path

import numpy as np

from hil.cli.errors import reports_errors


class Thing:
    def __del__(self):
        if self.signal:
            signal.raise_signal(self.signal)

    def __init__(self, number=0):
        self.signal = number
"""
IN_DEL = """
@reports_errors
def command():
    Thing(signal.{name})
    time.sleep(60)

command()
"""
IN_CALLBACK = """
@reports_errors
def command():
    thing = Thing()
    told = weakref.ref(thing, lambda _: signal.raise_signal(signal.{name}))
    del thing
    time.sleep(60)

command()
"""
IN_WRITES = """
from hil_datasets.step_files.file import latched_hdf5

@reports_errors
def command():
    after_s = random.uniform(0, 0.02)
    threading.Timer(after_s, lambda: os.kill(os.getpid(), signal.{name})).start()
    with latched_hdf5(Path("out.h5"), mode="w") as file:
        for number in range(10**9):
            file.create_dataset(str(number), data=np.zeros(2000))

signal.signal(signal.{name}, lambda *_: None)
for _ in range(25):
    try:
        command()
    except SystemExit as end:
        assert end.code == 130, end.code
"""
CAUGHT = """
from hil.core.errors import DatasetError, Problem

@reports_errors
def command():
    try:
        signal.raise_signal(signal.{name})
    except BaseException:
        pass
    raise DatasetError("a file", [Problem("", "is damaged, says a library that was interrupted")])

command()
"""


def ended(code: str, number: signal.Signals, folder: Path) -> tuple[int, set[str]]:
    """Run a command that the signal finds at some place; return its code and its words."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + code.format(name=number.name)],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, set(done.stderr.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("code", [IN_DEL, IN_CALLBACK, CAUGHT], ids=["del", "callback", "caught"])
def test_signal_where_exceptions_are_dropped_still_ends_the_command(
    code: str, number: signal.Signals, tmp_path: Path
) -> None:
    assert ended(code, number, tmp_path) == (130, {"interrupted"})


def test_signal_never_breaks_a_write_of_hdf5(tmp_path: Path) -> None:
    assert ended(IN_WRITES, signal.SIGTERM, tmp_path) == (0, {"interrupted"})
