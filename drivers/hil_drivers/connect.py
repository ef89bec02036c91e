"""From a resource string to a `Chip`."""

from hil_drivers.aimc_board import AimcBoard
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.session import Session
from hil_drivers.transport import Transport


def connect_chip(
    resource: str, *, timeout_s: float, choice: TransportChoice = TransportChoice.AUTO
) -> AimcBoard:
    """Open the link to a board and shake hands with it.

    Raises
    ------
    TransportError
        If the resource is none, or the device is absent or silent.
    FrameError
        If what answers does not speak this protocol.
    """
    return board_over(open_transport(resource, timeout_s=timeout_s, choice=choice), timeout_s)


def board_over(transport: Transport, timeout_s: float) -> AimcBoard:
    """Shake hands over an open link; a failed handshake closes it."""
    session = Session(transport, timeout_s=timeout_s)
    try:
        return AimcBoard(session)
    except BaseException:
        session.close()
        raise
