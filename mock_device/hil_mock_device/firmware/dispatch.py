"""One request in, one reply out, by ``docs/reference/protocol.md``."""

import logging
from collections.abc import Iterator
from itertools import count

from hil.core.errors import DeviceError, FrameError
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES
from hil_drivers.link import DEFAULT_LARGEST_BLOCK, Request, encode_answer
from hil_drivers.message_bytes import Checksum
from hil_drivers.scpi import ScpiError, split_parameters
from hil_mock_device.firmware.call import Call, Handler, refusal
from hil_mock_device.firmware.chip_commands import ChipCommands
from hil_mock_device.firmware.command_table import Command, CommandTable
from hil_mock_device.firmware.common_commands import CommonCommands
from hil_mock_device.firmware.error_queue import ErrorQueue, spelled
from hil_mock_device.firmware.instrument_lock import InstrumentLock
from hil_mock_device.firmware.nmpu_commands import NmpuCommands
from hil_mock_device.firmware.settings import Settings
from hil_mock_device.firmware.status import Status
from hil_mock_device.firmware.stream_commands import StreamCommands
from hil_mock_device.silicon import Silicon

_log = logging.getLogger(__name__)

_LONGEST_ANSWER = DEFAULT_LARGEST_BLOCK
"""Most bytes that the answers to one compound message may have together."""


class Firmware:
    """One instrument: its commands, settings, status and lock.

    Parameters
    ----------
    silicon
        The chip behind it.
    """

    def __init__(self, silicon: Silicon) -> None:
        self._silicon = silicon
        self._clients = count(1)
        errors, settings = ErrorQueue(), Settings()
        self.status = Status(errors)
        """Its registers."""
        self.lock = InstrumentLock()
        """Who may change it."""
        self.settings = settings
        """What it is set to; its `reboot` starts the firmware again."""
        common = CommonCommands(
            silicon, settings, errors=errors, status=self.status, lock=self.lock
        )
        self._streams = StreamCommands(silicon, settings)
        self._table = CommandTable(
            {
                **common.handlers(),
                **ChipCommands(silicon, settings).handlers(),
                **NmpuCommands(silicon, settings).handlers(),
                **self._streams.handlers(),
            }
        )

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

    def new_client(self) -> int:
        """Return the number of one more client, from 1."""
        return next(self._clients)

    def handle(self, request: Request, *, client: int = 0) -> bytes:
        """Carry out a request; return the bytes of its answer, which may be none."""
        if request.tag is None:
            return self._handle_plain(request, client)
        try:
            content = self._handle_tagged(request, request.tag, client)
        except DeviceError as error:
            content = f"!{spelled(error)}"
        has_checksum = request.checksum is not Checksum.NONE
        return encode_answer(
            request.tag, "OK" if content is None else content, has_checksum=has_checksum
        )

    def pushed(self, *, client: int) -> Iterator[bytes]:
        """Yield the frames that may be pushed to a client now, each made when it is asked for."""
        return self._streams.pushed(client)

    def report(self, error: FrameError) -> bytes:
        """Return the last words to a client whose bytes make no sense."""
        last_words = refusal(ScpiError.BLOCK_DATA_ERROR, str(error))
        self.status.add_error(last_words)
        return encode_answer(0, f"!{spelled(last_words)}")

    def _handle_tagged(self, request: Request, tag: int, client: int) -> str | bytes | None:
        if request.checksum is Checksum.WRONG:
            detail = "the checksum is not that of the text; nothing was done"
            raise refusal(ScpiError.COMMUNICATION_ERROR, detail)
        header, rest = _header_and_rest(request.text)
        command, _ = self._table.find(header)
        call = Call(
            parameters=split_parameters(rest),
            block=request.block,
            sequence=tag,
            client=client,
        )
        return self._run(command, call)

    def _handle_plain(self, request: Request, client: int) -> bytes:
        """Carry out a compound message; its answers come in one, joined by semicolons."""
        units: list[bytes] = []
        size = 0
        path = ""
        for message, is_last in _split_compound(request.text):
            if not message:
                continue
            try:
                header, rest = _header_and_rest(message)
                command, path = self._table.find(header, path)
                call = Call(
                    parameters=split_parameters(rest),
                    block=request.block if is_last else None,
                    sequence=0,
                    client=client,
                    has_answer=bool(units),
                )
                content = self._run(command, call)
                if content is not None:
                    units.append(encode_answer(None, content))
                    size += len(units[-1])
                if size > _LONGEST_ANSWER:
                    units, size = [], 0
                    detail = f"more than {_LONGEST_ANSWER} bytes in one answer"
                    raise refusal(ScpiError.QUERY_DEADLOCKED, detail)
            except DeviceError as error:
                self.status.add_error(error)
        if len(units) > 1:  # IEEE 488.2-1992, 8.4.1: response message unit separator
            return b";".join(unit[:-1] for unit in units) + b"\n"
        return units[0] if units else b""

    def _run(self, command: Command, call: Call) -> str | bytes | None:
        if command.is_protected and self.lock.shuts_out(call.client):
            holder = self.lock.owner
            detail = "others hold" if holder is None else f"client {holder} holds"
            raise refusal(ScpiError.COMMAND_PROTECTED, f"{detail} the lock")
        return _call(command.handler, call)


def _header_and_rest(message: str) -> tuple[str, str]:
    parts = message.split(None, 1)
    if len(parts) == 1:
        return parts[0], ""
    return (parts[0], parts[1]) if parts else ("", "")


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
    if ";" not in text:
        return [(text, True)]
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
