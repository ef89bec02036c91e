"""Programming and reading: every block size, every value, every vector in its place."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.readout import ReadMode
from hil_drivers.conformance.check import Check, FailedError, SkippedError, expect, refusal
from hil_drivers.conformance.workbench import Programming, Workbench, lacks_hardware

_LARGEST_CODE = 127
_VALUES = np.arange(-_LARGEST_CODE, _LARGEST_CODE + 1, dtype=np.int8)
_MOST_INPUT_BYTES = 1 << 26
"""A block of the size that a chip claims is tried up to this many bytes of inputs."""
_MOST_VALUE_PROGRAMMINGS = 4
"""For arrays with fewer cells than there are values."""
_VECTORS = 64
_LEAST_CORRELATION = 0.8
"""Median over the columns; mock chips have 0.95 and more, one that mixes things up near 0."""
_LEAST_RISING = 0.1
"""Share of columns whose P - N rises with the products."""
_REPEATS = 4
_SMALLEST_OUTLIER = 1.5
"""Steps of the input by which a value may stand out from its neighbours whatever the noise."""
_OUTLIER_SIGMAS = 10.0
_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution."""

_LOOKALIKES = {
    "newlines": b"\n\r\n\r\r\n\n\n",
    "block headers": b"#0#15#9999999999#",
    "tags and commands": b"@1 *RST\n@2 OK\n;:*IDN?\n",
    "frame headers": b"HILF\x01\x01HILF\x00\x00\x00\x00",
    "zeros": b"\x00" * 8,
    "ones": b"\xff" * 8,
    "packet delimiters": b"\x00\x01\x7e\x7d\x11\x13\x1b\x04\x03",
}
"""Bytes that a device may take for something else than data."""


