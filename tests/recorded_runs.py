"""A small run of the mock chip with every kind of step, for what works on stored readouts."""

from pathlib import Path

from click.testing import CliRunner

from command_line import Ended, hil
from hil.cli import command_line

PROFILE = """schema_version = 1
name = "small"
[array]
cores = 1
rows = 16
columns = 12
"""
CAMPAIGN = """schema_version = 1
[campaign]
title = "Every kind of step"
[device]
resource = "mock://small.toml"
[vectors]
calibration = 128
verification = 64
block = 16
[steps.program]
vectors = 16
[steps.calibrate]
[steps.probe]
vectors = 32
[steps.verify]
[steps.characterise]
vectors = 8
repeats = 4
"""
CALIBRATIONS = ("core00_one_phase", "core00_four_phase")


def measured_run(folder: Path) -> Path:
    """Run the campaign in a folder; return that of the run."""
    (folder / "small.toml").write_text(PROFILE)
    (folder / "campaign.toml").write_text(CAMPAIGN)
    done = hil("run", "campaign.toml", "--out", "run", "--quiet", cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "run"


def command(*arguments: object) -> Ended:
    """Run a command in this process: to start another one takes longer than most commands."""
    done = CliRunner().invoke(command_line, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)
