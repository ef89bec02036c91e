"""Two packet ends and a line between them that does what a test says, in a time of its own."""

from collections.abc import Callable

from hil_drivers.packet_end import PacketEnd

Trouble = Callable[[int, list[bytes]], list[bytes]]
"""Takes the number of the chunk and the chunks in flight, first one the next; returns them anew."""


def untroubled(number: int, flight: list[bytes]) -> list[bytes]:
    return flight


class PacketLine:
    """A host and a device; `chunk_bytes` travel at once, 1 ms each."""

    def __init__(
        self,
        host: PacketEnd | None = None,
        device: PacketEnd | None = None,
        *,
        chunk_bytes: int = 300,
        trouble: Trouble = untroubled,
    ) -> None:
        self.host = host or PacketEnd()
        self.device = device or PacketEnd(first_epoch=200)
        self.trouble = trouble
        self.now_s = 100.0
        self.heard: dict[PacketEnd, bytes] = {self.host: b"", self.device: b""}
        self.is_taken = True
        """Whether bytes that arrive are taken."""
        self._chunk_bytes = chunk_bytes
        self._chunks = 0
        self._flights: dict[PacketEnd, list[bytes]] = {self.host: [], self.device: []}
        """By whom they travel to."""

    def open(self, number: int = 1) -> None:
        self.host.reset(number, self.now_s)
        self.run_until(lambda: self.host.is_open and self.device.epoch == self.host.epoch)

    def run_until(self, is_done: Callable[[], bool], *, most_steps: int = 20_000) -> None:
        """Let time pass until something holds."""
        for _ in range(most_steps):
            if is_done():
                return
            self.step()
        raise AssertionError(f"not within {most_steps} steps")

    def step(self) -> None:
        for end, other in ((self.host, self.device), (self.device, self.host)):
            data = end.to_send(self.now_s)
            size = self._chunk_bytes
            self._flights[other] += [data[at : at + size] for at in range(0, len(data), size)]
        is_quiet = not any(self._flights.values())
        for end, flight in self._flights.items():
            if flight:
                self._chunks += 1
                flight[:] = self.trouble(self._chunks, flight)
            if flight:
                end.receive(flight.pop(0), self.now_s)
            self._take(end)
        self.now_s += 0.001
        due = [end.due_s for end in (self.host, self.device) if end.due_s is not None]
        if is_quiet and due:
            self.now_s = max(self.now_s, min(due))

    def _take(self, end: PacketEnd) -> None:
        buffer = bytearray(5000)
        while self.is_taken and (count := end.take_into(memoryview(buffer))):
            self.heard[end] += buffer[:count]
