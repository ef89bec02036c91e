"""Runs every snippet of the documentation: Python as it stands, console lines as commands."""

import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

PROJECT = Path(__file__).parent

# One worker of pytest for each processor: more threads of the linear algebra only wait in turns.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch

# Until all tests are collected nothing is garbage; see `pytest_collection_finish`.
gc.disable()

# No test, and no process that one starts, may write into the user's own books of chips.
os.environ["AIMC_HIL_DATA"] = tempfile.mkdtemp(prefix="hil-data-")

# Compiled loops import numba at their top; without it there is nothing in them to collect.
collect_ignore_glob = (
    []
    if importlib.util.find_spec("numba")
    else [
        "calibration/hil_calibration/kernels/compiled_*.py",
        "calibration/hil_calibration/kernels/vector_sums.py",
    ]
)
# Likewise built-in networks are classes of torch.
if not importlib.util.find_spec("torch"):
    collect_ignore_glob += ["hil/inference/networks/architectures/*.py"]


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays to the end: that takes half a second."""
    gc.freeze()
    gc.enable()


def enter_folder(namespace: dict[str, Any]) -> None:
    """Give each page a fresh folder of its own, with the examples in it."""
    folder = Path(tempfile.mkdtemp(prefix="hil-docs-"))
    shutil.copytree(PROJECT / "examples", folder / "examples")
    namespace["without_torch"] = importlib.util.find_spec("torch") is None
    namespace["_folder"], namespace["_back"] = folder, Path.cwd()
    os.chdir(folder)


def leave_folder(namespace: dict[str, Any]) -> None:
    """Go back and tidy up."""
    os.chdir(namespace["_back"])
    shutil.rmtree(namespace["_folder"])


def run_console(example: Example) -> str | None:
    """Run the lines after ``$``; return what went wrong, or None."""
    commands = [line[2:] for line in example.parsed.splitlines() if line.startswith("$ ")]
    from forked_hil import forked_hil  # noqa: PLC0415 - pytest finds the folder `tests` by now

    # What a user calls first is the installed script; of the others, none imports all of it again.
    folders = [Path(sys.executable).parent, os.environ["PATH"]]
    if Path(example.path).name != "README.md":
        folders.insert(0, forked_hil().parent)
    path = os.pathsep.join(map(str, folders))
    for command in commands:
        done = subprocess.run(  # noqa: S602 - the project's own documentation
            command,
            shell=True,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        if done.returncode != 0:
            return f"$ {command}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return None


pytest_collect_file = Sybil(
    parsers=[SkipParser(), PythonCodeBlockParser(), CodeBlockParser("console", run_console)],
    path=str(PROJECT),
    patterns=["README.md", "docs/**/*.md"],
    setup=enter_folder,
    teardown=leave_folder,
).pytest()
