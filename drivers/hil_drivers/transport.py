"""What carries bytes to a device: the seam that TCP, VISA and the in-process loopback share."""

from typing import Protocol


class Transport(Protocol):
    """An open byte stream to one device.

    ``tests/contracts/test_transport.py`` says what implementing it means. Every method raises
    `TransportTimeoutError` when its time is up and `LinkLostError` when the other end is gone or
    the link was closed. After a timeout of `receive_into` either no byte is lost, or the link says
    that it is: every later `send` raises `LinkLostError`, until `clear`.
    """

    @property
    def resource(self) -> str:
        """The resource string it was opened with."""
        ...

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`."""
        ...

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive at least one byte into the start of `buffer`; return how many.

        Parameters
        ----------
        buffer
            Where the bytes go; never more than its length arrive.
        is_whole
            Whether the caller knows that bytes for all of `buffer` are on their way. A transport
            that cannot return what is there must otherwise stop after a newline.
        timeout_s
            How long to wait for the first byte, in seconds.
        """
        ...

    def clear(self, *, timeout_s: float) -> None:
        """Let nothing sent or received before have any effect on what follows.

        Whatever state the stream was in, half a message sent or a lost link, it begins anew: by a
        device clear where the transport has one, else by connecting again.

        Parameters
        ----------
        timeout_s
            How long that may take.

        Raises
        ------
        TransportError
            If the device cannot be reached; the link is lost until a later `clear` succeeds.
        LinkLostError
            If the stream was closed by `close`: that is for good.
        """
        ...

    def close(self) -> None:
        """Close the stream; closing twice is no error."""
        ...


def is_duplex(transport: Transport) -> bool:
    """Tell whether a link carries what the device says without being asked, at any time.

    A transport says so by an attribute ``is_duplex``. Where it has none, messages and their answers
    take turns, as on a bus.
    """
    return bool(getattr(transport, "is_duplex", False))
