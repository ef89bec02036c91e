"""Both channels of one HiSLIP client, in synchronized mode (IVI-6.1, sections 3.1 and 6).

The synchronous channel carries requests and answers, one after the other. The asynchronous one is
served beside it, whatever the instrument is busy with: device clear, status byte, locks.

An answer goes out as soon as it is there. Every message of the client tells whether the client has
read the last answer to its end; where it has not, the new message interrupts the old query.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from hil_drivers.scpi import ScpiError
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Piece, Wait
from hil_mock_device.firmware.call import refusal
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.firmware.instrument_lock import LockKind
from hil_mock_device.hislip_messages import (
    HEADER_BYTES,
    ErrorCode,
    FatalErrorCode,
    HislipMessage,
    LockResponse,
    MessageType,
)
from hil_mock_device.listeners.hislip_channel import (
    LARGEST_PAYLOAD,
    ChannelClosedError,
    HislipChannel,
)

_DATA = frozenset({MessageType.DATA, MessageType.DATA_END, MessageType.TRIGGER})
_HAS_READ_ANSWER = 1
"""Bit of the control code: the client has read the last answer to its end ("RMT-delivered")."""
_SMALLEST_PAYLOAD = 64
"""Least bytes put into one message, however small a client wants them."""
_REMOTE_REQUESTS = range(7)
_LOCK_POLL_S = 0.01
"""How often a client that waits for the lock asks again."""
_LONGEST_KEY = 256


class HislipSession:
    """One client.

    Parameters
    ----------
    channel
        The synchronous channel.
    conversation
        What the client and the instrument say to each other.
    firmware
        The instrument.
    """

    def __init__(
        self, channel: HislipChannel, conversation: Conversation, firmware: Firmware
    ) -> None:
        self._synchronous = channel
        self._asynchronous: HislipChannel | None = None
        self._conversation = conversation
        self._firmware = firmware
        self._largest_payload = LARGEST_PAYLOAD
        self._has_unread_answer = False
        self._is_inside_answer = False
        self._is_clearing = False
        self._is_open = True
        self._work: asyncio.Task[None] | None = None
        self._wait_for_lock: asyncio.Task[None] | None = None

    @property
    def has_both_channels(self) -> bool:
        """Whether the asynchronous channel has come."""
        return self._asynchronous is not None

    def give_up(self) -> None:
        """End the session if its asynchronous channel has not come: none waits for ever."""
        if self._asynchronous is None:
            self._is_open = False
            self._synchronous.put(
                MessageType.FATAL_ERROR,
                control=FatalErrorCode.CHANNELS_NOT_ESTABLISHED,
                payload=b"the asynchronous channel did not come in time",
            )
            self._synchronous.cut()

    def close(self) -> None:
        """End the session: the synchronous channel has ended."""
        self._is_open = False
        if self._asynchronous is not None:
            self._asynchronous.cut()

    async def serve_synchronous(self) -> None:
        """Serve the synchronous channel until the client has gone."""
        channel = self._synchronous
        while self._is_open:
            message = await channel.next_message()
            if self._asynchronous is None:
                words = "the asynchronous channel must be initialized first"
                await channel.end(FatalErrorCode.CHANNELS_NOT_ESTABLISHED, words)
                return
            if not isinstance(message, HislipMessage):
                await channel.refuse(message)
            elif message.type in _DATA:
                if not self._is_clearing:
                    await self._work_on(message, self._asynchronous)
            elif message.type == MessageType.DEVICE_CLEAR_COMPLETE:
                self._is_clearing = self._has_unread_answer = False
                # Control code 0: synchronized mode, whatever the client would like.
                await channel.send(MessageType.DEVICE_CLEAR_ACKNOWLEDGE)
            elif message.type == MessageType.FATAL_ERROR:
                return
            elif message.type != MessageType.ERROR:
                await channel.refuse(message)

    async def serve_asynchronous(
        self, channel: HislipChannel, greet: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve the asynchronous channel until the client has gone; that ends the session."""
        self._asynchronous = channel
        replies = {
            MessageType.ASYNC_MAXIMUM_MESSAGE_SIZE: self._agree_on_size,
            MessageType.ASYNC_LOCK: self._lock_or_release,
            MessageType.ASYNC_LOCK_INFO: self._tell_lock,
            MessageType.ASYNC_REMOTE_LOCAL_CONTROL: self._go_remote_or_local,
            MessageType.ASYNC_DEVICE_CLEAR: self._clear,
            MessageType.ASYNC_STATUS_QUERY: self._tell_status,
        }
        try:
            await greet()
            while True:
                message = await channel.next_message()
                if not isinstance(message, HislipMessage):
                    await channel.refuse(message)
                elif message.type in replies:
                    await replies[MessageType(message.type)](channel, message)
                elif message.type == MessageType.FATAL_ERROR:
                    return
                elif message.type != MessageType.ERROR:
                    await channel.refuse(message)
        finally:
            self._is_open = False
            for task in (self._work, self._wait_for_lock):
                if task is not None:
                    task.cancel()
            # It may have got the lock after the synchronous channel has ended, and given it back.
            self._firmware.lock.forget(self._conversation.client)
            self._synchronous.cut()

    # --- the synchronous channel -----------------------------------------------------------------

    async def _work_on(self, message: HislipMessage, asynchronous: HislipChannel) -> None:
        """Carry out a message in a task of its own, which a device clear can end."""
        self._note_delivery(message)
        if self._has_unread_answer:
            await self._interrupt(message.parameter, asynchronous)
        if message.type == MessageType.TRIGGER:
            detail = "nothing here waits for a trigger"
            self._firmware.status.add_error(refusal(ScpiError.TRIGGER_IGNORED, detail))
            return
        self._work = work = asyncio.create_task(self._carry_out(message))
        try:
            await asyncio.wait({work})
        finally:
            work.cancel()
            self._work = None
        if not work.cancelled():
            work.result()

    async def _carry_out(self, message: HislipMessage) -> None:
        for item in self._actions(message):
            if isinstance(item, Wait):
                await asyncio.sleep(item.seconds)
            elif isinstance(item, Disconnect):
                raise ChannelClosedError
            elif item:
                await self._answer(item, message.parameter)
            await asyncio.sleep(0)  # room for the others
        if self._is_inside_answer:  # its rest is lost, and what follows is none of it
            await self._send_part(b"", message.parameter, is_last=True)

    def _actions(self, message: HislipMessage) -> Iterator[Outgoing]:
        yield from self._conversation.answers(message.payload)
        if message.type == MessageType.DATA_END:
            yield from self._conversation.end_message()

    async def _answer(self, data: bytes, message_id: int) -> None:
        self._has_unread_answer = True
        step = self._largest_payload
        for start in range(0, len(data), step):
            is_last = start + step >= len(data) and not isinstance(data, Piece)
            await self._send_part(data[start : start + step], message_id, is_last=is_last)

    async def _send_part(self, data: bytes, message_id: int, *, is_last: bool) -> None:
        self._is_inside_answer = not is_last
        message_type = MessageType.DATA_END if is_last else MessageType.DATA
        await self._synchronous.send(message_type, parameter=message_id, payload=data)

    async def _interrupt(self, message_id: int, asynchronous: HislipChannel) -> None:
        """Tell the client that its new message has come before it read the last answer."""
        self._has_unread_answer = False
        detail = "a message came before the last answer was read"
        self._firmware.status.add_error(refusal(ScpiError.QUERY_INTERRUPTED, detail))
        asynchronous.put(MessageType.ASYNC_INTERRUPTED, parameter=message_id)
        await self._synchronous.send(MessageType.INTERRUPTED, parameter=message_id)

    def _note_delivery(self, message: HislipMessage) -> None:
        if message.control & _HAS_READ_ANSWER:
            self._has_unread_answer = False

    # --- the asynchronous channel ----------------------------------------------------------------

    async def _clear(self, channel: HislipChannel, _: HislipMessage) -> None:
        self._is_clearing = True
        if self._work is not None:
            self._work.cancel()
        self._conversation.clear()
        self._has_unread_answer = self._is_inside_answer = False
        await channel.send(MessageType.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE)

    async def _tell_status(self, channel: HislipChannel, message: HislipMessage) -> None:
        self._note_delivery(message)
        byte = self._firmware.status.byte(has_answer=self._has_unread_answer)
        await channel.send(MessageType.ASYNC_STATUS_RESPONSE, control=byte)

    async def _agree_on_size(self, channel: HislipChannel, message: HislipMessage) -> None:
        if len(message.payload) != 8:
            words = f"a size of {len(message.payload)} bytes: must be 8"
            await channel.report(ErrorCode.UNIDENTIFIED, words)
            return
        size = int.from_bytes(message.payload, "big")
        # Clients differ in whether they count the header in: an answer must suit both.
        payload = max(_SMALLEST_PAYLOAD, size - HEADER_BYTES)
        self._largest_payload = min(payload, LARGEST_PAYLOAD)
        own = LARGEST_PAYLOAD.to_bytes(8, "big")
        await channel.send(MessageType.ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE, payload=own)

    async def _go_remote_or_local(self, channel: HislipChannel, message: HislipMessage) -> None:
        if message.control not in _REMOTE_REQUESTS:
            words = f"remote or local request {message.control}: must be 0 to 6"
            await channel.report(ErrorCode.UNRECOGNIZED_CONTROL_CODE, words)
            return
        # There is no front panel to lock.
        await channel.send(MessageType.ASYNC_REMOTE_LOCAL_RESPONSE)

    async def _lock_or_release(self, channel: HislipChannel, message: HislipMessage) -> None:
        if message.control > 1:
            words = f"lock request {message.control}: must be 0 to release or 1 to request"
            await channel.report(ErrorCode.UNRECOGNIZED_CONTROL_CODE, words)
            return
        if len(message.payload) > _LONGEST_KEY:
            words = f"a lock's key of {len(message.payload)} bytes: at most {_LONGEST_KEY}"
            await channel.report(ErrorCode.MESSAGE_TOO_LARGE, words)
            return
        if self._wait_for_lock is not None:  # one request at a time
            response: LockResponse | None = LockResponse.ERROR
        elif message.control == 0:
            response = self._release()
        else:
            response = self._request(message)
        if response is None:
            # Beside this channel, which device clear and status byte go over meanwhile.
            self._wait_for_lock = asyncio.create_task(self._poll_lock(channel, message))
        else:
            await channel.send(MessageType.ASYNC_LOCK_RESPONSE, control=response)

    def _release(self) -> LockResponse:
        released = self._firmware.lock.release(self._conversation.client)
        if released is None:
            return LockResponse.ERROR
        is_shared = released is LockKind.SHARED
        return LockResponse.SUCCESS_SHARED if is_shared else LockResponse.SUCCESS

    def _request(self, message: HislipMessage) -> LockResponse | None:
        """Ask for the lock; return None where the client has to wait for it."""
        lock, client = self._firmware.lock, self._conversation.client
        key = _key_of(message)
        if lock.holds(client, LockKind.SHARED if key else LockKind.EXCLUSIVE):
            return LockResponse.ERROR
        if not self._is_open:  # nobody is left to hold it
            raise ChannelClosedError
        if lock.request(client, key):
            return LockResponse.SUCCESS
        return None if message.parameter else LockResponse.FAILURE

    async def _poll_lock(self, channel: HislipChannel, message: HislipMessage) -> None:
        lock, client = self._firmware.lock, self._conversation.client
        loop = asyncio.get_running_loop()
        deadline = loop.time() + message.parameter / 1000
        response = LockResponse.FAILURE
        while response is LockResponse.FAILURE and (left_s := deadline - loop.time()) > 0:
            await asyncio.sleep(min(_LOCK_POLL_S, left_s))
            if not self._is_open:  # nobody is left to hold it
                return
            if lock.request(client, _key_of(message)):
                response = LockResponse.SUCCESS
        self._wait_for_lock = None
        channel.put(MessageType.ASYNC_LOCK_RESPONSE, control=response)

    async def _tell_lock(self, channel: HislipChannel, _: HislipMessage) -> None:
        lock = self._firmware.lock
        await channel.send(
            MessageType.ASYNC_LOCK_INFO_RESPONSE,
            control=int(lock.owner is not None),
            parameter=lock.holders,
        )


def _key_of(message: HislipMessage) -> str:
    return message.payload.decode("ascii", "replace")
