"""Any VISA resource as `Transport`, through pyvisa.

VISA carries control well and bulk data slowly: pyvisa-py moves 11 to 21 MB/s over TCP and reads a
serial line one byte at a time. Prefer the raw socket where there is one.

Two habits of pyvisa-py shape this module: opening a port on which nobody listens succeeds (the
first query finds out), and a peer that closes looks like one that is silent until the time is up.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError

if TYPE_CHECKING:
    from pyvisa.resources import MessageBasedResource

_NEWLINE = ord("\n")


class VisaTransport:
    """An open VISA resource.

    Parameters
    ----------
    resource
        VISA resource string, such as ``TCPIP0::127.0.0.1::5025::SOCKET``.
    timeout_s
        How long opening may take.
    backend
        pyvisa's name of the VISA library: ``@py`` is pyvisa-py.

    Raises
    ------
    TransportError
        If the resource cannot be opened by this backend.
    """

    def __init__(self, resource: str, *, timeout_s: float, backend: str = "@py") -> None:
        import pyvisa  # noqa: PLC0415 - 250 ms that only VISA users shall pay

        self.resource = resource
        try:
            self._manager = pyvisa.ResourceManager(backend)
            opened = self._manager.open_resource(resource, open_timeout=int(timeout_s * 1000))
        except Exception as error:  # pyvisa-py raises bare Exception for what it cannot open
            raise TransportError(
                f"{resource}: cannot be opened through pyvisa ({backend}): {error}"
            ) from error
        self._device: MessageBasedResource = opened  # type: ignore[assignment]
        self._visa = pyvisa

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`."""
        self._set_timeout(timeout_s)
        try:
            self._device.write_raw(data)
        except Exception as error:  # a lost socket comes as OSError, all else as VisaIOError
            raise self._named(error, timeout_s) from error

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive all of `buffer` if `is_whole`, else up to its length or the next newline."""
        self._set_timeout(timeout_s)
        attribute = self._visa.constants.ResourceAttribute
        try:
            self._device.set_visa_attribute(attribute.termchar, _NEWLINE)
            self._device.set_visa_attribute(attribute.termchar_enabled, not is_whole)
            data, _ = self._device.visalib.read(self._device.session, len(buffer))
        except Exception as error:
            raise self._named(error, timeout_s) from error
        buffer[: len(data)] = data
        if not data:
            raise LinkLostError(f"{self.resource}: the device closed the connection")
        return len(data)

    def close(self) -> None:
        """Close the resource and the resource manager."""
        # Where the link is gone already, there is nothing left to close.
        with suppress(OSError, self._visa.Error):
            self._device.close()
        self._manager.close()

    def _set_timeout(self, timeout_s: float) -> None:
        self._device.timeout = max(1, int(timeout_s * 1000))

    def _named(self, error: Exception, timeout_s: float) -> TransportError:
        code: Any = getattr(error, "error_code", None)
        if code == self._visa.constants.StatusCode.error_timeout:
            return TransportTimeoutError(
                f"{self.resource}: no answer within {timeout_s:g} s "
                "(through VISA a closed connection looks the same)"
            )
        return LinkLostError(f"{self.resource}: the link is lost: {error}")
