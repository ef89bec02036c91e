"""The whole mock device without its socket: bytes in, bytes out."""

from collections.abc import Iterator

from hil.core.errors import FrameError
from hil_drivers.link import DeviceLink, Request
from hil_drivers.scpi import ScpiError
from hil_mock_device.firmware.call import refusal
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
        self.client = firmware.new_client()
        """The client's number."""
        self.is_lost = False
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        self._link = self._new_link()

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
        for request in self._requests(data):
            yield self._firmware.handle(request, client=self.client)
            yield from self._firmware.pushed(client=self.client)
        if self._link.failure is not None:
            self.is_lost = True
            yield self._firmware.report(self._link.failure)

    def end_message(self) -> Iterator[bytes]:
        """Finish the message that the client has marked as ended; what is lost starts afresh."""
        if not self.is_lost:
            # A newline after a whole message is an empty one. Where it makes no message whole, it
            # has become part of a block.
            requests = self._requests(b"\n")
            for request in requests:
                yield self._firmware.handle(request, client=self.client)
            if self._link.failure is not None:
                yield self._firmware.report(self._link.failure)
            elif requests:
                return
            else:
                detail = "the message ended inside a block"
                self._firmware.status.add_error(refusal(ScpiError.INVALID_BLOCK_DATA, detail))
        self.clear()

    def clear(self) -> None:
        """Forget a message that has come in part."""
        self._link = self._new_link()
        self.is_lost = False

    def leave(self) -> None:
        """Free what the client had locked."""
        self._firmware.lock.forget(self.client)

    def _new_link(self) -> DeviceLink:
        return DeviceLink(largest_block=self._firmware.largest_block)

    def _requests(self, data: bytes) -> list[Request]:
        try:
            return self._link.receive(data)
        except FrameError:
            return []  # the link keeps the reason
