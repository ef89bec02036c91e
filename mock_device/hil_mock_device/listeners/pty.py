"""A serial line: a pseudo-terminal, with plain SCPI or packets on it."""

import asyncio
import logging
import math
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hil.core.errors import LinkLostError
from hil_drivers.packet_end import PacketEnd
from hil_drivers.packets import FIRST_EPOCH, LAST_EPOCH
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Wait
from hil_mock_device.listeners.line_switch import PAUSE_S, LineSwitch
from hil_mock_device.listeners.listener import MakeConversation
from hil_mock_device.listeners.pace import Pace
from hil_mock_device.listeners.terminal import Terminal

_log = logging.getLogger(__name__)

_BITS_PER_BYTE = 10
_MOST_WAITING = 1 << 16
"""A client that sends more while it does not read its answers waits for itself."""
_DRAIN_S = 1.0
"""How long a client may take to read what was sent before the line is hung up."""


class PtyListener:
    """One serial line. Its clients come one after the other.

    Parameters
    ----------
    path
        Where to put the link to the terminal; a hang-up leaves a new terminal under it.
    baud
        Rate of the line in bits per second, ten for a byte; as fast as it goes if left out.
    """

    def __init__(self, path: Path, *, baud: int | None = None) -> None:
        self._path = path
        self._baud = baud
        self._terminal: Terminal | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, make_conversation: MakeConversation) -> str:
        """Put the terminal there; return the resource string of its packets."""
        path = self._path.absolute()
        self._terminal = Terminal(path)
        self._task = asyncio.create_task(self._serve(self._terminal, make_conversation))
        return f"serial://{path}" + ("" if self._baud is None else f"?baud={self._baud}")

    async def close(self) -> None:
        """Hang up and take the terminal away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    async def _serve(self, terminal: Terminal, make_conversation: MakeConversation) -> None:
        bytes_per_s = math.inf if self._baud is None else self._baud / _BITS_PER_BYTE
        while True:
            await terminal.wait_for_client()
            line = _Line(terminal, make_conversation, bytes_per_s)
            try:
                await line.run()
            except LinkLostError:
                continue
            await terminal.drain(wait_s=_DRAIN_S)
            terminal.hang_up()


class _Line:
    """What is said on the line from a client's opening it to its closing it.

    Three tasks share it: one reads the line, one writes packets, one talks with the instrument.
    """

    def __init__(
        self, terminal: Terminal, make_conversation: MakeConversation, bytes_per_s: float
    ) -> None:
        self._terminal = terminal
        self._make_conversation = make_conversation
        self._clock = asyncio.get_running_loop().time
        self._there = Pace(bytes_per_s, self._clock)
        self._back = Pace(bytes_per_s, self._clock)
        self._switch = LineSwitch()
        self._bytes_per_s = bytes_per_s
        self._end = self._make_end()
        self._epoch: int | None = None
        self._talk: asyncio.Task[None] | None = None
        self._conversation: Conversation | None = None
        self._inbox = bytearray()
        self._is_deaf = False
        self._is_over = False
        self._heard_s = -math.inf
        self._has_inbox = asyncio.Event()
        self._has_room = asyncio.Event()
        self._may_send = asyncio.Event()
        self._is_hung_up = asyncio.Event()

    async def run(self) -> None:
        """Return when the line shall be hung up.

        Raises
        ------
        LinkLostError
            If the client has closed the line.
        """
        tasks = [
            asyncio.create_task(work)
            for work in (self._read(), self._write_packets(), self._is_hung_up.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._end_talk()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            data = b""
            due_s = self._switch.due_s
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    data = await self._terminal.read(self._there.slice_bytes)
            await self._there.travel(len(data))
            now_s = self._clock()
            for heard in self._switch.receive(data, now_s):
                if heard.is_packets:
                    self._take_packets(heard.data, now_s)
                else:
                    await self._take_text(heard.data, now_s)
            await asyncio.sleep(0)  # the others have something to do now

    def _take_packets(self, data: bytes, now_s: float) -> None:
        if self._end.receive(data, now_s):
            self._switch.packet_came(now_s)
        if self._end.epoch != self._epoch:
            self._epoch = self._end.epoch
            self._begin_talk(is_packets=True)
        self._fill_inbox()
        self._may_send.set()

    async def _take_text(self, data: bytes, now_s: float) -> None:
        has_paused, self._heard_s = now_s - self._heard_s >= PAUSE_S, now_s
        if self._epoch is not None or self._is_over or (self._is_deaf and has_paused):
            self._end_talk()
        self._forget_packets()
        if self._is_deaf:
            return
        if self._talk is None:
            self._begin_talk(is_packets=False)
        self._inbox += data
        self._has_inbox.set()
        while len(self._inbox) > _MOST_WAITING:
            self._has_room.clear()
            await self._has_room.wait()

    def _fill_inbox(self) -> None:
        """Take from the packets what the talk can use; the rest waits at the other end."""
        if self._epoch is None or self._inbox:
            return
        buffer = bytearray(_MOST_WAITING)
        count = self._end.take_into(memoryview(buffer))
        self._inbox += buffer[:count]
        if self._end.has_ended:
            self._is_over = True
            self._forget_packets()
        if self._inbox or self._is_over:
            self._has_inbox.set()

    def _forget_packets(self) -> None:
        if self._epoch is not None:
            self._epoch, self._end = None, self._make_end()
            self._switch.packets_over()

    def _make_end(self) -> PacketEnd:
        epoch = FIRST_EPOCH + secrets.randbelow(LAST_EPOCH - FIRST_EPOCH + 1)
        return PacketEnd(first_epoch=epoch, bytes_per_s=self._bytes_per_s)

    def _begin_talk(self, *, is_packets: bool) -> None:
        self._end_talk()
        self._conversation = conversation = self._make_conversation()

        def see_end(talk: asyncio.Task[None]) -> None:
            if talk is self._talk:  # else it was ended, and has left
                self._leave()
            error = None if talk.cancelled() else talk.exception()
            if error is not None and not isinstance(error, LinkLostError):
                _log.error("the mock failed on a serial line", exc_info=error)

        self._talk = asyncio.create_task(self._converse(conversation, is_packets=is_packets))
        # A task that is cancelled before its first step never comes to its own last one.
        self._talk.add_done_callback(see_end)

    def _end_talk(self) -> None:
        if self._talk is not None:
            self._talk.cancel()
        self._talk = None
        # At once: what the old client has locked must be free before the new one asks for it.
        self._leave()
        self._is_deaf = self._is_over = False
        self._inbox.clear()
        self._has_inbox.clear()
        self._has_room.set()

    def _leave(self) -> None:
        if self._conversation is not None:
            self._conversation.leave()
        self._conversation = None

    async def _converse(self, conversation: Conversation, *, is_packets: bool) -> None:
        while not conversation.is_lost:
            await self._has_inbox.wait()
            self._has_inbox.clear()
            data = bytes(self._inbox)
            self._inbox.clear()
            self._has_room.set()
            if is_packets:
                self._fill_inbox()
                self._may_send.set()
                if not data and self._is_over:
                    return
            await self._carry_out(conversation.answers(data), is_packets=is_packets)
        # Its bytes have lost their meaning: a reset begins anew, or a pause in plain text.
        self._is_deaf = True
        if is_packets:
            self._end.finish()
            self._may_send.set()

    async def _carry_out(self, items: Iterator[Outgoing], *, is_packets: bool) -> None:
        for item in items:
            if isinstance(item, Wait):
                await asyncio.sleep(item.seconds)
            elif isinstance(item, Disconnect):
                await self._hang_up()
            elif is_packets:
                await self._send_in_packets(item)
            else:
                await self._write(item)
            await asyncio.sleep(0)

    async def _send_in_packets(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._end.is_open:  # else nobody waits for it any more
            rest = rest[self._end.offer(rest) :]
            self._may_send.set()
            if rest:
                self._has_room.clear()
                await self._has_room.wait()

    async def _write_packets(self) -> None:
        while True:
            self._may_send.clear()
            while data := self._end.to_send(self._clock()):
                await self._write(data)
            self._has_room.set()  # an acknowledgement may have made some
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._end.due_s):
                    await self._may_send.wait()

    async def _write(self, data: bytes) -> None:
        size = self._back.slice_bytes
        for start in range(0, len(data), size):
            part = data[start : start + size]
            await self._back.travel(len(part))
            await self._terminal.write(part)

    async def _hang_up(self) -> None:
        """Let the packets go that were sent before, then end this line."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self._epoch is not None and self._end.is_waiting:
                    self._has_room.clear()
                    await self._has_room.wait()
        self._is_hung_up.set()
        await asyncio.get_running_loop().create_future()  # nothing comes after
