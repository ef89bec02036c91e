"""The whole mock device without its socket: bytes in, bytes out."""

from hil.core.errors import FrameError
from hil_drivers.link import DeviceLink
from hil_mock_device.firmware import Firmware


class MockDevice:
    """One client's conversation with the instrument.

    Parameters
    ----------
    firmware
        The instrument, which several conversations may share.
    """

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._link = DeviceLink()
        self.is_lost = False
        """Whether the client's bytes have lost their meaning; it must be disconnected."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; return the bytes to send."""
        try:
            requests = self._link.receive(data)
        except FrameError as error:
            self.is_lost = True
            return self._firmware.report(error)
        return b"".join(self._firmware.handle(request) for request in requests)
