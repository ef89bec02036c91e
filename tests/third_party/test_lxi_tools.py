"""Debian's lxi-tools, a client in C."""

import re
import shutil
import subprocess
from typing import Any

import pytest

LXI = shutil.which("lxi")
pytestmark = pytest.mark.skipif(LXI is None, reason="lxi is not installed (apt: lxi-tools)")


def lxi(*arguments: str) -> str:
    assert LXI is not None
    ended = subprocess.run(
        [LXI, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_query_is_answered(board: Any) -> None:
    where = ["--raw", "--address", "127.0.0.1", "--port", str(board.port)]
    assert lxi("scpi", *where, "*IDN?").strip() == "aimc-hil,mock-chip,S-1,1.0"


def test_benchmark_runs_to_its_end(board: Any) -> None:
    where = ["--raw", "--address", "127.0.0.1", "--port", str(board.port)]
    heard = lxi("benchmark", *where, "--count", "500")
    rate = re.search(r"([\d.]+) requests/second", heard)
    assert rate is not None, heard
    assert float(rate[1]) > 100
