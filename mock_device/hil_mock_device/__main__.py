"""``python -m hil_mock_device``: the server process behind ``mock://`` resources.

Prints one JSON line, with the resource strings of chip and bench instruments once clients can
connect, or with what went wrong, and stops at the end of its standard input. Code 1 without a word
means that nobody was left to read that line. People use ``hil mock serve`` instead.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from hil.core.errors import HilError
from hil_mock_device.bench_instruments.choice import BenchChoice
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.choice import choose_listeners
from hil_mock_device.listeners.listener import MakeConversation
from hil_mock_device.paced_chip import PacedChip, VectorPace
from hil_mock_device.profile import load_profile, parse_seed
from hil_mock_device.server import serve


def main() -> int:
    """Serve until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hil_mock_device")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--seed", type=_seed)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--tcp")
    parser.add_argument("--hislip")
    parser.add_argument("--pty", type=Path)
    parser.add_argument("--baud", type=int)
    parser.add_argument("--chamber")
    parser.add_argument("--supply")
    parser.add_argument("--bench-speed", type=float)
    parser.add_argument("--vector-s", type=float)
    arguments = parser.parse_args()
    try:
        return _serve(arguments)
    except BrokenPipeError:
        # Python flushes standard output once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _serve(arguments: argparse.Namespace) -> int:
    try:
        profile = load_profile(arguments.profile, base=Path())
        if arguments.seed is not None:
            profile = profile.model_copy(update={"seed": arguments.seed})
        pace = None if arguments.vector_s is None else VectorPace(arguments.vector_s, monotonic)
        chip = ChipModel(profile) if pace is None else PacedChip(profile, pace)
        bench = BenchChoice(
            chamber=arguments.chamber, supply=arguments.supply, speed=arguments.bench_speed
        ).around(chip, seed=profile.seed)
        instrument_listeners = {} if bench is None else bench.listeners
        firmware = Firmware(chip)
        listeners = choose_listeners(
            firmware,
            default=TcpAddress("127.0.0.1", 0),
            tcp=arguments.tcp,
            hislip=arguments.hislip,
            pty=arguments.pty,
            baud=arguments.baud,
        )

        def on_ready(resources: Sequence[str]) -> None:
            if arguments.truth is not None:
                chip.write_truth(arguments.truth)
            chip_resources = list(resources[: len(listeners)])
            instruments = zip(instrument_listeners, resources[len(listeners) :], strict=True)
            _announce(resources=chip_resources, instruments=dict(instruments))

        make_conversation: MakeConversation = partial(MockDevice, firmware)
        if pace is not None:
            make_conversation = pace.around(make_conversation)
        serve(
            [*listeners, *instrument_listeners.values()],
            make_conversation if bench is None else bench.around(make_conversation),
            on_ready=on_ready,
            stops_with_stdin=True,
        )
    except HilError as error:
        _announce(error=str(error))
        return 1
    return 0


def _seed(text: str) -> int:
    try:
        return parse_seed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _announce(**what: str | list[str] | dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
