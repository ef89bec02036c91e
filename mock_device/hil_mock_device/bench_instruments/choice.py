"""From the options of a command line to a mock bench, and from what it offers to listeners."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from hil.core.errors import ConfigError, Problem
from hil_mock_device.bench_instruments.bench import MockBench
from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.listening import instrument_listeners
from hil_mock_device.conversation import Conversation
from hil_mock_device.environment import Environment
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.listener import Listener, MakeConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchChoice:
    """Which bench instruments to serve beside a chip.

    Raises
    ------
    ConfigError
        If an address is none, or a speed cannot be.
    """

    chamber: str | None = None
    """``HOST:PORT`` of the thermal chamber; not served if None."""
    supply: str | None = None
    """``HOST:PORT`` of the power supply; not served if None."""
    speed: float | None = None
    """Bench seconds per real second; 1 if None."""

    def __post_init__(self) -> None:
        if self.speed is not None and not self.addresses:
            message = "is the speed of bench instruments: add --chamber or --supply"
            raise ConfigError("--bench-speed", [Problem("", message)])
        self._new_time()

    @property
    def addresses(self) -> Mapping[str, TcpAddress]:
        """Where each instrument listens, by name."""
        named = {"chamber": self.chamber, "supply": self.supply}
        return {name: TcpAddress.parse(text) for name, text in named.items() if text is not None}

    def around(self, chip: Environment, *, seed: int) -> "ServedBench | None":
        """Return the bench around a chip; None if no instrument is to be served.

        Parameters
        ----------
        chip
            What the instruments act on.
        seed
            Seed of the noise of their readings.
        """
        addresses = self.addresses
        if not addresses:
            return None
        bench = MockBench(chip, seed=seed, time=self._new_time())
        return ServedBench(
            bench=bench,
            listeners=dict(
                zip(
                    addresses,
                    instrument_listeners(bench.conversations(), addresses),
                    strict=True,
                )
            ),
        )

    def _new_time(self) -> BenchTime:
        try:
            return BenchTime(time.monotonic, speed=1.0 if self.speed is None else self.speed)
        except ValueError as error:
            raise ConfigError("--bench-speed", [Problem("", str(error))]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBench:
    """A bench and the ways in to its instruments."""

    bench: MockBench
    """The bench."""
    listeners: Mapping[str, Listener]
    """Instrument to its listener, for the server that the chip has."""

    def around(self, make_conversation: MakeConversation) -> MakeConversation:
        """Return what begins a conversation with the chip that finds the bench up to date."""
        return partial(self._coupled, make_conversation)

    def _coupled(self, make_conversation: MakeConversation) -> Conversation:
        return self.bench.coupled(make_conversation())
