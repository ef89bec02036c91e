"""One mock server with every way in, for clients that nobody here wrote."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import contract_chip
from hil_mock_device.launch import MockProcess


@dataclass(frozen=True)
class Board:
    """Where the mock board is."""

    socket: str
    """VISA resource string of its raw socket."""
    hislip: str
    """VISA resource string of its HiSLIP port."""
    serial: str
    """VISA resource string of its serial line."""

    @property
    def port(self) -> int:
        """Port of the raw socket."""
        return int(self.socket.split("::")[2])


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """Serve the small chip of the contract suites, three cores of 16 rows and 8 columns."""
    folder = tmp_path_factory.mktemp("board")
    profile = contract_chip.write_profile(folder)
    # A terminal's path stays short: VISA keeps it in a resource string.
    ways = ["--tcp", "127.0.0.1:0", "--hislip", "127.0.0.1:0", "--pty", str(folder / "line")]
    with MockProcess(["--profile", str(profile), "--seed", "5", *ways]) as mock:
        tcp, hislip, _ = mock.resources
        yield Board(socket=tcp, hislip=hislip, serial=f"ASRL{Path(folder, 'line')}::INSTR")


@pytest.fixture(params=["socket", "hislip", "serial"])
def resource(request: pytest.FixtureRequest, board: Board) -> str:
    """Return the board's VISA resource string, each of three in turn."""
    return str(getattr(board, request.param))
