"""The page on plain pyvisa: its script runs against the real server, and without this project."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hil_mock_device.launch import MockProcess

PAGE = (Path(__file__).parents[2] / "docs/how-to/plain-pyvisa.md").read_text("utf-8")
FIRST, *SCRIPT, LAST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

REFUSE_OUR_MODULES = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OURS:
            raise ImportError(f"{name} is not to be imported here")

OURS = {"hil", "hil_drivers", "hil_mock_device", "hil_calibration", "hil_datasets"}
assert not OURS & set(sys.modules)
sys.meta_path.insert(0, Refuses())
resource = sys.argv[1]
"""


@pytest.fixture(scope="module")
def output() -> str:
    """What the page's script prints, run by itself against a mock server."""
    with MockProcess(["--profile", "quickstart", "--seed", "0"]) as mock:
        script = REFUSE_OUR_MODULES + "\n".join(SCRIPT)
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, mock.resource],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_plain_script_identifies_the_mock(output: str) -> None:
    assert output.splitlines()[0] == "aimc-hil,mock-chip,quickstart-0,1.0"


def test_plain_script_reads_counts_that_follow_the_exact_product(output: str) -> None:
    line = output.splitlines()[1]
    assert line.startswith("8 vectors, 256 columns, correlation with the exact product 0.9")


def test_only_the_first_and_last_part_of_the_page_need_this_project() -> None:
    assert "hil_mock_device" in FIRST
    assert LAST == "mock.close()\n"
    assert not any("hil_" in part for part in SCRIPT)
