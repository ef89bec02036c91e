"""A mock device with faults behind a real link, served by a thread; and its twin without any."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.errors import TransportTimeoutError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over, connect_chip
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.serial_port import open_serial
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.fault_script import FaultScript
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.faults.outage import InterruptedListener
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.hislip import HislipListener
from hil_mock_device.listeners.listener import Listener
from hil_mock_device.listeners.pty import PtyListener
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.profile import ArrayProfile, CounterProfile, MockProfile

LINKS = ("tcp", "visa", "hislip", "serial")
"""Raw TCP, the same through pyvisa (SOCKET), HiSLIP through pyvisa, packets on a terminal."""
ROWS, COLUMNS, CORES = 32, 8, 2
_START_S = 20.0
_CONNECT_TRIES = 5
_CONNECT_S = 10.0

Counts = npt.NDArray[np.uint16]


def make_chip(seed: int) -> ChipModel:
    """Return a small chip with every imperfection of the default profile."""
    return ChipModel(
        MockProfile(
            name="faults",
            seed=seed,
            array=ArrayProfile(cores=CORES, rows=ROWS, columns=COLUMNS, stuck_share=0.01),
            counter=CounterProfile(full_scale_products=70_000.0),
        )
    )


class CountingChip:
    """A chip, as `Silicon`, that counts what draws noise and what wears."""

    def __init__(self, chip: ChipModel) -> None:
        self._chip = chip
        self.conversions = 0
        self.programmings = 0
        self.identity, self.geometry = chip.identity, chip.geometry

    def reset(self) -> None:
        """Begin the sequence of readouts again."""
        self._chip.reset()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program weights, shape (row, column)."""
        self.programmings += 1
        self._chip.program(core, weights)

    def convert(self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]) -> Counts:
        """Return counts (vector, polarity, column) for inputs (vector, row)."""
        self.conversions += 1
        return self._chip.convert(core, read_mode, inputs)

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: Counts,
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        """Return the NMPU's outputs (vector, column) for counts."""
        return self._chip.correct(core, read_mode, counts, fmt, registers)

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the temperature, degrees Celsius."""
        return self._chip.temperature_c(core, read_mode)


class ServedDevice:
    """A device with faults behind one link.

    Parameters
    ----------
    chip
        The chip.
    link
        One of `LINKS`.
    loop, resource
        Where it is served, and how it is reached.
    """

    def __init__(
        self, device: FaultyDevice, link: str, loop: asyncio.AbstractEventLoop, resource: str
    ) -> None:
        self.device = device
        self.resource = resource
        self._link = link
        self._loop = loop

    def load(self, script: FaultScript) -> None:
        """Let things go wrong from now on."""
        self._in_loop(lambda: self.device.injector.load(script))

    def _in_loop(self, call: Callable[[], None]) -> None:
        async def work() -> None:
            call()

        asyncio.run_coroutine_threadsafe(work(), self._loop).result(_START_S)

    def connect(
        self,
        *,
        timeout_s: float,
        recovery: RecoveryPolicy,
        on_fault: Callable[[LinkFault], None],
    ) -> AimcBoard:
        """Connect to it, as patiently as on any day; then wait `timeout_s` for each answer."""
        for _ in range(_CONNECT_TRIES - 1):
            # A handshake is tried once, and a busy machine may well need longer for an answer.
            with suppress(TransportTimeoutError):
                return self._connect_once(timeout_s, recovery, on_fault)
        return self._connect_once(timeout_s, recovery, on_fault)

    def _connect_once(
        self,
        timeout_s: float,
        recovery: RecoveryPolicy,
        on_fault: Callable[[LinkFault], None],
    ) -> AimcBoard:
        if self._link == "serial":
            transport = open_serial(self.resource, timeout_s=_CONNECT_S)
            return board_over(transport, timeout_s, recovery=recovery, on_fault=on_fault)
        choice = TransportChoice.TCP if self._link == "tcp" else TransportChoice.VISA
        return connect_chip(
            self.resource,
            timeout_s=timeout_s,
            choice=choice,
            recovery=recovery,
            on_fault=on_fault,
        )


@contextmanager
def served_device(device: FaultyDevice, link: str) -> Iterator[ServedDevice]:
    """Serve a device over a link for the length of a ``with`` block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="faulty device", daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory(prefix="hil-faults-") as folder:
        listener = InterruptedListener(_make_listener(device, link, Path(folder)), device.injector)
        started = asyncio.run_coroutine_threadsafe(listener.start(device.converse), loop)
        try:
            yield ServedDevice(device, link, loop, started.result(_START_S))
        finally:
            asyncio.run_coroutine_threadsafe(listener.close(), loop).result(_START_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_START_S)
            loop.close()


def _make_listener(device: FaultyDevice, link: str, folder: Path) -> Listener:
    if link == "serial":
        return PtyListener(folder / "tty")
    address = TcpAddress("127.0.0.1", 0)
    if link == "hislip":
        return HislipListener(address, device.firmware)
    return TcpListener(address)
