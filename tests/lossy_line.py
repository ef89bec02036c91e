"""A bad cable: a second pseudo-terminal, and a thread that carries bytes to and from the first.

What the thread does to each chunk is drawn from a seed. It knows nothing of packets.
"""

import os
import random
import select
import threading
import tty
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_CHUNK = 700
KINDS = ("drop", "double", "flip", "swap", "truncate", "garbage")


class LossyLine:
    """Bytes between a client and the terminal at `far_path`, each chunk spoilt by `chance`."""

    def __init__(self, far_path: Path, *, seed: int, chance: float, kinds: tuple[str, ...]) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._chance = chance
        self._kinds = kinds
        self.spoilt: Counter[str] = Counter()
        """How many chunks were spoilt in which way."""
        self._far = os.open(far_path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._far)
        self._near, self._client = os.openpty()  # the client's end stays open: it may come again
        tty.setraw(self._client)
        self.path = Path(os.ttyname(self._client))
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._stop, b"x")
        self._thread.join(10)
        assert not self._thread.is_alive()
        for number in (self._far, self._near, self._client, self._stopped, self._stop):
            os.close(number)

    def _carry(self) -> None:
        poll = select.poll()
        for number in (self._far, self._near, self._stopped):
            poll.register(number, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self._stopped:
                    return
                chunk = os.read(number, self._rng.randint(1, LONGEST_CHUNK))
                other = self._near if number == self._far else self._far
                for part in self._spoil(chunk):
                    os.write(other, part)

    def _spoil(self, chunk: bytes) -> list[bytes]:
        if self._rng.random() >= self._chance:
            return [chunk]
        kind = self._rng.choice(self._kinds)
        self.spoilt[kind] += 1
        place = self._rng.randrange(len(chunk))
        flipped = bytes([chunk[place] ^ 1 << self._rng.randrange(8)])
        noise = self._rng.randbytes(self._rng.randint(1, 2000))
        return {
            "drop": [],
            "double": [chunk, chunk],
            "swap": [chunk[place:], chunk[:place]],
            "truncate": [chunk[:place]],
            "flip": [chunk[:place], flipped, chunk[place + 1 :]],
            "garbage": [noise, chunk],
        }[kind]


@contextmanager
def lossy_line(
    far_path: Path, *, seed: int, chance: float, kinds: tuple[str, ...] = KINDS
) -> Iterator[LossyLine]:
    line = LossyLine(far_path, seed=seed, chance=chance, kinds=kinds)
    try:
        yield line
    finally:
        line.close()
