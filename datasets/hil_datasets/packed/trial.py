"""Which compression a run's own readouts like best: tried on a few MiB of them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.packed.chunks import write_chunked
from hil_datasets.packed.compression import COMPRESSIONS, Compression, has_filters
from hil_datasets.run_source import Readouts

SAMPLE_BYTES = 8 << 20
"""Most bytes that are tried on."""
FLOOR_MB_PER_S = 100.0
"""A compression that is slower is not chosen, where there are several to choose from: of the
built-in ones there is but one, and a file that everybody opens is worth its time."""
SMALLEST_SAMPLE_BYTES = 1 << 20
"""A run with less to compress is stored as it is: nothing is gained, and no time can be told."""
_ROUNDS = 2
"""Each is timed so often; the quickest counts, the others were disturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCompression:
    """What became of the sample."""

    compression: Compression
    """The way."""
    mb_per_s: float
    """Speed of compressing and writing to memory, megabytes of readouts a second."""
    ratio: float
    """Bytes of the readouts for one stored byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionTrial:
    """All that were tried, and which is chosen."""

    tried: tuple[TriedCompression, ...]
    """In the order of the table of compressions."""
    sample_bytes: int
    """How many bytes each was tried on."""
    floor_mb_per_s: float
    """Slower ones are not chosen."""
    has_filters: bool
    """Whether those that need the plug-in filters could be tried."""
    is_portable: bool
    """Whether only those were wanted that do without."""

    @property
    def chosen(self) -> Compression:
        """The smallest of those that are quick enough; as it is where none is."""
        return choose(self.tried, floor_mb_per_s=self.floor_mb_per_s)


def choose(tried: Sequence[TriedCompression], *, floor_mb_per_s: float) -> Compression:
    """Return the compression with the greatest ratio among those at least so quick.

    Of two with the same ratio it is the quicker one. Where none is quick enough, or nothing
    shrinks, the readouts are stored as they are.
    """
    quick = [one for one in tried if one.mb_per_s >= floor_mb_per_s and one.ratio > 1]
    if not quick:
        return COMPRESSIONS["none"]
    return max(quick, key=lambda one: (one.ratio, one.mb_per_s)).compression


def sample_of(readouts: Readouts, *, most_bytes: int = SAMPLE_BYTES) -> list[npt.NDArray[Any]]:
    """Return the first vectors of a step, as many as the size allows, and all its weights."""
    by_vector = (readouts.inputs, readouts.raw, readouts.expected)
    vector_bytes = sum(array.nbytes for array in by_vector) / max(1, len(readouts.raw))
    vectors = max(1, int(most_bytes / max(1.0, vector_bytes)))
    return [readouts.weights, *(np.ascontiguousarray(array[:vectors]) for array in by_vector)]


def try_compressions(
    sample: Sequence[npt.NDArray[Any]],
    *,
    is_portable: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> CompressionTrial:
    """Compress a sample in every way there is.

    Parameters
    ----------
    sample
        Arrays as they would be stored.
    is_portable
        Leaves out what needs a plug-in to be read.
    clock
        Seconds.
    """
    can_use_filters = not is_portable and has_filters()
    ways = [way for way in COMPRESSIONS.values() if way.is_portable or can_use_filters]
    size = sum(array.nbytes for array in sample)
    return CompressionTrial(
        tried=tuple(_tried(way, sample, size, clock) for way in ways),
        sample_bytes=size,
        floor_mb_per_s=0.0 if is_portable else FLOOR_MB_PER_S,
        has_filters=can_use_filters,
        is_portable=is_portable,
    )


def _tried(
    way: Compression, sample: Iterable[npt.NDArray[Any]], size: int, clock: Callable[[], float]
) -> TriedCompression:
    took_s, stored = float("inf"), 1
    for _ in range(_ROUNDS):
        began_s = clock()
        with h5py.File("trial", "w", driver="core", backing_store=False) as file:
            written = [
                write_chunked(file, str(place), array, way) for place, array in enumerate(sample)
            ]
            file.flush()
            stored = sum(int(dataset.id.get_storage_size()) for dataset in written)
        took_s = min(took_s, clock() - began_s)
    return TriedCompression(
        compression=way,
        mb_per_s=size / max(took_s, 1e-9) / 1e6,
        ratio=size / max(1, stored),
    )
