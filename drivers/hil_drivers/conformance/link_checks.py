"""What a driver does when its link misbehaves; a relay on this machine stands in between.

Where a resource names no host and port there is nowhere to stand, and these are skipped.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt

from hil.core.errors import HilError, TransportError, TransportTimeoutError
from hil.core.readout import ReadMode
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import ChipOptions
from hil_drivers.conformance.check import Check, FailedError, SkippedError, expect, shown
from hil_drivers.conformance.readout_checks import check_counts, require_readable
from hil_drivers.conformance.relay import Relay, tcp_address
from hil_drivers.conformance.workbench import Workbench

_FOUR = ReadMode.FOUR_PHASE
_SLACK_S = 1.5
"""For a busy host, on top of the timeout and of the time for recovery."""
_RECOVERY_S = 1.0
_SHORTEST_TIMEOUT_S = 0.4
_LINK_TIMEOUTS = 50
"""Timeout of these checks, in times that a readout takes."""
_VECTORS = 3
_RUBBISH = bytes(range(256)) * 16


def _reads_pieces(bench: Workbench) -> str:
    require_readable(bench)
    inputs = bench.inputs(_VECTORS, seed=20)
    reference = bench.read(_FOUR, inputs)
    with _behind_relay(bench, patient=True) as (relay, chip):
        for piece in (1, 7, 1000):
            relay.split(piece)
            counts = bench.read(_FOUR, inputs, chip=chip)
            _expect_like(bench, counts, reference, f"answers in pieces of {piece}")
    return "pieces of 1, 7 and 1000 bytes"


def _times_out_in_time(bench: Workbench) -> str:
    with _behind_relay(bench) as (relay, chip):
        limit_s = _limit_s(bench)
        relay.hold()
        seen = [_time_out(name, ask, limit_s) for name, ask in _requests(bench, chip).items()]
        relay.close()  # to the device, too: it may take one connection only
    return f"{len(seen)} requests, the slowest after {max(seen):.2f} s of {limit_s:.2f} s"


def _times_out_when_connecting(bench: Workbench) -> str:
    bench.let_go()
    with Relay(_address(bench)) as relay:
        relay.hold()
        limit_s = _limit_s(bench)
        seen = _time_out(
            "connecting", lambda: bench.open(relay.resource, options=_options(bench)), limit_s
        )
    return f"after {seen:.2f} s of {limit_s:.2f} s"


def _drops_late_answers(bench: Workbench) -> str:
    require_readable(bench)
    first, second = bench.inputs(_VECTORS, seed=21), bench.inputs(_VECTORS, seed=22)
    identity = bench.chip.identify()
    reference = bench.read(_FOUR, second)
    with _behind_relay(bench) as (relay, chip):
        relay.hold()
        with suppress(HilError):
            bench.read(_FOUR, first, chip=chip)
        relay.release()
        try:
            counts = bench.read(_FOUR, second, chip=chip)
            _expect_like(bench, counts, reference, "after a late answer")
            expect(holds=chip.identify() == identity, otherwise="then it is another chip")
            chip.temperature_c(bench.core, _FOUR)
        except TransportError as error:
            outcome = f"the link is given up: {shown(error)}"
        except HilError as error:
            raise FailedError(f"after a late answer: {shown(error)}") from error
        else:
            outcome = "the next readout is of its own inputs"
    _expect_well(bench, identity, second, reference)
    return outcome


def _survives_a_cut(bench: Workbench) -> str:
    return _survive(bench, lambda relay: relay.cut())


def _survives_half_an_answer(bench: Workbench) -> str:
    return _survive(bench, lambda relay: relay.cut_after(bench.geometry.columns))


def _survives_rubbish(bench: Workbench) -> str:
    return _survive(bench, lambda relay: relay.answer_rubbish(_RUBBISH))


def _survives_a_flood(bench: Workbench) -> str:
    return _survive(bench, lambda relay: relay.answer_rubbish(None, floods=True))


def _survive(bench: Workbench, spoil: Callable[[Relay], None]) -> str:
    """Read while the link is spoilt: right or an error, in time; and all is well afterwards."""
    require_readable(bench)
    inputs = bench.inputs(_VECTORS, seed=23)
    identity = bench.chip.identify()
    reference = bench.read(_FOUR, inputs)
    with _behind_relay(bench) as (relay, chip):
        limit_s = _limit_s(bench)
        spoil(relay)
        start = time.monotonic()
        try:
            counts = bench.read(_FOUR, inputs, chip=chip)
            outcome = "made good"
        except HilError as error:
            counts, outcome = None, type(error).__name__
        except Exception as error:
            raise FailedError(f"must be an error of this project, got {shown(error)}") from error
        took_s = time.monotonic() - start
        expect(holds=took_s <= limit_s, otherwise=f"took {took_s:.1f} s: at most {limit_s:.1f} s")
        if counts is not None:
            _expect_like(bench, counts, reference, "what was read all the same")
        relay.answer_rubbish(None)
    _expect_well(bench, identity, inputs, reference)
    return f"{outcome} after {took_s:.2f} s; a new connection reads right"


def _expect_well(
    bench: Workbench,
    identity: object,
    inputs: npt.NDArray[np.int8],
    reference: npt.NDArray[np.uint16],
) -> None:
    expect(holds=bench.chip.identify() == identity, otherwise="a new connection is to another chip")
    _expect_like(bench, bench.read(_FOUR, inputs), reference, "over a new connection")


def _expect_like(
    bench: Workbench,
    counts: npt.NDArray[np.uint16],
    reference: npt.NDArray[np.uint16],
    when: str,
) -> None:
    check_counts(bench, counts, len(reference), _FOUR)
    distance = np.abs(counts.astype(np.int64)[:, None] - reference.astype(np.int64)[None])
    nearest = distance.sum(axis=(2, 3)).argmin(axis=1)
    # Noise apart it is the same; another request's counts are as far off as those of other vectors.
    others = np.abs(np.diff(reference.astype(np.int64), axis=0)).sum(axis=(1, 2)).min()
    own = distance.sum(axis=(2, 3)).diagonal().max()
    expect(
        holds=bool((nearest == np.arange(len(reference))).all()) and own < max(1, others),
        otherwise=f"{when}: the counts are not those of its inputs",
    )


def _requests(bench: Workbench, chip: Chip) -> dict[str, Callable[[], object]]:
    return {
        "identify": chip.identify,
        "temperature_c": lambda: chip.temperature_c(bench.core, _FOUR),
        "read_counts": lambda: chip.read_counts(bench.core, _FOUR, bench.inputs(1)),
    }


def _time_out(name: str, ask: Callable[[], object], limit_s: float) -> float:
    start = time.monotonic()
    try:
        ask()
    except TransportTimeoutError:
        took_s = time.monotonic() - start
        expect(
            holds=took_s <= limit_s,
            otherwise=f"{name}: TransportTimeoutError after {took_s:.1f} s: {limit_s:.1f} s at "
            "most",
        )
        return took_s
    except Exception as error:
        message = f"{name}: must be a TransportTimeoutError, got {shown(error)}"
        raise FailedError(message) from error
    raise FailedError(f"{name}: was answered by a device that is silent")


@contextmanager
def _behind_relay(bench: Workbench, *, patient: bool = False) -> Iterator[tuple[Relay, Chip]]:
    resource = _address(bench)
    options = ChipOptions(timeout_s=bench.plan.timeout_s) if patient else _options(bench)
    bench.let_go()
    with Relay(resource) as relay:
        chip = bench.open(relay.resource, options=options)
        try:
            yield relay, chip
        finally:
            relay.release()
            relay.close()  # first, so that closing the chip cannot wait for an answer
            with suppress(HilError):
                chip.close()


def _address(bench: Workbench) -> str:
    resource = bench.plan.resource
    if tcp_address(resource) is None:
        raise SkippedError("the resource names no host and port to stand in front of")
    return resource


def _options(bench: Workbench) -> ChipOptions:
    return ChipOptions(timeout_s=_timeout_s(bench), recovery_s=_RECOVERY_S)


def _timeout_s(bench: Workbench) -> float:
    if bench.answer_s is None:
        bench.answer_s = bench.seconds_of(lambda: _ask_something(bench))
    return min(bench.plan.timeout_s, max(_SHORTEST_TIMEOUT_S, _LINK_TIMEOUTS * bench.answer_s))


def _limit_s(bench: Workbench) -> float:
    # A fault is noticed after one timeout, and the last request may have just begun at the end.
    return 2 * _timeout_s(bench) + _RECOVERY_S + _SLACK_S


def _ask_something(bench: Workbench) -> None:
    bench.chip.identify()
    if bench.has_readable_core():
        bench.read(_FOUR, bench.inputs(_VECTORS))
    bench.let_go()
    bench.chip.identify()


LINK_CHECKS = (
    Check("answers that arrive in pieces are read", _reads_pieces),
    Check("a silent device is a TransportTimeoutError in time", _times_out_in_time),
    Check("so is one that is silent from the start", _times_out_when_connecting),
    Check("a late answer is not taken for the next one's", _drops_late_answers),
    Check("a link that breaks is made good, or an error", _survives_a_cut),
    Check("half an answer is made good, or an error", _survives_half_an_answer),
    Check("rubbish for an answer is made good, or an error", _survives_rubbish),
    Check("endless rubbish ends in time", _survives_a_flood),
)
