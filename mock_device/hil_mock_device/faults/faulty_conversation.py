"""A conversation that things happen to, sans-IO: bytes in, bytes, pauses and hang-ups out.

Rules
-----
1. What meets a fault is one whole message or the whole answer to it, wherever the stream is split.
2. A fault is counted when it happens, not when it was due: an answer fault of a message that has no
   answer does not happen.
3. Answers that come late come on whichever link is there then: like those of a board with one
   output queue. Messages that come late do so on their own link, or not at all.
"""

import re
from collections.abc import Iterator, Sequence

from hil_drivers.scpi import ScpiError
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Wait
from hil_mock_device.faults.fault_kinds import Aftermath, Direction, MockFault
from hil_mock_device.faults.fault_script import FaultRule
from hil_mock_device.faults.injector import SLOWING, ArmedRule, FaultInjector
from hil_mock_device.faults.message_splitter import MessageSplitter
from hil_mock_device.faults.spoiling import (
    choose_byte,
    delay_s,
    slowed,
    spoilt_answer,
    spoilt_message,
)
from hil_mock_device.firmware.call import refusal
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.firmware.settings import CoreMemory

_HEADER = re.compile(rb"(?:@\d{1,10}(?:\*[0-9A-F]{8})? )?\s*([^\s#]*)")
_MANY_ERRORS = 20
"""More than the error queue holds."""
_OF_FIRMWARE = {MockFault.ERROR_QUEUE, MockFault.REBOOT, MockFault.REFUSE}
"""Faults that happen when a message comes, whatever becomes of its bytes."""


class FaultyConversation:
    """A conversation with faults.

    Parameters
    ----------
    conversation
        The one without.
    injector
        What goes wrong.
    firmware
        The instrument, for faults that are its own.
    """

    def __init__(
        self, conversation: Conversation, injector: FaultInjector, firmware: Firmware
    ) -> None:
        self._conversation = conversation
        self._injector = injector
        self._firmware = firmware
        self._splitter = MessageSplitter(firmware.largest_block)
        self._late_messages: list[bytes] = []
        self._is_end_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        return self._conversation.is_lost

    @property
    def client(self) -> int:
        """The client's number."""
        return self._conversation.client

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        """Take bytes of the client; carry out one message at a time, with what happens to it."""
        for message in self._splitter.split(data):
            yield from self._meet(message)

    def end_message(self) -> Iterator[Outgoing]:
        """Finish the message that the client has marked as ended."""
        rest, is_in_block = self._splitter.flush()
        if rest and is_in_block:
            yield from self._conversation.answers(rest)
        elif rest:
            yield from self._meet(rest + b"\n")
        if not self._is_end_lost:
            yield from self._conversation.end_message()

    def clear(self) -> None:
        """Forget what has not been carried out."""
        self._splitter.clear()
        self._late_messages.clear()
        self._conversation.clear()

    def leave(self) -> None:
        """Free what the client had locked."""
        self._conversation.leave()

    def _meet(self, message: bytes) -> Iterator[Outgoing]:
        """Carry out one message with whatever happens to it and to its answer."""
        self._is_end_lost = False
        header = _HEADER.match(message)
        word = header[1].decode("ascii", "replace") if header else ""
        slow: list[ArmedRule] = []
        fault: ArmedRule | None = None
        arriving: list[bytes | Disconnect] = [message]
        for armed in self._injector.strike_message(word):
            if armed.rule.kind not in SLOWING:
                fault = armed
            elif armed.rule.direction is Direction.ANSWER:
                slow.append(armed)
            else:
                self._injector.count(armed)
                yield Wait(delay_s(armed, len(message)))
        if fault is not None and _meets_message(fault.rule):
            arriving, fault = self._spoil_message(message, fault), None
        if arriving:
            late, self._late_messages = self._late_messages, []
            arriving += late
        for item in arriving:
            if isinstance(item, Disconnect):
                yield item
            else:
                yield from self._carry_out(item, fault, slow)

    # --- what happens to a message ---------------------------------------------------------------

    def _spoil_message(self, message: bytes, armed: ArmedRule) -> list[bytes | Disconnect]:
        """Return what arrives of a message."""
        position = choose_byte(message, armed)
        if position is None:
            return [message]
        self._injector.count(armed)
        if armed.rule.kind in _OF_FIRMWARE:
            return self._fail(message, armed.rule)
        if armed.rule.kind is MockFault.REORDER:
            late, self._late_messages = self._late_messages, [message]
            return [*late]
        # A carrier that marks the ends of messages loses this one's mark, too.
        self._is_end_lost = armed.rule.kind is MockFault.TRUNCATE
        return spoilt_message(message, armed, position)

    def _fail(self, message: bytes, rule: FaultRule) -> list[bytes | Disconnect]:
        if rule.kind is MockFault.ERROR_QUEUE:
            for _ in range(_MANY_ERRORS):
                detail = "an error that is a fault of the mock"
                self._firmware.status.add_error(refusal(ScpiError.EXECUTION_ERROR, detail))
            return [message]
        if rule.kind is MockFault.REFUSE:
            self._injector.on_outage(rule.seconds or 0.0)
            return [Disconnect()]
        self._reboot()
        return [message] if rule.keeps_link else [Disconnect()]

    def _reboot(self) -> None:
        firmware = self._firmware
        firmware.settings.reboot()
        firmware.status.clear()
        if firmware.lock.owner is not None:
            firmware.lock.forget(firmware.lock.owner)

    # --- what happens to an answer ---------------------------------------------------------------

    def _carry_out(
        self, message: bytes, fault: ArmedRule | None, slow: Sequence[ArmedRule]
    ) -> Iterator[Outgoing]:
        for item in self._conversation.answers(message):
            if self._has_lost_power():
                yield Disconnect()
            elif isinstance(item, bytes) and item:
                yield from self._send(item, fault, slow)
            else:
                yield item

    def _send(
        self, answer: bytes, fault: ArmedRule | None, slow: Sequence[ArmedRule]
    ) -> Iterator[Outgoing]:
        held, self._injector.held_back = self._injector.held_back, []
        items = [answer] if fault is None else self._spoil_answer(answer, fault)
        for armed in slow:
            self._injector.count(armed)
        earlier = [data for data, comes_first in held if comes_first]
        later = [data for data, comes_first in held if not comes_first]
        yield from slowed([*earlier, *items, *later], slow)

    def _spoil_answer(self, answer: bytes, armed: ArmedRule) -> list[Outgoing]:
        """Return what becomes of an answer."""
        position = choose_byte(answer, armed)
        if position is None:
            return [answer]
        self._injector.count(armed)
        kind = armed.rule.kind
        if kind in (MockFault.STALE, MockFault.REORDER):
            self._injector.held_back.append((answer, kind is MockFault.STALE))
            return []
        return spoilt_answer(answer, armed, position)

    def _has_lost_power(self) -> bool:
        """Settle a programming in which power failed; tell whether the firmware starts again."""
        if self._injector.brown_out is None:
            return False
        rule, core = self._injector.brown_out
        self._injector.brown_out = None
        cores = self._firmware.settings.cores
        # The firmware took the failure for a refusal, after which nothing had happened.
        cores[core] = CoreMemory(cores.get(core, CoreMemory()).programmings + 1)
        if rule.then is Aftermath.REBOOT:
            self._reboot()
        return rule.then is Aftermath.REBOOT


def _meets_message(rule: FaultRule) -> bool:
    return rule.kind in _OF_FIRMWARE or rule.direction is Direction.REQUEST
