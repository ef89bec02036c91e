"""From the options of a command line to listeners."""

from pathlib import Path

from hil.core.errors import ConfigError, Problem
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.hislip import HislipListener
from hil_mock_device.listeners.listener import Listener
from hil_mock_device.listeners.tcp import TcpListener


def choose_listeners(
    firmware: Firmware,
    *,
    default: TcpAddress,
    tcp: str | None = None,
    hislip: str | None = None,
    pty: Path | None = None,
    baud: int | None = None,
) -> list[Listener]:
    """Return the listeners asked for, in the order TCP, HiSLIP, serial line.

    Parameters
    ----------
    firmware
        The instrument behind them.
    default
        Where to listen for raw TCP if nothing is asked for.
    tcp, hislip
        ``HOST:PORT``.
    pty
        Where to put the link to the terminal of a serial line.
    baud
        Rate of the serial line, in bits per second; as fast as it goes if left out.

    Raises
    ------
    ConfigError
        If an address is none, or a rate is given without a serial line.
    """
    if baud is not None and pty is None:
        raise ConfigError("--baud", [Problem("", "is the rate of a serial line: add --pty LINK")])
    listeners: list[Listener] = []
    if tcp is not None:
        listeners.append(TcpListener(TcpAddress.parse(tcp)))
    if hislip is not None:
        listeners.append(HislipListener(TcpAddress.parse(hislip), firmware))
    if pty is not None:
        from hil_mock_device.listeners.pty import PtyListener  # noqa: PLC0415 - POSIX only

        listeners.append(PtyListener(pty, baud=baud))
    return listeners or [TcpListener(default)]
