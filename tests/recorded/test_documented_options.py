"""The options that the how-tos fit again with change something on the data they are used on."""

import re
from pathlib import Path

import pytest

from command_line import PROJECT, QUICKSTART
from recorded_runs import command

HOW_TO = PROJECT / "docs" / "how-to"
PAGES = ("calibrate-again.md", "trace-a-coefficient.md")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    only = ("--set", "campaign.cores=[0]", "--set", 'campaign.read_modes=["one_phase"]')
    assert command("run", QUICKSTART, "--out", folder, "--quiet", *only).code == 0
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_a_page_fits_with_changes_coefficients(
    quickstart: Path, tmp_path: Path, page: str
) -> None:
    lines = re.findall(r"^\$ hil calibrate fit .*", (HOW_TO / page).read_text(), re.MULTILINE)
    options = {option for line in lines for option in re.findall(r"--set (\S+)", line)}
    assert options
    for number, option in enumerate(sorted(options)):
        out = tmp_path / f"{number}.hil.h5"
        done = command("calibrate", "fit", quickstart, "--out", out, "--set", option, "--json")
        (step,) = done.json["runs"][0]["steps"]
        assert step["ids"]["coefficients"] != step["ids_before"]["coefficients"], option
