"""pymeasure's SCPI instrument, over a raw socket, HiSLIP and a serial line."""

from collections.abc import Iterator
from typing import Any

import pytest

instruments = pytest.importorskip("pymeasure.instruments", reason="pymeasure is not installed")

IDENTITY = "aimc-hil,mock-chip,S-1,1.0"


@pytest.fixture
def instrument(resource: str) -> Iterator[Any]:
    class Board(instruments.SCPIMixin, instruments.Instrument):  # type: ignore[name-defined,misc]
        """The board as a driver's author would begin it."""

        core = instruments.Instrument.control(
            "CORE:SEL?", "CORE:SEL %d", "The selected core.", cast=int
        )

    board = Board(
        resource,
        "AIMC board",
        visa_library="@py",
        read_termination="\n",
        write_termination="\n",
        timeout=10_000,
    )
    board.clear()
    yield board
    board.adapter.close()


def test_common_commands_work(instrument: Any) -> None:
    assert instrument.id == IDENTITY
    assert int(instrument.complete) == 1
    assert int(instrument.status) == 0
    instrument.reset()
    assert instrument.check_errors() == []


def test_setting_is_controlled(instrument: Any) -> None:
    instrument.core = 2
    assert instrument.core == 2


def test_errors_are_read_until_there_is_none(instrument: Any) -> None:
    instrument.write("BAD")
    instrument.core = 99
    errors = instrument.check_errors()
    assert [int(error[0]) for error in errors] == [-113, -222]
    assert instrument.check_errors() == []
