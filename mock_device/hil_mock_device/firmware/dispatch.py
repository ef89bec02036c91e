"""One request in, one reply out, by ``docs/reference/protocol.md``."""

import logging

from hil.core.errors import DeviceError, FrameError
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES
from hil_drivers.link import Request, encode_answer
from hil_drivers.scpi import ScpiError, matches, split_parameters
from hil_mock_device.firmware.call import Call, Handler, refusal
from hil_mock_device.firmware.chip_commands import ChipCommands
from hil_mock_device.firmware.common_commands import CommonCommands
from hil_mock_device.firmware.error_queue import ErrorQueue, spelled
from hil_mock_device.firmware.nmpu_commands import NmpuCommands
from hil_mock_device.firmware.settings import Settings
from hil_mock_device.silicon import Silicon

_log = logging.getLogger(__name__)


class Firmware:
    """One instrument: its commands, settings and error queue.

    Parameters
    ----------
    silicon
        The chip behind it.
    """

    def __init__(self, silicon: Silicon) -> None:
        self._silicon = silicon
        self._errors = ErrorQueue()
        settings = Settings()
        self._handlers: dict[str, Handler] = {
            **CommonCommands(silicon, settings, self._errors).handlers(),
            **ChipCommands(silicon, settings).handlers(),
            **NmpuCommands(silicon, settings).handlers(),
        }

    @property
    def largest_block(self) -> int:
        """Most bytes a block parameter may have: twice the largest legal one.

        A block that is somewhat too large is then still refused in an answer; only a senseless
        one costs the client its connection.
        """
        size = self._silicon.geometry
        registers_bytes = 4 * 2 * size.columns
        payload = max(size.rows * max(size.columns, size.max_vectors), registers_bytes)
        return 2 * (HEADER_BYTES + payload + CRC_BYTES)

    def handle(self, request: Request) -> bytes:
        """Carry out a request; return the bytes of its answer, which may be none."""
        if request.tag is None:
            return b"".join(
                self._handle_plain(message, request.block if is_last else None)
                for message, is_last in _split_compound(request.text)
            )
        try:
            content = self._run(request.text, request.block, request.tag)
        except DeviceError as error:
            return encode_answer(request.tag, f"!{spelled(error)}")
        return encode_answer(request.tag, "OK" if content is None else content)

    def report(self, error: FrameError) -> bytes:
        """Return the last words to a client whose bytes make no sense."""
        last_words = refusal(ScpiError.BLOCK_DATA_ERROR, str(error))
        self._errors.add(last_words)
        return encode_answer(0, f"!{spelled(last_words)}")

    def _handle_plain(self, message: str, block: bytes | None) -> bytes:
        if not message:
            return b""
        try:
            content = self._run(message, block, 0)
        except DeviceError as error:
            self._errors.add(error)
            return b""
        return b"" if content is None else encode_answer(None, content)

    def _run(self, text: str, block: bytes | None, sequence: int) -> str | bytes | None:
        header, rest = (*text.split(maxsplit=1), "", "")[:2]
        for pattern, handler in self._handlers.items():
            if matches(pattern, header):
                call = Call(parameters=split_parameters(rest), block=block, sequence=sequence)
                return _call(handler, call)
        raise refusal(ScpiError.UNDEFINED_HEADER, header[:40])


def _call(handler: Handler, call: Call) -> str | bytes | None:
    try:
        return handler(call)
    except DeviceError:
        raise
    except Exception as error:
        # A bug in here must look to the client like a broken instrument, not like silence.
        _log.exception("the mock failed at a request with parameters %.200r", call.parameters)
        detail = f"{type(error).__name__}: {error}"
        raise refusal(ScpiError.HARDWARE_ERROR, detail) from error


def _split_compound(text: str) -> list[tuple[str, bool]]:
    """Split a message at semicolons outside quotes; tell which part is the last."""
    parts, current, quote = [], "", ""
    for letter in text:
        if letter == ";" and not quote:
            parts.append(current)
            current = ""
            continue
        if letter in "\"'":
            quote = "" if letter == quote else quote or letter
        current += letter
    parts.append(current)
    return [(part.strip(), position == len(parts) - 1) for position, part in enumerate(parts)]
