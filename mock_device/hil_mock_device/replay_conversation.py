"""A recording as an instrument: recorded answers at recorded times, through recorded faults."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hil.core.errors import FrameError
from hil_datasets.recording import Recording
from hil_drivers.link import DeviceLink, Request
from hil_drivers.link_fault import FaultKind
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Wait
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.player import RecordedChip
from hil_mock_device.replay_schedule import ReplaySchedule

SHORTEST_WAIT_S = 1e-3
"""Shorter waits are left out: a sleep takes longer than that, and the schedule makes up for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How a recording is played."""

    speed: float = 1.0
    """How many times as fast as recorded, 0 < speed; infinite for as fast as possible."""
    plays_faults: bool = True
    """Whether recorded faults of the link come again."""

    @classmethod
    def parse(cls, *, speed: str, faults: str) -> "Tempo":
        """Read a speed, a number or ``max``, and ``on`` or ``off`` for the faults.

        Raises
        ------
        ValueError
            If one is neither.

        Examples
        --------
        >>> Tempo.parse(speed="10", faults="off")
        Tempo(speed=10.0, plays_faults=False)
        """
        if faults not in {"on", "off"}:
            raise ValueError(f"faults {faults[:20]!r} must be on or off")
        return cls(speed=_parse_speed(speed), plays_faults=faults == "on")


def _parse_speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        speed = math.nan
    if not 0.001 <= speed <= 1e6:
        raise ValueError(f"speed {text[:20]!r} must be max, or a number from 0.001 to 1000000")
    return speed


class ReplayInstrument:
    """An instrument whose chip is a recorded one.

    Parameters
    ----------
    recording
        What was recorded.
    tempo
        How it is played.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        recording: Recording,
        tempo: Tempo,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule = ReplaySchedule(
            recording, speed=tempo.speed, plays_faults=tempo.plays_faults
        )
        self._is_plain = math.isinf(tempo.speed) and not tempo.plays_faults
        self._clock = clock
        self.silicon = RecordedChip(recording, self._schedule)
        """The recorded chip."""
        self.firmware = Firmware(self.silicon)
        """What all its conversations share."""

    def conversation(self) -> Conversation:
        """Begin the conversation of one more client."""
        device = MockDevice(self.firmware)
        if self._is_plain:
            return device
        return ReplayConversation(
            device,
            self._schedule,
            clock=self._clock,
            largest_block=self.firmware.largest_block,
        )


class ReplayConversation:
    """A conversation whose answers come when they came, and get lost when they got lost.

    Parameters
    ----------
    device
        The conversation that gives the answers, one for each request.
    schedule
        When they are due; all conversations with one instrument share it.
    clock
        Monotonic seconds.
    largest_block
        Most bytes a block may have, as the device has it.
    """

    def __init__(
        self,
        device: Conversation,
        schedule: ReplaySchedule,
        *,
        clock: Callable[[], float],
        largest_block: int,
    ) -> None:
        self._device = device
        self._schedule = schedule
        self._clock = clock
        self._largest_block = largest_block
        self._link = DeviceLink(largest_block)

    @property
    def is_lost(self) -> bool:
        """Whether the client's bytes have lost their meaning."""
        return self._device.is_lost

    @property
    def client(self) -> int:
        """The client's number."""
        return self._device.client

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        """Take bytes of the client; yield what to do, in order."""
        yield from self._play(self._requests(data), self._device.answers(data))

    def end_message(self) -> Iterator[Outgoing]:
        """Take note that the message ends here; yield what to do."""
        yield from self._play(self._requests(b"\n"), self._device.end_message())
        self._link = DeviceLink(self._largest_block)

    def clear(self) -> None:
        """Forget what has not been carried out."""
        self._device.clear()
        self._link = DeviceLink(self._largest_block)

    def leave(self) -> None:
        """Take note that the client has gone."""
        self._device.leave()

    def _requests(self, data: bytes) -> list[Request]:
        """Return the requests that the device, too, finds in these bytes."""
        try:
            return self._link.receive(data)
        except FrameError:
            return []

    def _play(self, requests: list[Request], answers: Iterator[Outgoing]) -> Iterator[Outgoing]:
        for request in requests:
            arrived_s = self._clock()
            answer = next(answers, None)
            if answer is None:
                return
            if isinstance(answer, bytes):
                yield from self._play_one(request.text, answer, arrived_s)
            else:
                yield answer
        yield from answers

    def _play_one(self, request: str, answer: bytes, arrived_s: float) -> Iterator[Outgoing]:
        schedule = self._schedule
        schedule.begin(request, arrived_s=arrived_s)
        fault = schedule.take_fault(request)
        if fault is None:
            yield from _wait(schedule.due_s(request, arrived_s=arrived_s) - self._clock())
            yield answer
            return
        if fault.kind is FaultKind.TRUNCATION:
            yield answer[: len(answer) // 2]
        yield from _wait(schedule.noticed_s(fault, arrived_s=arrived_s) - self._clock())
        if fault.kind is FaultKind.LINK_LOST:
            yield Disconnect()
        elif fault.kind is FaultKind.WRONG_CRC:
            # The last byte before the newline is the frame's.
            yield answer[:-2] + bytes([answer[-2] ^ 1]) + answer[-1:]


def _wait(seconds: float) -> Iterator[Outgoing]:
    if seconds >= SHORTEST_WAIT_S:
        yield Wait(seconds)
