"""Reset, safe, close, and coming back."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError, TransportError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil_drivers.chip_driver import ChipOptions
from hil_drivers.conformance.check import Check, FailedError, SkippedError, expect, shown
from hil_drivers.conformance.nmpu_checks import registers_of
from hil_drivers.conformance.readout_checks import check_counts, require_readable, require_weights
from hil_drivers.conformance.workbench import Workbench, lacks_hardware

_FOUR = ReadMode.FOUR_PHASE
_CONNECTIONS = 10
_SLACK_S = 1.0
"""For a busy host."""
_LEAST_CORRELATION = 0.5


def _reset_keeps_weights(bench: Workbench) -> str:
    require_weights(bench)
    inputs = bench.inputs(32, seed=10)
    before = _net(bench, inputs)
    bench.chip.reset()
    bench.chip.reset()
    found = _likeness(before, _net(bench, inputs))
    return f"readouts before and after two resets correlate by {found:.3f}"


def _reconnecting_keeps_weights(bench: Workbench) -> str:
    require_weights(bench)
    inputs = bench.inputs(32, seed=11)
    before = _net(bench, inputs)
    bench.let_go()
    found = _likeness(before, _net(bench, inputs))
    return f"readouts of two connections correlate by {found:.3f}"


def _tells_what_it_holds(bench: Workbench) -> str:
    weights = require_weights(bench)
    if getattr(bench.chip, "holds", None) is None:
        raise SkippedError("the driver has no holds: hil resume will program again")
    others = weights.copy()
    others[-1, -1] = -1 if others[-1, -1] == 1 else 1
    for connection in ("that programmed it", "made anew"):
        ask = bench.chip.holds  # type: ignore[attr-defined]  # a driver need not have it
        for held, due in ((weights, True), (others, False)):
            told = ask(bench.core, held)
            what = "the weights it was given" if due else "weights that differ in one cell"
            expect(
                holds=isinstance(told, bool | np.bool_) and bool(told) is due,
                otherwise=f"holds by the connection {connection}: {told!r} of {what}, {due} is due",
            )
        bench.let_go()
    return f"true of its own weights, false of others, by two connections; {_count(bench)}"


def _count(bench: Workbench) -> str:
    ask = getattr(bench.chip, "times_programmed", None)
    if ask is None:
        return "the driver has no times_programmed"
    before = ask(bench.core)
    bench.program(bench.weights_to_work_with())
    after = ask(bench.core)
    expect(
        holds=after == before + 1,
        otherwise=f"times_programmed is {before} before programming once, {after} after it",
    )
    return f"times_programmed counts: {after}"


def _is_safe_in_every_state(bench: Workbench) -> str:
    states: dict[str, Callable[[], object]] = {
        "just connected": bench.let_go,
        "made safe": lambda: None,
        "reset": lambda: bench.chip.reset(),  # noqa: PLW0108 - of the chip that is open then
    }
    if bench.has_readable_core():
        states["after a readout"] = lambda: bench.read(_FOUR, bench.inputs(3))
        states["with the NMPU on"] = lambda: _correct(bench)
    states["after a refusal"] = lambda: _refused(bench)
    for state, bring_about in states.items():
        bring_about()
        for time_ in ("once", "twice"):
            try:
                bench.chip.safe()
            except Exception as error:
                raise FailedError(f"{state}, {time_}: {shown(error)}") from error
    return ", ".join(states)


def _measures_when_safe(bench: Workbench) -> str:
    require_readable(bench)
    bench.chip.safe()
    for read_mode in ReadMode:
        check_counts(bench, bench.read(read_mode, bench.inputs(2)), 2, read_mode)
    return "both read modes"


def _closes_twice(bench: Workbench) -> str:
    for prepare in (lambda _: None, lambda chip: chip.safe()):
        chip = bench.open()
        prepare(chip)
        chip.close()
        chip.close()
    return "just connected, and safe"


def _is_closed_for_good(bench: Workbench) -> str:
    size = bench.geometry
    inputs = bench.inputs(1)
    fmt = NmpuFormat()
    chip = bench.open(options=ChipOptions(timeout_s=bench.plan.timeout_s, recovery_s=_SLACK_S))
    chip.close()
    asked: dict[str, Callable[[], object]] = {
        "identify": chip.identify,
        "reset": chip.reset,
        "program": lambda: chip.program(bench.core, np.zeros((size.rows, size.columns), np.int8)),
        "read_counts": lambda: chip.read_counts(bench.core, _FOUR, inputs),
        "read_corrected": lambda: chip.read_corrected(bench.core, _FOUR, inputs),
        "read_corrected_with_counts": lambda: chip.read_corrected_with_counts(
            bench.core, _FOUR, inputs
        ),
        "latched_counts": lambda: chip.latched_counts(bench.core, _FOUR, 1),
        "write_nmpu": lambda: chip.write_nmpu(bench.core, _FOUR, fmt, registers_of(bench, fmt)),
        "read_nmpu": lambda: chip.read_nmpu(bench.core, _FOUR),
        "temperature_c": lambda: chip.temperature_c(bench.core, _FOUR),
        "safe": chip.safe,
    }
    slowest = 0.0
    for name, ask in asked.items():
        start = time.monotonic()
        try:
            ask()
        except DeviceError as error:
            if not lacks_hardware(error):
                message = f"{name} after close: must be a TransportError, got {shown(error)}"
                raise FailedError(message) from error
        except TransportError:
            slowest = max(slowest, time.monotonic() - start)
        except Exception as error:
            message = f"{name} after close: must be a TransportError, got {shown(error)}"
            raise FailedError(message) from error
        else:
            raise FailedError(f"{name} after close: did not fail")
    return f"{len(asked)} methods raise TransportError, the slowest after {slowest:.2f} s"


def _connects_again_and_again(bench: Workbench) -> str:
    bench.let_go()
    start = time.monotonic()
    for _ in range(_CONNECTIONS):
        chip = bench.open()
        try:
            chip.identify()
        finally:
            chip.close()
    each_s = (time.monotonic() - start) / _CONNECTIONS
    return f"{_CONNECTIONS} connections, {1000 * each_s:.0f} ms each"


def _net(bench: Workbench, inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    counts = bench.read(_FOUR, inputs).astype(np.int64)
    return counts[:, 0] - counts[:, 1]


def _likeness(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> float:
    found = float(np.corrcoef(before.ravel(), after.ravel())[0, 1]) if before.std() else 0.0
    expect(
        holds=found >= _LEAST_CORRELATION,
        otherwise=f"readouts before and after correlate by {found:.2f}: the weights are not kept",
    )
    return found


def _correct(bench: Workbench) -> None:
    fmt = NmpuFormat()
    try:
        bench.chip.write_nmpu(bench.core, _FOUR, fmt, registers_of(bench, fmt))
        bench.chip.read_corrected(bench.core, _FOUR, bench.inputs(2))
    except DeviceError:
        return  # a chip without an NMPU


def _refused(bench: Workbench) -> None:
    try:
        bench.chip.temperature_c(bench.geometry.cores, _FOUR)
    except DeviceError:
        return


STATE_CHECKS = (
    Check("a reset keeps the weights", _reset_keeps_weights),
    Check("a new connection finds the weights", _reconnecting_keeps_weights),
    Check("it can be made safe in every state, and twice", _is_safe_in_every_state),
    Check("it measures on request when safe", _measures_when_safe),
    Check("closing twice is no error", _closes_twice),
    Check("a closed chip raises TransportError", _is_closed_for_good),
    Check("it can be connected to again and again", _connects_again_and_again),
    Check("it tells whether a core still holds its weights", _tells_what_it_holds),
)
