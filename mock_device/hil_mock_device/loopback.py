"""A `Transport` to a mock device in the same process: no socket, the same bytes."""

from hil.core.errors import LinkLostError, TransportTimeoutError
from hil_mock_device.device import MockDevice


class LoopbackTransport:
    """An open link to `device`.

    Parameters
    ----------
    device
        The far end.
    resource
        The resource string it stands for.
    """

    def __init__(self, device: MockDevice, *, resource: str) -> None:
        self.resource = resource
        self._device = device
        self._arrived = bytearray()
        self._is_open = True

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Let the device handle `data` and keep what it answers."""
        if not self._is_open or self._device.is_lost:
            raise LinkLostError(f"{self.resource}: the link is closed")
        self._arrived += self._device.receive(data)

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Hand out what the device has answered."""
        if not self._arrived:
            if not self._is_open or self._device.is_lost:
                raise LinkLostError(f"{self.resource}: the link is closed")
            raise TransportTimeoutError(f"{self.resource}: no answer within {timeout_s:g} s")
        count = min(len(buffer), len(self._arrived))
        buffer[:count] = self._arrived[:count]
        del self._arrived[:count]
        return count

    def close(self) -> None:
        """Close the link."""
        self._is_open = False
