"""The command line: words the user types, exit codes, nothing else.

Commands are imported when they are called, so that ``hil --help`` stays quick.
"""

import io
import os
import signal
import sys
from typing import Any

import click

import hil
from hil.cli.lazy_group import RootGroup

_COMMANDS = {
    "init": ("hil.cli.init", "Ask a few questions and write a campaign file."),
    "config": ("hil.cli.config", "Check and show campaign files."),
    "plan": ("hil.cli.plan", "Show what a campaign would do, take and need."),
    "run": ("hil.cli.run", "Run a calibration campaign on its device."),
    "resume": ("hil.cli.resume", "Go on with a run that was interrupted or killed."),
    "replay": ("hil.cli.replay", "Calibrate again from the stored readouts of a run."),
    "export": ("hil.cli.export", "Write a run's coefficients, in every form that takes them."),
    "load": ("hil.cli.load", "Write exported coefficients into a chip's NMPU."),
    "status": ("hil.cli.status", "Show how a run stands, from another terminal."),
    "abort": ("hil.cli.abort", "Stop a run that another process writes, and leave its chip safe."),
    "list": ("hil.cli.list_runs", "List the runs below a folder."),
    "info": ("hil.cli.info", "Print what a run holds."),
    "data": ("hil.cli.data", "Look at what is stored, check it, save what is left of it."),
    "calibrate": (
        "hil.cli.calibrate",
        "Fit again from stored readouts, apply and compare calibrations.",
    ),
    "nmpu": ("hil.cli.nmpu", "Show what the NMPU's integer model computes, stage by stage."),
    "explore": ("hil.cli.explore", "Study which widths an NMPU needs, on a recording."),
    "evaluate": ("hil.cli.evaluate", "Evaluate a network on a chip: what a correction wins."),
    "chip": ("hil.cli.chip", "Show what was ever done to a chip."),
    "instruments": ("hil.cli.instruments", "Look at a campaign's bench instruments."),
    "devices": ("hil.cli.devices", "List the devices there are, with their resource strings."),
    "doctor": ("hil.cli.doctor", "Test a link, or the installation, and say what to fix."),
    "drivers": ("hil.cli.drivers", "List plug-ins; test a chip driver against its device."),
    "mock": ("hil.cli.mock", "Serve the mock chip, or a recording, as a device."),
}
"""Name to module (its attribute ``command``) and one line of help."""
_SECTIONS = {
    "Campaigns": (
        "init", "config", "plan", "run", "resume", "status", "abort", "list", "info",
    ),
    "Calibrations": ("calibrate", "replay", "export", "load"),
    "Stored data": ("data",),
    "Studies": ("nmpu", "explore", "evaluate"),
    "The bench": ("devices", "doctor", "drivers", "instruments", "chip", "mock"),
}  # fmt: skip
"""Which commands belong together."""


@click.group(
    cls=RootGroup,
    lazy=_COMMANDS,
    sections=_SECTIONS,
    name="hil",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(hil.__version__, prog_name="hil")
def command_line(**_: Any) -> None:
    """Calibrate analog in-memory-computing chips, with the hardware in the loop.

    Exit codes: 0 done, 1 some steps failed, 2 usage, 3 campaign file or folder, 4 device or link,
    5 damaged data, 6 a safety limit, 130 interrupted.
    """


def _begin_quietly() -> None:
    # Before any command is imported, so that an early Ctrl-C shows no traceback.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end_interrupted)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a title may not exist in the terminal's encoding
            stream.reconfigure(errors="backslashreplace")


def _end_interrupted(*_: Any) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def _multiply_on_one_core() -> None:
    # numpy reads this when it is imported. The products of a block take less than a millisecond;
    # spread over all cores, their threads wait for each other and for the mock's process: on two
    # busy cores a campaign on the mock took two to three times as long. The user's own value holds.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # torch's threads may be several, but must not spin while they wait for each other: on two busy
    # cores hil evaluate took four times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run the command line: the entry point ``hil``."""
    _begin_quietly()
    _multiply_on_one_core()
    command_line()
