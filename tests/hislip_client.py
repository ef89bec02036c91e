"""A HiSLIP client that can do everything wrong: headers packed and unpacked by hand."""

import socket
import struct
from typing import NamedTuple, Self

WAIT_S = 10.0


class Heard(NamedTuple):
    """A message of the server."""

    kind: int
    control: int
    parameter: int
    payload: bytes


class RawChannel:
    """One connection; nothing is sent but what a test says."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)

    def send(self, kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
        header = struct.pack(">2sBBIQ", b"HS", kind, control, parameter, len(payload))
        self._socket.sendall(header + payload)

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self) -> Heard:
        prologue, kind, control, parameter, length = struct.unpack(">2sBBIQ", self._exactly(16))
        assert prologue == b"HS"
        return Heard(kind, control, parameter, self._exactly(length))

    def ask(self, kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> Heard:
        self.send(kind, control, parameter, payload)
        return self.hear()

    def hears_nothing(self, wait_s: float = 0.1) -> bool:
        self._socket.settimeout(wait_s)
        try:
            return self._socket.recv(1) == b"x"
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(WAIT_S)

    def is_closed(self) -> bool:
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            assert piece, f"closed after {data!r}"
            data += piece
        return data


class RawClient:
    """Both channels, initialized."""

    def __init__(self, port: int) -> None:
        self.sync = RawChannel(port)
        self.initialize_response = self.sync.ask(0, 0, 0x0100_7878, b"hislip0")
        self.asynch = RawChannel(port)
        session = self.initialize_response.parameter & 0xFFFF
        self.async_initialize_response = self.asynch.ask(17, 0, session)

    def query(self, text: bytes, message_id: int, *, has_read: int = 1) -> bytes:
        heard = self.sync.ask(7, has_read, message_id, text)
        assert (heard.kind, heard.parameter) == (7, message_id)
        return heard.payload

    def close(self) -> None:
        self.sync.close()
        self.asynch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
