"""The scatter of an instrument's readings: drawn from the bench time, not one after the other."""

import random

_MICROSECONDS = 1e6
"""Instants within one are the same: sums of the same waits in another order differ by less."""


def scatter(seed: int, quantity: str, now_s: float, *, deviation: float) -> float:
    """Return by how much a reading is off.

    A reading takes nothing from those that follow it: whoever looks once more changes nothing for
    the others, and two looks at one instant of a time that stands still show the same.

    Parameters
    ----------
    seed
        Seed of the bench.
    quantity
        What is read.
    now_s
        When it is read, seconds on the bench.
    deviation
        Standard deviation of a reading.
    """
    instant = round(now_s * _MICROSECONDS)
    noise = random.Random(f"{seed} {quantity} {instant}")  # noqa: S311 - noise, no secret
    return noise.gauss(0.0, deviation)