def _takes_all_weights(bench: Workbench) -> str:
    _require_programming(bench)
    geometry = bench.geometry
    cells = geometry.rows * geometry.columns
    programmings = min(-(-len(_VALUES) // cells), _MOST_VALUE_PROGRAMMINGS)
    for number in range(programmings):
        # Backwards, so that a small array sees the large values and those of ASCII first.
        values = np.roll(_VALUES[::-1], -number * cells)
        weights = np.resize(values, (geometry.rows, geometry.columns))
        bench.program(weights)
    tried = min(len(_VALUES), programmings * cells)
    return f"{tried} values in {programmings} programmings of core {bench.core}"


def _reads_blocks(bench: Workbench) -> str:
    require_readable(bench)
    most = bench.geometry.max_vectors
    largest = min(most, max(1, _MOST_INPUT_BYTES // bench.geometry.rows))
    sizes = sorted({size for size in (1, 2, 3, 7, largest - 1, largest) if 1 <= size <= most})
    for read_mode in ReadMode:
        for vectors in sizes:
            inputs = bench.inputs(vectors, seed=vectors)
            for _ in range(2 if vectors < largest - 1 else 1):
                check_counts(bench, bench.read(read_mode, inputs), vectors, read_mode)
    told = "the most it takes" if largest == most else f"of {most} that it says it takes"
    return f"{', '.join(map(str, sizes))} vectors ({told}), in both read modes"


def _refuses_larger_blocks(bench: Workbench) -> str:
    require_readable(bench)
    too_many = bench.geometry.max_vectors + 1
    refused = []
    for vectors in (too_many, 0):
        inputs = np.zeros((vectors, bench.geometry.rows), np.int8)
        for read_mode in ReadMode:
            what = f"{vectors} vectors, {read_mode}"
            refused.append(refusal(what, _reading(bench, read_mode, inputs), by_driver=True))
    counts = bench.read(ReadMode.FOUR_PHASE, bench.inputs(2))
    check_counts(bench, counts, 2, ReadMode.FOUR_PHASE)
    return f"{too_many} and 0 vectors: {', '.join(dict.fromkeys(refused))}; then 2 are read"


def _keeps_places(bench: Workbench) -> str:
    require_readable(bench)
    inputs = bench.inputs(_VECTORS, seed=3)
    largest = bench.inputs(min(bench.geometry.max_vectors, 16 * _VECTORS), seed=4)
    for read_mode in ReadMode:
        places = [0, 1, 2, 5, _VECTORS - 1]
        block = bench.read(read_mode, inputs).astype(np.int64)
        _check_places(bench, read_mode, inputs, block, places)
        block = bench.read(read_mode, largest).astype(np.int64)
        _check_places(bench, read_mode, largest, block, [0, len(largest) // 2, len(largest) - 1])
    return f"vectors of blocks of {_VECTORS} and {len(largest)} found again one by one"


def _multiplies(bench: Workbench) -> str:
    weights = require_weights(bench)
    inputs = bench.inputs(_VECTORS, seed=5)
    expected = inputs.astype(np.int64) @ weights.astype(np.int64)
    seen = []
    for read_mode in ReadMode:
        counts = bench.read(read_mode, inputs).astype(np.int64)
        found = _correlations(counts[:, 0] - counts[:, 1], expected)
        strength, rising = float(np.median(np.abs(found))), float((found > 0).mean())
        expect(
            holds=strength >= _LEAST_CORRELATION,
            otherwise=f"{read_mode}: P - N and the products correlate by {strength:.2f} "
            f"(median of the columns): must be at least {_LEAST_CORRELATION}",
        )
        # A single-ended chip may have columns of both slopes, which the calibration sets right.
        expect(
            holds=rising >= _LEAST_RISING,
            otherwise=f"{read_mode}: P - N falls as the products rise, in "
            f"{100 * (1 - rising):.0f} % of the columns: P and N are exchanged",
        )
        seen.append(f"{read_mode} {strength:.3f}, {100 * rising:.0f} % of the columns rising")
    return f"correlation of P - N with inputs times weights: {'; '.join(seen)}"


def _drives_every_value(bench: Workbench) -> str:
    require_weights(bench)
    ladder = bench.constant_inputs(_VALUES)
    seen = []
    for read_mode in ReadMode:
        net = np.zeros((len(_VALUES), bench.geometry.columns))
        step = max(1, min(bench.geometry.max_vectors, len(_VALUES)))
        for _ in range(_REPEATS):
            for first in range(0, len(_VALUES), step):
                rungs = ladder[first : first + step]
                counts = bench.read(read_mode, rungs)
                check_counts(bench, counts, len(rungs), read_mode)
                net[first : first + step] += np.subtract(*counts.swapaxes(0, 1), dtype=float)
        off, limit = _stand_out(net / _REPEATS)
        worst = int(np.argmax(np.abs(off)))
        expect(
            holds=abs(off[worst]) <= limit,
            otherwise=f"{read_mode}: the input {_VALUES[worst]} counts like one {off[worst]:+.1f} "
            f"steps from it; its neighbours agree to {limit:.1f}",
        )
        seen.append(f"{read_mode} within {limit:.1f} steps")
    return f"each of {len(_VALUES)} values is in line with its neighbours: {', '.join(seen)}"


def _carries_lookalikes(bench: Workbench) -> str:
    require_readable(bench)
    for name, pattern in _LOOKALIKES.items():
        values = np.frombuffer(pattern, np.int8)
        inputs = np.resize(values[values != -_LARGEST_CODE - 1], (4, bench.geometry.rows))
        for read_mode in ReadMode:
            try:
                counts = bench.read(read_mode, inputs)
            except Exception as error:
                raise FailedError(f"inputs that look like {name}: {error}") from error
            check_counts(bench, counts, 4, read_mode)
            single = bench.read(read_mode, inputs[:1])
            check_counts(bench, single, 1, read_mode)
    return ", ".join(_LOOKALIKES)


def _stays_within_counter(bench: Workbench) -> str:
    require_readable(bench)
    highest = (1 << bench.geometry.counter_bits) - 1
    extremes = bench.constant_inputs(np.array([_LARGEST_CODE, -_LARGEST_CODE], np.int8))
    weights = bench.known_weights()
    if weights is not None:
        signs = np.where(weights.sum(axis=1) >= 0, _LARGEST_CODE, -_LARGEST_CODE)
        extremes = np.concatenate([extremes, [signs, -signs]]).astype(np.int8)
    for read_mode in ReadMode:
        bench.read(read_mode, extremes)
    expect(
        holds=bench.largest_count <= highest,
        otherwise=f"a count of {bench.largest_count}: counters of {bench.geometry.counter_bits} "
        f"bits hold {highest} at most",
    )
    return f"highest count of all readouts: {bench.largest_count} of {highest}"


def _latches_counts(bench: Workbench) -> str:
    require_readable(bench)
    for read_mode in ReadMode:
        for vectors in (1, 5):
            counts = bench.read(read_mode, bench.inputs(vectors, seed=6))
            check_counts(bench, counts, vectors, read_mode)
            for time in ("first", "second"):
                latched = _latched(bench, read_mode, vectors)
                check_counts(bench, latched, vectors, read_mode)
                different = int((latched != counts).sum())
                expect(
                    holds=different == 0,
                    otherwise=f"{read_mode}, {vectors} vectors: {different} counts differ from "
                    f"those just read, the {time} time they are asked for",
                )
    return "asked for twice after blocks of 1 and 5 vectors"


def _latched(bench: Workbench, read_mode: ReadMode, vectors: int) -> npt.NDArray[np.uint16]:
    try:
        return bench.chip.latched_counts(bench.core, read_mode, vectors)
    except DeviceError as error:
        if lacks_hardware(error):
            raise SkippedError(f"the chip has no NMPU, and latches nothing: {error}") from error
        raise


def _keeps_cores_apart(bench: Workbench) -> str:
    if bench.plan.programming is not Programming.EVERY_CORE:
        raise SkippedError("would program every core: allow it with --destructive")
    weights = require_weights(bench)
    others = [core for core in range(bench.geometry.cores) if core != bench.core]
    if not others:
        raise SkippedError("the chip has one core")
    inputs = bench.inputs(_VECTORS, seed=7)
    other_weights = np.roll(weights, 1, axis=0)
    for core in others:
        bench.program(other_weights, core=core)
    for core, held in [(core, other_weights) for core in others] + [(bench.core, weights)]:
        expected = inputs.astype(np.int64) @ held.astype(np.int64)
        counts = bench.chip.read_counts(core, ReadMode.FOUR_PHASE, inputs).astype(np.int64)
        found = float(np.median(np.abs(_correlations(counts[:, 0] - counts[:, 1], expected))))
        expect(
            holds=found >= _LEAST_CORRELATION,
            otherwise=f"core {core}: correlation {found:.2f} with its own weights",
        )
    return f"{len(others)} cores with other weights than core {bench.core}"


def _stand_out(net: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Return how far each value of a ladder stands out, and how far is too far, both in steps.

    The columns' net counts (value, column) are put together to an estimate of the value driven,
    each column by its slope. A value is compared with what its neighbours of the same sign say, so
    that a converter may be as bent as it likes.
    """
    values = _VALUES.astype(np.float64)
    centred = net - net.mean(axis=0)
    slope = centred.T @ values / (values @ values)
    power = float(slope @ slope)
    if power == 0:
        raise FailedError("counts do not depend on the inputs")
    estimate = centred @ slope / power
    likeness = float(np.corrcoef(estimate, values)[0, 1])
    if likeness < _LEAST_CORRELATION:
        raise FailedError(f"counts and the values driven correlate by {likeness:.2f} only")
    off = np.zeros(len(values))
    for side in (values < 0, values > 0):
        of_side = estimate[side]
        inner = (of_side[:-4] + of_side[1:-3] + of_side[3:-1] + of_side[4:]) / 4
        ends = [2 * of_side[1] - of_side[2], (of_side[0] + of_side[2]) / 2]
        tail = [(of_side[-3] + of_side[-1]) / 2, 2 * of_side[-2] - of_side[-3]]
        off[side] = of_side - np.concatenate([ends, inner, tail])
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(off[values != 0])))
    return off, max(_SMALLEST_OUTLIER, _OUTLIER_SIGMAS * sigma)


def _correlations(
    net: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the correlation of each column; 0 for one that does not move."""
    measured = net - net.mean(axis=0)
    due = expected - expected.mean(axis=0)
    power = np.sqrt((measured**2).sum(axis=0) * (due**2).sum(axis=0))
    products = (measured * due).sum(axis=0)
    correlations: npt.NDArray[np.float64] = np.zeros(len(power))
    np.divide(products, power, out=correlations, where=power > 0)
    return correlations


def check_counts(
    bench: Workbench, counts: npt.NDArray[np.uint16], vectors: int, read_mode: ReadMode
) -> None:
    """Raise `FailedError` unless counts have the shape and type that are due."""
    due = (vectors, 2, bench.geometry.columns)
    expect(
        holds=isinstance(counts, np.ndarray) and counts.dtype == np.uint16 and counts.shape == due,
        otherwise=f"{read_mode}: {vectors} vectors gave {getattr(counts, 'dtype', type(counts))} "
        f"of shape {getattr(counts, 'shape', None)}: uint16 of {due} is due",
    )


def _check_places(
    bench: Workbench,
    read_mode: ReadMode,
    inputs: npt.NDArray[np.int8],
    block: npt.NDArray[np.int64],
    places: list[int],
) -> None:
    """Find vectors of a block again among readouts of one vector each."""
    net = block[:, 0] - block[:, 1]
    for place in dict.fromkeys(place for place in places if place < len(inputs)):
        alone = bench.read(read_mode, inputs[place : place + 1]).astype(np.int64)
        distance = ((net - (alone[0, 0] - alone[0, 1])) ** 2).sum(axis=1)
        nearest = int(np.argmin(distance))
        expect(
            holds=nearest == place,
            otherwise=f"{read_mode}: vector {place} of a block of {len(inputs)}, read alone, is "
            f"like vector {nearest} of the block",
        )


def _reading(
    bench: Workbench, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
) -> Callable[[], object]:
    return lambda: bench.read(read_mode, inputs)


def _require_programming(bench: Workbench) -> None:
    if not bench.may_program():
        raise SkippedError("would program the chip: --no-program forbids it")


def require_weights(bench: Workbench) -> npt.NDArray[np.int8]:
    """Return the weights of the core under test, or skip the check."""
    _require_programming(bench)
    weights = bench.known_weights()
    if weights is None:
        raise SkippedError("no weights are known")
    return weights


def require_readable(bench: Workbench) -> None:
    """Skip the check if the core under test cannot be read."""
    try:
        is_readable = bench.has_readable_core()
    except DeviceError as error:
        raise FailedError(f"core {bench.core} cannot be programmed: {error}") from error
    if not is_readable:
        raise SkippedError(f"core {bench.core} cannot be read: nothing is programmed in it")


READOUT_CHECKS = (
    Check("a core takes weights of every value", _takes_all_weights),
    Check("blocks of one vector up to the most it takes have their shape and type", _reads_blocks),
    Check("larger blocks, and empty ones, are refused", _refuses_larger_blocks),
    Check("vectors keep their places in a block", _keeps_places),
    Check("counts follow inputs times weights, positive ones in P", _multiplies),
    Check("inputs of every value count as what they are", _drives_every_value),
    Check("data that look like something else stay data", _carries_lookalikes),
    Check("latched counts are those just read", _latches_counts),
    Check("cores have weights of their own", _keeps_cores_apart),
    Check("counts stay within the counter's width", _stays_within_counter),
)
