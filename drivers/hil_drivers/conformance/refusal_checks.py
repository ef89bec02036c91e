"""What cannot be done is refused, with a number, and nothing else suffers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil_drivers.conformance.check import Check, SkippedError, expect, refusal
from hil_drivers.conformance.nmpu_checks import registers_of
from hil_drivers.conformance.readout_checks import check_counts, require_readable
from hil_drivers.conformance.workbench import Workbench, lacks_hardware

_FOUR = ReadMode.FOUR_PHASE


def _refuses_cores_that_are_not_there(bench: Workbench) -> str:
    chip, size = bench.chip, bench.geometry
    fmt = NmpuFormat()
    inputs, registers = bench.inputs(1), registers_of(bench, fmt)
    asked: dict[str, Callable[[int], object]] = {
        "read_counts": lambda core: chip.read_counts(core, _FOUR, inputs),
        "read_corrected": lambda core: chip.read_corrected(core, _FOUR, inputs),
        "read_corrected_with_counts": lambda core: chip.read_corrected_with_counts(
            core, _FOUR, inputs
        ),
        "write_nmpu": lambda core: chip.write_nmpu(core, _FOUR, fmt, registers),
        "read_nmpu": lambda core: chip.read_nmpu(core, _FOUR),
        "temperature_c": lambda core: chip.temperature_c(core, _FOUR),
    }
    if bench.may_program():
        weights = np.zeros((size.rows, size.columns), np.int8)
        asked["program"] = lambda core: chip.program(core, weights)
    refused = [
        refusal(f"{name} of core {core}", partial(ask, core), by_driver=False)
        for core in (size.cores, 70_000, -1)
        for name, ask in asked.items()
    ]
    _still_measures(bench)
    return f"{len(refused)} requests refused with {', '.join(dict.fromkeys(refused))}"


def _refuses_wrong_shapes(bench: Workbench) -> str:
    chip, rows, columns = bench.chip, bench.geometry.rows, bench.geometry.columns
    asked: dict[str, Callable[[], object]] = {
        "inputs of one row too many": lambda: chip.read_counts(
            bench.core, _FOUR, np.zeros((2, rows + 1), np.int8)
        ),
        "inputs of one row too few": lambda: chip.read_counts(
            bench.core, _FOUR, np.zeros((2, rows - 1), np.int8)
        ),
    }
    if bench.may_program():
        asked["weights with rows and columns exchanged, or one too many"] = lambda: chip.program(
            bench.core,
            np.zeros((columns, rows) if rows != columns else (rows, columns + 1), np.int8),
        )
    refused = [refusal(what, ask, by_driver=True) for what, ask in asked.items()]
    _still_measures(bench)
    return f"{len(refused)} requests refused: {', '.join(dict.fromkeys(refused))}"


def _refuses_the_lowest_code(bench: Workbench) -> str:
    inputs = bench.inputs(2)
    inputs[1, 0] = -128
    asked: dict[str, Callable[[], object]] = {
        "an input of -128": lambda: bench.chip.read_counts(bench.core, _FOUR, inputs)
    }
    if bench.may_program():
        weights = bench.weights_to_work_with()
        weights[0, 0] = -128
        asked["a weight of -128"] = lambda: bench.chip.program(bench.core, weights)
    refused = [refusal(what, ask, by_driver=True) for what, ask in asked.items()]
    _still_measures(bench)
    return f"{', '.join(asked)}: {', '.join(dict.fromkeys(refused))}"


def _refuses_registers_that_do_not_fit(bench: Workbench) -> str:
    fmt = NmpuFormat()
    registers = registers_of(bench, fmt)
    try:
        bench.chip.write_nmpu(bench.core, _FOUR, fmt, registers)
    except DeviceError as error:
        if lacks_hardware(error):
            raise SkippedError(f"the chip has no NMPU: {error}") from error
        raise
    beyond = replace(registers, offset=np.full_like(registers.offset, 128))
    how = refusal(
        "an offset of 128 in a register of 8 bits",
        lambda: bench.chip.write_nmpu(bench.core, _FOUR, fmt, beyond),
        by_driver=True,
    )
    return f"an offset of 128 in a register of 8 bits: {how}"


def _still_measures(bench: Workbench) -> None:
    if not bench.has_readable_core():
        return
    check_counts(bench, bench.read(_FOUR, bench.inputs(3)), 3, _FOUR)


def _measures_after_a_refusal(bench: Workbench) -> str:
    require_readable(bench)
    inputs = bench.inputs(3, seed=9)
    before = bench.read(_FOUR, inputs).astype(np.int64)
    for _ in range(3):
        refusal(
            "reading a core that is not there",
            lambda: bench.chip.read_counts(bench.geometry.cores, _FOUR, inputs),
            by_driver=False,
        )
        counts = bench.read(_FOUR, inputs)
        check_counts(bench, counts, 3, _FOUR)
        distance = np.abs(counts.astype(np.int64)[:, None] - before[None]).sum(axis=(2, 3))
        expect(
            holds=bool((distance.argmin(axis=1) == np.arange(3)).all()),
            otherwise="after a refusal the same inputs give other counts",
        )
    return "three times a refusal, then a readout like the one before"


REFUSAL_CHECKS = (
    Check("a core that is not there is refused, with a number", _refuses_cores_that_are_not_there),
    Check("arrays of the wrong shape are refused", _refuses_wrong_shapes),
    Check("the code -128 is refused", _refuses_the_lowest_code),
    Check(
        "registers that the format does not hold are refused", _refuses_registers_that_do_not_fit
    ),
    Check("it measures on after a refusal", _measures_after_a_refusal),
)
