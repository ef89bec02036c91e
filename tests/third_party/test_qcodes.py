"""QCoDeS' VISA instrument, in a process of its own: importing it is heavy, and writes to home."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("qcodes") is None:
    pytest.skip("QCoDeS is not installed", allow_module_level=True)

SCRIPT = """
import sys
from qcodes.instrument import VisaInstrument

for number, resource in enumerate(sys.argv[1:]):
    board = VisaInstrument(
        f"board{number}", resource, visalib="@py", terminator="\\n", timeout=10, device_clear=True
    )
    core = board.add_parameter("core", get_cmd="CORE:SEL?", set_cmd="CORE:SEL {}", get_parser=int)
    core(2)
    identity = board.get_idn()
    print(*identity.values(), board.ask("*OPC?"), board.ask("SYST:ERR?"), core())
    assert board.snapshot(update=True)["parameters"]["core"]["value"] == 2
    board.close()
"""


def test_instrument_identifies_sets_and_takes_its_snapshot(board: Any, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, board.socket, board.hislip, board.serial],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr
    line = 'aimc-hil mock-chip S-1 1.0 1 0,"No error" 2'
    # QCoDeS greets on its own lines.
    assert ended.stdout.splitlines().count(line) == 3
