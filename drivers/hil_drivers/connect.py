"""From a resource string to a `Chip`."""

import secrets
from collections.abc import Callable

from hil_drivers.aimc_board import AimcBoard
from hil_drivers.link_fault import LinkFault
from hil_drivers.message_bytes import HIGHEST_TAG
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.session import Session
from hil_drivers.transport import Transport


def connect_chip(
    resource: str,
    *,
    timeout_s: float,
    choice: TransportChoice = TransportChoice.AUTO,
    recovery: RecoveryPolicy | None = None,
    on_fault: Callable[[LinkFault], None] = lambda _: None,
) -> AimcBoard:
    """Open the link to a board and shake hands with it.

    Parameters
    ----------
    resource
        What `open_transport` takes.
    timeout_s
        How long an answer may take, in seconds.
    choice
        Who carries the bytes.
    recovery
        How long and how often operations are tried; the defaults of `RecoveryPolicy` where None.
        Connecting is tried once.
    on_fault
        Called with every fault of the link once it is over.

    Raises
    ------
    TransportError
        If the resource is none, or the device is absent or silent.
    FrameError
        If what answers does not speak this protocol.
    """
    transport = open_transport(resource, timeout_s=timeout_s, choice=choice)
    return board_over(
        transport,
        timeout_s,
        recovery=recovery,
        on_fault=on_fault,
        first_tag=1 + secrets.randbelow(HIGHEST_TAG),
    )


def board_over(
    transport: Transport,
    timeout_s: float,
    *,
    recovery: RecoveryPolicy | None = None,
    on_fault: Callable[[LinkFault], None] = lambda _: None,
    first_tag: int = 1,
) -> AimcBoard:
    """Shake hands over an open link; a failed handshake closes it."""
    session = Session(transport, timeout_s=timeout_s, first_tag=first_tag)
    try:
        return AimcBoard(session, recovery=recovery, on_fault=on_fault)
    except BaseException:
        session.close()
        raise
