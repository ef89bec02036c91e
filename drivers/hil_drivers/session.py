"""Requests and their answers: the only place of the driver that knows time.

Every request carries a tag, one higher than the last, and its answer carries it back. An answer
with an older tag belongs to a request whose time was up: it is dropped and counted, never taken
for the answer to the next one.
"""

import math
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hil.core.errors import DeviceError, FrameError, LinkLostError, TransportTimeoutError
from hil.core.legible import printable
from hil_drivers.frames import Frame, FrameKind, decode_frame
from hil_drivers.link import Answer, HostLink, encode_request
from hil_drivers.transport import Transport

_LONGEST_QUOTE = 60
"""How much of a strange answer is shown in a message."""

_REFUSAL = re.compile(r"!(-?\d{1,9})(?:,(.*))?", re.DOTALL)

_LAST_WORDS_TAG = 0
"""Tag of what a device says before it closes a link whose bytes it cannot read."""


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
        self._is_half_sent = False
        self.stale_answers = 0
        """Late answers that were dropped."""

    def tell(self, text: str, *, limit_s: float = math.inf) -> None:
        """Send a command and wait until the device has done it, at most `limit_s` seconds."""
        answer = self._exchange(text, None, limit_s=limit_s)
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

    def _exchange(
        self,
        text: str,
        make_frame: Callable[[int], bytes] | None,
        *,
        limit_s: float = math.inf,
    ) -> Answer:
        self._tag += 1
        block = make_frame(self._tag) if make_frame else None
        timeout_s = min(self._timeout_s, limit_s)
        deadline = self._clock() + timeout_s
        self._send(encode_request(self._tag, text, block), text, timeout_s)
        answer = self._await_answer(text, deadline, timeout_s)
        if answer.text.startswith("!"):
            refusal = _REFUSAL.fullmatch(answer.text)
            if refusal is None:
                raise FrameError(f"{text}: the device answered {_quoted(answer)}: no error number")
            words = printable((refusal[2] or "").strip().strip('"'))
            raise DeviceError(int(refusal[1]), words, request=text)
        return answer

    def _send(self, message: bytes, text: str, timeout_s: float) -> None:
        if self._is_half_sent:
            raise LinkLostError(
                f"{self._transport.resource}: {text} cannot be sent: an earlier request was sent "
                "in part only; connect again"
            )
        try:
            self._transport.send(message, timeout_s=timeout_s)
        except BaseException:  # Ctrl-C in the middle of a block, too
            # The device would read the next request as the end of this one.
            self._is_half_sent = True
            raise

    def _await_answer(self, text: str, deadline: float, timeout_s: float) -> Answer:
        while True:
            left_s = deadline - self._clock()
            if left_s <= 0:
                raise self._too_late(text, timeout_s)
            mine = None
            try:
                answers = self._receive(text, left_s)
            except TransportTimeoutError as error:
                raise self._too_late(text, timeout_s) from error
            for answer in answers:
                if answer.tag == self._tag and mine is None:
                    mine = answer
                else:
                    self._drop_stale(answer, text)
            if mine is not None:
                return mine

    def _receive(self, text: str, left_s: float) -> list[Answer]:
        link = self._link
        try:
            if link.failure is not None:
                raise link.failure
            count = self._transport.receive_into(
                link.writable(), is_whole=link.is_inside_block, timeout_s=left_s
            )
            return link.received(count)
        except FrameError as error:
            raise FrameError(f"{self._transport.resource}: {text}: {error}") from error

    def _too_late(self, text: str, timeout_s: float) -> TransportTimeoutError:
        return TransportTimeoutError(
            f"{self._transport.resource}: no whole answer to {text} within {timeout_s:g} s; "
            "check that the device is on, and not busy for longer"
        )

    def _drop_stale(self, answer: Answer, text: str) -> None:
        if answer.tag == _LAST_WORDS_TAG:
            raise LinkLostError(
                f"{self._transport.resource}: {text}: the device could not read its bytes and "
                f"closes the link: {_quoted(answer)}"
            )
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
