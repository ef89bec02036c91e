"""Counting many vectors: in blocks that stay in the cache, by as many threads as there are cores.

A count follows from its vector and that vector's place in the noise sequence alone, so neither
blocks nor threads can be seen in the result. Nor can numba, where it is installed and the work is
worth loading it: the compiled loop rounds as numpy does, operation by operation.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.threads import usable_cores
from hil_mock_device.converter import ReadoutCurve, Workspace
from hil_mock_device.counter_noise import NoiseSequence
from hil_mock_device.crossbar import RowGroup, Sums, drive, magnitude_sums, net_sums

_PRODUCT_VECTORS = 4096
"""Vectors that are multiplied at once; turns between BLAS and counting cost both."""
_BLOCK_VALUES = 1 << 15
"""Counts of one block: its half dozen float32 arrays fit a second-level cache of 1 MiB."""
_DRIVEN_VECTORS = 256
"""Vectors of one piece of work for the inputs."""
_COMPILED_VECTORS = 128
"""Vectors of one piece of work for the compiled loop."""
_LOADING_WORTH = 1 << 26
"""Counts that numpy makes in about the time that loading numba takes."""

_loading = numba_extra.LoadingChoice(_LOADING_WORTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreReadout:
    """How one core is read in one mode at present."""

    groups: Sequence[RowGroup]
    """What its cells hold."""
    curve: ReadoutCurve
    """Its transfer curves."""
    noise: NoiseSequence
    """Noise of its counters; it goes on with each vector."""
    asymmetry: float
    """Share of its current that a cell lacks at a negative input."""
    has_magnitude: bool
    """Whether positive and negative products are counted apart."""
    is_single_ended: bool
    """Whether a column has one counter: its count is P, or N where it is negative."""
    bits: int
    """Width of a counter."""

    def count(
        self, inputs: npt.NDArray[np.int8], *, compiled: bool | None = None
    ) -> npt.NDArray[np.uint16]:
        """Return counts (vector, polarity, column) for inputs (vector, row).

        Parameters
        ----------
        inputs
            Input codes.
        compiled
            Whether numba counts; decided by the work so far if None.
        """
        columns = len(self.curve.c1) // 2
        vectors = len(inputs)
        counts = np.empty((vectors, 2, columns), np.uint16)
        net = np.empty((min(vectors, _PRODUCT_VECTORS), columns), np.float32)
        magnitude = np.empty_like(net) if self.has_magnitude else None
        if compiled is None:
            compiled = not self.is_single_ended and _loading.wants_numba(counts.size)
        count_sums = self._count_compiled if compiled else self._count_numpy
        driven = np.empty((len(net), inputs.shape[1]), np.float32)
        for first in range(0, vectors, _PRODUCT_VECTORS):
            part = inputs[first : first + _PRODUCT_VECTORS]
            size = len(part)
            self._drive(part, driven[:size])
            net_sums(driven[:size], self.groups, out=net[:size])
            if magnitude is not None:
                magnitude_sums(driven[:size], self.groups, out=magnitude[:size])
            count_sums(
                net[:size],
                None if magnitude is None else magnitude[:size],
                counts[first : first + size].reshape(size, 2 * columns),
            )
            self.noise.next_vector += size
        return counts

    def part(self, *, rows: int, columns: int) -> "CoreReadout":
        """Return how the first rows and columns are read; its noise goes on by itself.

        The counts are those of the whole core whose other rows are not driven.
        """
        whole = len(self.curve.c1) // 2
        first = np.arange(columns)
        places = np.concatenate([first, whole + first])
        return replace(
            self,
            groups=tuple(
                group.part(rows, columns) for group in self.groups if group.rows.start < rows
            ),
            curve=self.curve.part(places),
            noise=self.noise.part(places),
        )

    def _drive(self, inputs: npt.NDArray[np.int8], driven: Sums) -> None:
        def drive_span(first: int, stop: int) -> None:
            driven[first:stop] = drive(inputs[first:stop], asymmetry=self.asymmetry)

        _share_out(drive_span, len(inputs), size=_DRIVEN_VECTORS)

    def _count_numpy(
        self, net: Sums, magnitude: Sums | None, counts: npt.NDArray[np.uint16]
    ) -> None:
        block = max(1, min(len(net), _BLOCK_VALUES // counts.shape[1]))
        highest = np.full((block, counts.shape[1]), (1 << self.bits) - 1, np.float32)
        lowest = np.zeros_like(highest)

        spare: list[Workspace] = []  # fresh memory costs more than a pass over it

        def count_span(first: int, stop: int) -> None:
            work = spare.pop() if spare else Workspace(self.curve, block)
            source = self.noise.source(self.noise.next_vector + first)
            for start in range(first, stop, block):
                end = min(start + block, stop)
                size = end - start
                work.draw_noise(source, self.noise.values, size)
                if self.is_single_ended:
                    analog = work.convert_signed(net[start:end])
                else:
                    sums = None if magnitude is None else magnitude[start:end]
                    analog = work.convert(net[start:end], sums)
                np.maximum(analog, lowest[:size], out=analog)
                np.minimum(analog, highest[:size], out=analog)
                np.copyto(counts[start:end], analog, casting="unsafe")
            spare.append(work)

        _share_out(count_span, len(net), size=4 * block)

    def _count_compiled(
        self, net: Sums, magnitude: Sums | None, counts: npt.NDArray[np.uint16]
    ) -> None:
        from hil_mock_device import compiled_counting  # noqa: PLC0415 - numba costs 0.4 s

        curve = self.curve
        absolute = net if magnitude is None else magnitude
        rows = (curve.c1, curve.c2, curve.c3, curve.bend, curve.offset)

        def count_span(first: int, stop: int) -> None:
            source = self.noise.source(self.noise.next_vector + first)
            compiled_counting.count_rows(
                net[first:stop],
                absolute[first:stop],
                source.codes(stop - first),
                self.noise.values,
                rows,
                np.float32(curve.top),
                np.float32((1 << self.bits) - 1),
                counts[first:stop],
            )

        _share_out(count_span, len(net), size=_COMPILED_VECTORS)


def _share_out(function: Callable[[int, int], None], length: int, *, size: int) -> None:
    """Call ``function(first, stop)`` for pieces of a length, here and in other threads.

    Whoever is free takes the next piece: BLAS keeps threads of its own spinning for a while after a
    product, which slows some of these down.
    """
    firsts = iter(range(0, length, size))

    def work() -> None:
        for first in firsts:
            function(first, min(first + size, length))

    helpers = min(usable_cores(), -(-length // size)) - 1
    futures = [_pool().submit(work) for _ in range(helpers)]
    work()
    for future in futures:
        future.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="mock-counters")
