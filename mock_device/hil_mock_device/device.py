"""The whole mock device without its socket: bytes in, bytes out."""

from collections.abc import Iterator

from hil.core.errors import FrameError
from hil_drivers.link import DeviceLink
from hil_mock_device.firmware.dispatch import Firmware


class MockDevice:
    """One client's conversation with the instrument.

    Parameters
    ----------
    firmware
        The instrument, which several conversations may share.
    """

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._link = DeviceLink(largest_block=firmware.largest_block)
        self.is_lost = False
        """Whether the client's bytes have lost their meaning; it must be disconnected."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; return the bytes to send."""
        return b"".join(self.answers(data))

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Take bytes of the client; carry out one request at a time, and yield its answer.

        A client may send a thousand requests in a few bytes: who sends the answers need not hold
        them all.
        """
        if self.is_lost:
            return
        try:
            requests = self._link.receive(data)
        except FrameError:
            requests = []  # the link keeps the reason
        for request in requests:
            yield self._firmware.handle(request)
        if self._link.failure is not None:
            self.is_lost = True
            yield self._firmware.report(self._link.failure)
