"""A `Transport` to a mock device in the same process: no socket, the same bytes."""

import time
from collections import deque
from collections.abc import Callable

from hil.core.errors import LinkLostError, TransportTimeoutError
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Wait


class LoopbackTransport:
    """An open link to `device`.

    Parameters
    ----------
    device
        The far end.
    resource
        The resource string it stands for.
    connect
        Gives a conversation to go on with after `clear`, as a listener does that is connected to
        again; without it, `clear` is a device clear.
    sleep
        How to let time pass.
    """

    is_duplex = True

    def __init__(
        self,
        device: Conversation,
        *,
        resource: str,
        connect: Callable[[], Conversation] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.resource = resource
        self._device = device
        self._connect = connect
        self._sleep = sleep
        self._arriving: deque[Outgoing] = deque()
        self._is_open = True
        self._is_cut = False

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Let the device handle `data` and keep what it answers."""
        if not self._is_open or self._is_cut or self._device.is_lost:
            raise self._lost()
        for outgoing in self._device.answers(data):
            self._arriving.append(outgoing)
            if isinstance(outgoing, Disconnect):
                self._is_cut = True
                break  # a listener carries out nothing for a client that it has cut off

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Hand out what the device has answered, when its time has come."""
        left_s = timeout_s
        count = 0
        while self._is_open and self._arriving and count < len(buffer):
            outgoing = self._arriving[0]
            if isinstance(outgoing, bytes):
                part = outgoing[: len(buffer) - count]
                buffer[count : count + len(part)] = part
                count += len(part)
                self._arriving[0] = outgoing[len(part) :]
                if self._arriving[0]:
                    break
            elif count or isinstance(outgoing, Disconnect):
                break
            else:
                self._sleep(min(outgoing.seconds, left_s))
                self._arriving[0] = Wait(max(0.0, outgoing.seconds - left_s))
                left_s -= outgoing.seconds
                if left_s < 0:
                    raise self._silent(timeout_s)
            self._arriving.popleft()
        if count:
            return count
        if not self._is_open or self._is_cut or self._device.is_lost:
            raise self._lost()
        raise self._silent(timeout_s)

    def clear(self, *, timeout_s: float) -> None:
        """Drop what has arrived, and what the device has of a message that came in part."""
        if not self._is_open:
            raise self._lost()
        self._arriving.clear()
        if self._connect is not None:
            self._device.leave()
            self._device = self._connect()
        else:
            self._device.clear()
        self._is_cut = False

    def close(self) -> None:
        """Close the link."""
        if self._is_open:
            self._device.leave()
        self._is_open = False

    def _lost(self) -> LinkLostError:
        return LinkLostError(f"{self.resource}: the link is closed")

    def _silent(self, timeout_s: float) -> TransportTimeoutError:
        return TransportTimeoutError(f"{self.resource}: no answer within {timeout_s:g} s")
