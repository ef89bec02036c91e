"""A small SCPI instrument without its socket: plain messages in, lines out."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

from hil.core.errors import DeviceError, FrameError
from hil_drivers.link import DeviceLink, encode_answer
from hil_drivers.scpi import ScpiError, matches, split_parameters
from hil_mock_device.firmware.call import refusal
from hil_mock_device.firmware.error_queue import ErrorQueue

Command = Callable[[list[str]], str | None]
"""Carries out one command with its parameters; returns the answer of a query."""

_LARGEST_BLOCK = 1024
_SWITCH = {"ON": True, "1": True, "OFF": False, "0": False}


class PlainInstrument:
    """An instrument that several clients may share.

    Parameters
    ----------
    identity
        The answer to ``*IDN?``.
    commands
        Pattern to command, beside the common ones.
    reset
        What ``*RST`` does.
    """

    def __init__(
        self, identity: str, commands: Mapping[str, Command], *, reset: Callable[[], None]
    ) -> None:
        self._errors = ErrorQueue()
        self._clients = itertools.count(1)
        self._commands: dict[str, Command] = {
            "*IDN?": lambda _: identity,
            "*RST": lambda _: reset(),
            "*CLS": lambda _: self._errors.clear(),
            "*OPC": lambda _: None,
            "*OPC?": lambda _: "1",
            "*WAI": lambda _: None,
            "*TST?": lambda _: "0",
            "SYSTem:ERRor[:NEXT]?": lambda _: self._errors.take(),
            "SYSTem:VERSion?": lambda _: "1999.0",
            **commands,
        }

    def carry_out(self, message: str) -> bytes:
        """Carry out the commands of a message; return its answers in one line, or nothing.

        Source: IEEE 488.2-1992, 8.4: semicolons stand between the answers of one message.
        """
        answers: list[str] = []
        for part in filter(None, (part.strip() for part in message.split(";"))):
            try:
                answer = self._run(part)
            except DeviceError as error:
                self._errors.add(error)
            else:
                answers += [] if answer is None else [answer]
        return encode_answer(None, ";".join(answers)) if answers else b""

    def new_client(self) -> int:
        """Return a number for one more client."""
        return next(self._clients)

    def note(self, error: DeviceError) -> None:
        """Put an error into the queue."""
        self._errors.add(error)

    def _run(self, text: str) -> str | None:
        header, rest = (*text.split(maxsplit=1), "", "")[:2]
        for pattern, command in self._commands.items():
            if matches(pattern, header):
                return command(split_parameters(rest))
        raise refusal(ScpiError.UNDEFINED_HEADER, header[:40])


class PlainConversation:
    """One client's conversation with a plain instrument, as `Conversation`.

    Parameters
    ----------
    instrument
        The instrument.
    """

    def __init__(self, instrument: PlainInstrument) -> None:
        self._instrument = instrument
        self.client = instrument.new_client()
        """The client's number."""
        self.is_lost = False
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        self._link = DeviceLink(largest_block=_LARGEST_BLOCK)

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Take bytes of the client; carry out one message at a time, and yield its answers."""
        if self.is_lost:
            return
        try:
            requests = self._link.receive(data)
        except FrameError:
            requests = []  # the link keeps the reason
        for request in requests:
            if request.tag is not None or request.block is not None:
                self._instrument.note(refusal(ScpiError.SYNTAX_ERROR, "plain commands are due"))
            elif answer := self._instrument.carry_out(request.text):
                yield answer
        if self._link.failure is not None:
            self.is_lost = True
            self._instrument.note(refusal(ScpiError.SYNTAX_ERROR, str(self._link.failure)))

    def end_message(self) -> Iterator[bytes]:
        """Finish the message that the client has marked as ended."""
        yield from self.answers(b"\n")
        self.clear()

    def clear(self) -> None:
        """Forget a message that has come in part."""
        self._link = DeviceLink(largest_block=_LARGEST_BLOCK)
        self.is_lost = False

    def leave(self) -> None:
        """Take note that the client has gone: nothing here is locked."""


def number(parameters: list[str]) -> float:
    """Return the one parameter as a number; refuse all else."""
    text = only(parameters)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refusal(ScpiError.ILLEGAL_PARAMETER, f"{text[:40]!r}: must be a finite number")
    return value


def switch(parameters: list[str]) -> bool:
    """Return the one parameter as a switch's position; refuse all else."""
    text = only(parameters)
    if text.upper() not in _SWITCH:
        raise refusal(ScpiError.ILLEGAL_PARAMETER, f"{text[:40]!r}: must be ON, OFF, 1 or 0")
    return _SWITCH[text.upper()]


def only(parameters: list[str]) -> str:
    """Return the one parameter; refuse none, and more."""
    if not parameters:
        raise refusal(ScpiError.MISSING_PARAMETER, "one parameter is due")
    if len(parameters) > 1:
        raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "one parameter is due")
    return parameters[0]
