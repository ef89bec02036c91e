"""``python serve_replay.py RUN SPEED FAULTS``: a recording on a TCP port, until stdin ends."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_directory
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from hil_mock_device.server import serve


def main(run: str, speed: str, faults: str) -> None:
    recording = Recording(open_directory(Path(run)).read_steps())
    instrument = ReplayInstrument(recording, Tempo.parse(speed=speed, faults=faults))

    def announce(resources: Sequence[str]) -> None:
        print(resources[0], flush=True)  # noqa: T201 - read by the test

    listener = TcpListener(TcpAddress("127.0.0.1", 0))
    serve([listener], instrument.conversation, on_ready=announce, stops_with_stdin=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
