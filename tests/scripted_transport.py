"""Transports that do what a test says, in a time that the test owns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hil.core.errors import TransportTimeoutError
from hil_drivers.link import DeviceLink, Request, encode_answer


class FakeClock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that arrive some time after the ones before them."""

    after_s: float
    data: bytes


class ScriptedTransport:
    """A device that says what the script says, whatever it is sent.

    `script` may be endless. Bare bytes arrive at once. When the script is over, or a pause in it is
    longer than the caller waits, the clock moves on by the timeout. Clearing it drops what has
    begun to arrive, or with `leaks` nothing at all.
    """

    resource = "scripted"

    def __init__(
        self, clock: FakeClock, script: Iterable[bytes | Arrival], *, leaks: bool = False
    ) -> None:
        self._clock = clock
        self._leaks = leaks
        self.cleared = 0
        """How often it was cleared."""
        self._script = iter(script)
        self._next: Arrival | None = None
        self.sent: list[bytes] = []
        self.is_closed = False
        self.longest_buffer = 0
        """Most bytes that the other side has made room for."""

    def send(self, data: bytes, *, timeout_s: float) -> None:
        self.sent.append(data)

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        self.longest_buffer = max(self.longest_buffer, len(buffer))
        if self._next is None:
            item = next(self._script, None)
            self._next = Arrival(0.0, item) if isinstance(item, bytes) else item
        if self._next is None or self._next.after_s > timeout_s:
            self._clock.now_s += timeout_s
            if self._next is not None:
                self._next = Arrival(self._next.after_s - timeout_s, self._next.data)
            raise TransportTimeoutError(f"no byte within {timeout_s:g} s")
        self._clock.now_s += self._next.after_s
        data = self._next.data
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        self._next = Arrival(0.0, data[count:]) if count < len(data) else None
        return count

    def clear(self, *, timeout_s: float) -> None:
        self.cleared += 1
        if not self._leaks:
            self._next = None

    def close(self) -> None:
        self.is_closed = True


class AnsweringTransport:
    """A device that answers every request at once with what `answer` returns for it."""

    resource = "answering"

    def __init__(self, answer: Callable[[Request], str | bytes]) -> None:
        self._answer = answer
        self._link = DeviceLink()
        self._arrived = b""
        self.texts: list[str] = []
        """The requests it got, without tags and blocks."""
        self.is_closed = False

    def send(self, data: bytes, *, timeout_s: float) -> None:
        for request in self._link.receive(data):
            self.texts.append(request.text)
            self._arrived += encode_answer(request.tag, self._answer(request))

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        if not self._arrived:
            raise TransportTimeoutError("no answer")
        count = min(len(buffer), len(self._arrived))
        buffer[:count] = self._arrived[:count]
        self._arrived = self._arrived[count:]
        return count

    def clear(self, *, timeout_s: float) -> None:
        self._link = DeviceLink()
        self._arrived = b""

    def close(self) -> None:
        self.is_closed = True
