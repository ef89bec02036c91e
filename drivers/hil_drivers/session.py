"""Requests and their answers: the only place of the driver that knows time.

Every request carries a tag, one higher than the last, and its answer carries it back. An answer
with an older tag belongs to a request whose time was up: it is dropped and counted, never taken
for the answer to the next one.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hil.core.errors import DeviceError, FrameError, TransportTimeoutError
from hil_drivers.frames import Frame, FrameKind, decode_frame
from hil_drivers.link import Answer, HostLink, encode_request
from hil_drivers.transport import Transport

_LONGEST_QUOTE = 60
"""How much of a strange answer is shown in a message."""


class Session:
    """A conversation with one device.

    Parameters
    ----------
    transport
        The open link; the session closes it.
    timeout_s
        How long an answer may take, in seconds, from the request to its last byte.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._clock = clock
        self._link = HostLink()
        self._tag = 0
        self.stale_answers = 0
        """Late answers that were dropped."""

    def tell(self, text: str) -> None:
        """Send a command and wait until the device has done it."""
        answer = self._exchange(text, None)
        if answer.text != "OK":
            raise FrameError(f"{text}: the device answered {_quoted(answer)} where OK is due")

    def ask(self, text: str) -> str:
        """Send a query and return its answer's text."""
        answer = self._exchange(text, None)
        if answer.block is not None:
            raise FrameError(f"{text}: the device answered {_quoted(answer)} where text is due")
        return answer.text

    def tell_frame(self, text: str, make_frame: Callable[[int], bytes]) -> None:
        """Send a command with a frame, made by `make_frame` from the request's tag."""
        answer = self._exchange(text, make_frame)
        if answer.text != "OK":
            raise FrameError(f"{text}: the device answered {_quoted(answer)} where OK is due")

    def ask_frame(self, text: str, kind: FrameKind) -> Frame:
        """Send a query and return the frame in its answer, which carries the same number."""
        answer = self._exchange(text, None)
        if answer.block is None:
            raise FrameError(f"{text}: the device answered {_quoted(answer)} where a block is due")
        frame = decode_frame(answer.block)
        if frame.kind is not kind:
            raise FrameError(
                f"{text}: the device answered with a frame of {frame.kind.name.lower()}, "
                f"{kind.name.lower()} are due"
            )
        if frame.sequence != answer.tag:
            raise FrameError(
                f"{text}: the frame has sequence number {frame.sequence}, the request {answer.tag}"
            )
        return frame

    def close(self) -> None:
        """Close the link."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _exchange(self, text: str, make_frame: Callable[[int], bytes] | None) -> Answer:
        self._tag += 1
        block = make_frame(self._tag) if make_frame else None
        deadline = self._clock() + self._timeout_s
        self._transport.send(encode_request(self._tag, text, block), timeout_s=self._timeout_s)
        answer = self._await_answer(text, deadline)
        if answer.text.startswith("!"):
            code, _, words = answer.text[1:].partition(",")
            if not code.lstrip("-").isdigit():
                raise FrameError(f"{text}: the device answered {_quoted(answer)}: no error number")
            raise DeviceError(int(code), words.strip().strip('"'), request=text)
        return answer

    def _await_answer(self, text: str, deadline: float) -> Answer:
        while True:
            left_s = deadline - self._clock()
            if left_s <= 0:
                raise TransportTimeoutError(
                    f"{self._transport.resource}: no whole answer to {text} within "
                    f"{self._timeout_s:g} s"
                )
            count = self._transport.receive_into(
                self._link.writable(), is_whole=self._link.is_inside_block, timeout_s=left_s
            )
            for answer in self._link.received(count):
                if answer.tag == self._tag:
                    return answer
                self._drop_stale(answer, text)

    def _drop_stale(self, answer: Answer, text: str) -> None:
        if answer.tag is None:
            raise FrameError(
                f"{text}: the device answered {_quoted(answer)} without the request's tag @"
                f"{self._tag}: it does not speak this protocol"
            )
        if answer.tag > self._tag:
            raise FrameError(
                f"{text}: the device answered request {answer.tag}, this is request {self._tag}"
            )
        self.stale_answers += 1


def _quoted(answer: Answer) -> str:
    if answer.block is not None:
        return f"a block of {len(answer.block)} bytes"
    more = "..." if len(answer.text) > _LONGEST_QUOTE else ""
    return f"{answer.text[:_LONGEST_QUOTE]!r}{more}"
