"""The way of a setpoint from one value to another, in steps that are small enough."""

import math
from collections.abc import Iterator


def ramp_values(start: float, target: float, *, largest_step: float) -> Iterator[float]:
    """Yield the setpoints after `start`, the last of which is `target` itself.

    The steps are equal, as few as possible, none is larger than `largest_step`, and none leaves
    the range from `start` to `target`. Where nothing is to be moved, `target` is yielded once.

    Parameters
    ----------
    start, target
        Finite.
    largest_step
        Largest change at once, 0 < change.

    Examples
    --------
    >>> list(ramp_values(20.0, 25.0, largest_step=2.0))
    [21.666666666666668, 23.333333333333332, 25.0]
    """
    distance = target - start
    lowest, highest = min(start, target), max(start, target)
    steps = max(1, math.ceil(abs(distance) / largest_step))
    for step in range(1, steps):
        yield min(max(start + distance * step / steps, lowest), highest)
    yield target
