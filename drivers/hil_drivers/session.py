"""Requests and their answers: the only place of the driver that knows time.

Every request carries a tag, one higher than the last, and its answer carries it back. An answer
with an older tag belongs to a request whose time was up: it is dropped and told, never taken for
the answer to the next one.

A request that did not get its answer leaves the link out of step: something of it may still be on
its way. Before the next request the session resynchronises: the transport drops what is under way,
and nothing that was received before is looked at again.

A device may push frames that answer no request (`listen`). They are kept in order until somebody
takes them, whatever is asked meanwhile; how many there can be is up to who lends their memory.
"""

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hil.core.errors import TransportTimeoutError
from hil_drivers.answer_checks import check_not_refused, check_ok, fault_error, shown
from hil_drivers.frames import Frame, FrameKind, decode_frame
from hil_drivers.link import Answer, HostLink, encode_request, next_tag
from hil_drivers.link_fault import FaultKind, FrameFault, LinkClosedError, TruncatedAnswerError
from hil_drivers.pushed_frames import PushedFrames
from hil_drivers.ring import Lender
from hil_drivers.transport import Transport, is_duplex

_DROPPED = {FaultKind.STALE_TAG, FaultKind.REPEATED_TAG}
"""Answers that do no harm: they are dropped, and the right one is waited for."""


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
    first_tag
        Tag of the first request, 1 to 2**32 - 1. Hosts that begin anywhere do not take for their
        own what an earlier host's requests have left on a line.
    on_dropped
        Called with what was wrong and the request that was waiting, when an answer was dropped.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        first_tag: int = 1,
        on_dropped: Callable[[FaultKind, str], None] = lambda _kind, _request: None,
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._clock = clock
        self._link = HostLink()
        self._pushed = PushedFrames()
        self._is_posted = False
        self.on_dropped = on_dropped
        """Called when an answer was dropped; see above."""
        self._tag = 0
        self.upcoming_tag = first_tag
        """Tag that the next request will have."""
        self.request = ""
        """Text of the last request."""
        self.has_checksums = False
        """Whether requests have a checksum, and their answers must."""
        self.is_in_step = True
        """Whether every request got its answer, so that nothing is on its way."""
        self.deadline = math.inf
        """When every request's time is up at the latest, by the clock given."""
        self._is_closed = False
        self.requests = 0
        """Requests made."""
        self.resynchronisations = 0
        """How often the link was cleared."""
        self.stale_answers = 0
        """Late and repeated answers that were dropped."""

    @property
    def resource(self) -> str:
        """The resource string of the link."""
        return self._transport.resource

    def tell(self, text: str, *, limit_s: float = math.inf) -> None:
        """Send a command and wait until the device has done it, at most `limit_s` seconds."""
        check_ok(self._exchange(text, None, limit_s=limit_s), text)

    def ask(self, text: str) -> str:
        """Send a query and return its answer's text."""
        answer = self._exchange(text, None)
        if answer.block is not None:
            raise FrameFault(
                FaultKind.WRONG_ANSWER,
                f"{text}: the device answered {shown(answer)} where text is due",
            )
        return answer.text

    def tell_frame(self, text: str, make_frame: Callable[[int], bytes]) -> None:
        """Send a command with a frame, made by `make_frame` from the request's tag."""
        check_ok(self._exchange(text, make_frame), text)

    def ask_block(
        self, text: str, lender: Lender | None = None
    ) -> tuple[bytearray | memoryview, int]:
        """Send a query; return the block in its answer, in memory lent, and the request's tag."""
        answer = self._exchange(text, None, lender=lender)
        if answer.block is None:
            raise FrameFault(
                FaultKind.WRONG_ANSWER,
                f"{text}: the device answered {shown(answer)} where a block is due",
            )
        return answer.block, self._tag

    def ask_frame(self, text: str, kind: FrameKind) -> Frame:
        """Send a query and return the frame in its answer, which carries the same number."""
        block, tag = self.ask_block(text)
        frame = decode_frame(block)
        if frame.kind is not kind:
            raise FrameFault(
                FaultKind.WRONG_FRAME,
                f"{text}: the device answered with a frame of {frame.kind.name.lower()}, "
                f"{kind.name.lower()} are due",
            )
        if frame.sequence != tag:
            raise FrameFault(
                FaultKind.WRONG_SEQUENCE,
                f"{text}: the frame has sequence number {frame.sequence}, the request {tag}",
            )
        return frame

    @property
    def can_listen(self) -> bool:
        """Whether the link carries what a device says without being asked."""
        return is_duplex(self._transport)

    def listen(self, tag: int, lender: Lender) -> None:
        """Keep the frames that the device pushes under the number `tag`, in memory lent."""
        self._pushed.listen(self._link, tag, lender)

    def stop_listening(self) -> None:
        """Drop the pushed frames that are kept; those to come are dropped, too."""
        self._pushed.stop(self._link)

    def next_pushed(self) -> bytearray | memoryview | None:
        """Wait for the next frame that the device pushes; return its bytes.

        None if the answer to what was posted came first.

        Raises
        ------
        DeviceError
            If the device refuses what was posted.
        """
        timeout_s = self._time_left()
        deadline = self._clock() + timeout_s
        while not self._pushed:
            self.is_in_step = False
            answer = self._receive_some(deadline, timeout_s)
            self.is_in_step = True
            if answer is not None:
                self._end_post(answer)
                return self._pushed.take() if self._pushed else None
        return self._pushed.take()

    def has_pushed(self) -> bool:
        """Tell whether a pushed frame is kept that nobody has taken."""
        return bool(self._pushed)

    def post(self, text: str) -> bool:
        """Send a command without waiting for its answer, which `next_pushed` looks at.

        Returns False, and sends nothing, while the last one posted is not answered.
        """
        if self._is_posted:
            return False
        self._send(text, None, math.inf, None)
        self.is_in_step = self._is_posted = True
        return True

    def resynchronise(self) -> None:
        """Let nothing that was sent or received before have any effect on what follows.

        Tags go on counting, so that an answer to an old one is still known for what it is.

        Raises
        ------
        TransportError
            If the link cannot be made usable within the timeout, or before the deadline.
        """
        if self._is_closed:
            raise LinkClosedError(f"{self.resource}: the link was closed")
        self.is_in_step = False
        timeout_s = min(self._timeout_s, self.deadline - self._clock())
        if timeout_s <= 0:
            raise TransportTimeoutError(f"{self.resource}: no time left to resynchronise")
        self._transport.clear(timeout_s=timeout_s)
        self._link.abandon()
        self._link = HostLink()
        self._is_posted = False
        self._pushed.go_on(self._link)
        self.resynchronisations += 1
        self.is_in_step = True

    def close(self) -> None:
        """Close the link; every later request raises `LinkClosedError`."""
        self._is_closed = True
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
        lender: Lender | None = None,
    ) -> Answer:
        if self._is_posted and self.is_in_step:
            self._await_post()
        deadline, timeout_s = self._send(text, make_frame, limit_s, lender)
        answer = self._await_answer(deadline, timeout_s)
        self.is_in_step = True
        check_not_refused(answer, text)
        return answer

    def _send(
        self,
        text: str,
        make_frame: Callable[[int], bytes] | None,
        limit_s: float,
        lender: Lender | None,
    ) -> tuple[float, float]:
        """Send a request; return when its time is up, and how long that is."""
        if self._is_closed:
            raise LinkClosedError(f"{self.resource}: {text}: the link was closed")
        if not self.is_in_step:
            self.resynchronise()
        self._tag, self.upcoming_tag = self.upcoming_tag, next_tag(self.upcoming_tag)
        tag = self._tag
        block = make_frame(tag) if make_frame else None
        message = encode_request(tag, text, block, has_checksum=self.has_checksums)
        self.request = text
        timeout_s = self._time_left(limit_s)
        deadline = self._clock() + timeout_s
        self.requests += 1
        self._link.expect(tag, lender, has_checksum=self.has_checksums)
        self.is_in_step = False  # until the answer is here; Ctrl-C may come before it
        self._transport.send(message, timeout_s=timeout_s)
        return deadline, timeout_s

    def _time_left(self, limit_s: float = math.inf) -> float:
        timeout_s = min(self._timeout_s, limit_s, self.deadline - self._clock())
        if timeout_s <= 0:
            raise self._too_late(0.0)
        return timeout_s

    def _await_post(self) -> None:
        """Wait for the answer to what was posted."""
        timeout_s = self._time_left()
        self.is_in_step = False
        answer = self._await_answer(self._clock() + timeout_s, timeout_s)
        self.is_in_step = True
        self._end_post(answer)

    def _end_post(self, answer: Answer) -> None:
        self._is_posted = False
        check_not_refused(answer, self.request)
        check_ok(answer, self.request)

    def _await_answer(self, deadline: float, timeout_s: float) -> Answer:
        while True:
            answer = self._receive_some(deadline, timeout_s)
            if answer is not None:
                return answer

    def _receive_some(self, deadline: float, timeout_s: float) -> Answer | None:
        """Receive what comes next; keep what was pushed, return the answer that is due, if any."""
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise self._too_late(timeout_s)
        mine = None
        try:
            answers = self._receive(left_s)
        except TransportTimeoutError as error:
            raise self._too_late(timeout_s) from error
        self._pushed.keep(answers)  # first of all: what is not kept is never given back
        for answer in answers:
            if answer.is_pushed:
                continue
            if answer.fault is None:
                mine = answer
            else:
                self._drop(answer, answer.fault)
        return mine

    def _receive(self, left_s: float) -> list[Answer]:
        link = self._link
        try:
            if link.failure is not None:
                raise link.failure
            count = self._transport.receive_into(
                link.writable(), is_whole=link.is_inside_block, timeout_s=left_s
            )
            return link.received(count)
        except FrameFault as error:
            raise FrameFault(error.kind, f"{self.resource}: {self.request}: {error}") from error

    def _too_late(self, timeout_s: float) -> TransportTimeoutError:
        error, part = TransportTimeoutError, ""
        if self._link.is_inside_answer:
            error, part = TruncatedAnswerError, " (one began and did not end)"
        return error(
            f"{self.resource}: no whole answer to {self.request} within {timeout_s:g} s{part}; "
            "check that the device is on, and not busy for longer"
        )

    def _drop(self, answer: Answer, fault: FaultKind) -> None:
        text = self.request
        if fault in _DROPPED:
            self.stale_answers += 1
            self.on_dropped(fault, text)
            return
        raise fault_error(answer, text, self._tag, self.resource)
