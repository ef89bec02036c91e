"""Real sockets whose far end misbehaves: a named error within the deadline, over TCP and VISA."""

import time
import tracemalloc

import pytest

from hil.core.errors import FrameError, LinkLostError, TransportError, TransportTimeoutError
from hil_drivers.connect import connect_chip
from hil_drivers.frames import FrameKind
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.session import Session
from unruly_listener import (
    Behaviour,
    Listener,
    babble,
    dribble,
    hang_up,
    keep_silent,
    say,
    unused_port,
)

TIMEOUT_S = 0.4
SLACK_S = 2.0
"""A busy machine may take this much longer than the deadline."""

carriers = pytest.mark.parametrize("choice", [TransportChoice.TCP, TransportChoice.VISA])


@carriers
def test_port_on_which_nobody_listens_is_a_transport_error(choice: TransportChoice) -> None:
    resource = f"TCPIP0::127.0.0.1::{unused_port()}::SOCKET"
    with pytest.raises(TransportError, match="refused"):
        connect_chip(resource, timeout_s=TIMEOUT_S, choice=choice)


@carriers
def test_silent_device_is_a_timeout(choice: TransportChoice) -> None:
    with Listener(keep_silent) as listener:
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"no whole answer to CHIP:PROTocol\?"):
            connect_chip(listener.resource, timeout_s=TIMEOUT_S, choice=choice)
        assert TIMEOUT_S <= time.monotonic() - start < TIMEOUT_S + SLACK_S


@carriers
@pytest.mark.parametrize(
    "device",
    [hang_up, say(b"@1 he"), say(b"@1 #41000" + bytes(500))],
    ids=["without_a_word", "inside_text", "inside_a_block"],
)
def test_device_that_hangs_up_is_a_lost_link(choice: TransportChoice, device: Behaviour) -> None:
    with Listener(device) as listener:
        session = Session(
            open_transport(listener.resource, timeout_s=5, choice=choice), timeout_s=30
        )
        start = time.monotonic()
        with session, pytest.raises(LinkLostError, match="closed the connection"):
            session.ask_frame("READ?", FrameKind.COUNTS)
        assert time.monotonic() - start < SLACK_S


@carriers
@pytest.mark.parametrize(
    "device",
    [
        say(b"@1 hal", then_close=False),
        say(b"@1 #41000" + bytes(500), then_close=False),
        dribble(b"", b"x", 0.01),
        dribble(b"@1 #41000", b"x", 0.01),
        dribble(b"", b"@0000000000 ", 0.01),
    ],
    ids=["half_text", "half_block", "dribbled_text", "dribbled_block", "dribbled_tags"],
)
def test_answer_that_never_ends_is_a_timeout(choice: TransportChoice, device: Behaviour) -> None:
    with Listener(device) as listener:
        transport = open_transport(listener.resource, timeout_s=5, choice=choice)
        with Session(transport, timeout_s=TIMEOUT_S) as session:
            start = time.monotonic()
            with pytest.raises(TransportTimeoutError):
                session.ask("READ?")
            assert TIMEOUT_S <= time.monotonic() - start < TIMEOUT_S + SLACK_S


@carriers
def test_babbling_device_is_a_frame_error_in_bounded_memory(choice: TransportChoice) -> None:
    with Listener(babble) as listener:
        transport = open_transport(listener.resource, timeout_s=5, choice=choice)
        with Session(transport, timeout_s=TIMEOUT_S) as session:
            tracemalloc.start()
            with pytest.raises(FrameError, match="4096 bytes without a newline"):
                session.ask("READ?")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert peak < 4 << 20


@carriers
def test_claim_of_a_gigabyte_is_refused_at_once(choice: TransportChoice) -> None:
    with Listener(say(b"@1 #9999999999", then_close=False)) as listener:
        transport = open_transport(listener.resource, timeout_s=5, choice=choice)
        with Session(transport, timeout_s=30) as session:
            start = time.monotonic()
            with pytest.raises(FrameError, match="block of 999999999 bytes"):
                session.ask_frame("READ?", FrameKind.COUNTS)
            assert time.monotonic() - start < SLACK_S


@carriers
def test_device_that_reads_nothing_is_a_timeout(choice: TransportChoice) -> None:
    with Listener(keep_silent) as listener:
        transport = open_transport(listener.resource, timeout_s=5, choice=choice)
        with Session(transport, timeout_s=TIMEOUT_S) as session:
            start = time.monotonic()
            with pytest.raises(TransportTimeoutError, match="the device took"):
                session.tell_frame("INPut:DATA", lambda _: bytes(32 << 20))
            assert time.monotonic() - start < TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("first_choice", [TransportChoice.TCP, TransportChoice.VISA])
@carriers
def test_closing_one_link_leaves_the_other_open(
    first_choice: TransportChoice, choice: TransportChoice
) -> None:
    with Listener(hang_up) as first, Listener(say(b"@1 here\n")) as second:
        closed = open_transport(first.resource, timeout_s=5, choice=first_choice)
        kept = open_transport(second.resource, timeout_s=5, choice=choice)
        closed.close()
        with Session(kept, timeout_s=5) as session:
            assert session.ask("X?") == "here"
