"""Who a chip is, how large, how warm."""

import math
from dataclasses import fields

from hil.core.readout import ChipIdentity, ReadMode
from hil_drivers.conformance.check import Check, expect
from hil_drivers.conformance.workbench import Workbench

_CONNECTIONS = 5
_ABSOLUTE_ZERO_C = -273.15
_HOTTEST_C = 400.0
"""No chip measures above."""
_MOST_COUNTER_BITS = 16
"""Counts are uint16."""


def _identifies(bench: Workbench) -> str:
    identity = bench.chip.identify()
    expect(holds=isinstance(identity, ChipIdentity), otherwise=f"answered {identity!r}")
    for field in fields(identity):
        text = getattr(identity, field.name)
        expect(holds=isinstance(text, str), otherwise=f"{field.name} is {text!r}, no text")
        expect(holds=bool(text.strip()), otherwise=f"{field.name} is empty")
        expect(holds=text.isprintable(), otherwise=f"{field.name} is {text!r}: not printable")
    return str(identity)


def _is_the_same_again(bench: Workbench) -> str:
    first = bench.chip.identify()
    for number in range(2, _CONNECTIONS + 1):
        bench.let_go()
        identity = bench.chip.identify()
        expect(
            holds=identity == first,
            otherwise=f"connection 1: {first}; connection {number}: {identity}",
        )
        expect(
            holds=bench.chip.identify() == first,
            otherwise=f"asked twice on connection {number}, it answered two things",
        )
    return f"{_CONNECTIONS} connections, one after the other"


def _has_a_size(bench: Workbench) -> str:
    geometry = bench.chip.geometry()
    for field in fields(geometry):
        number = getattr(geometry, field.name)
        expect(
            holds=isinstance(number, int) and number >= 1,
            otherwise=f"{field.name} is {number!r}: must be a whole number of at least 1",
        )
    expect(
        holds=geometry.counter_bits <= _MOST_COUNTER_BITS,
        otherwise=f"counter_bits is {geometry.counter_bits}: must be at most {_MOST_COUNTER_BITS}",
    )
    again = bench.chip.geometry()
    expect(holds=again == geometry, otherwise=f"asked twice: {geometry} and {again}")
    return (
        f"{geometry.cores} cores of {geometry.rows} x {geometry.columns}, counters of "
        f"{geometry.counter_bits} bits, {geometry.max_vectors} vectors at once"
    )


def _has_a_temperature(bench: Workbench) -> str:
    seen = []
    for core in {0, bench.geometry.cores - 1}:
        for read_mode in ReadMode:
            celsius = bench.chip.temperature_c(core, read_mode)
            where = f"core {core}, {read_mode}: {celsius!r}"
            expect(holds=isinstance(celsius, int | float), otherwise=f"{where} is no number")
            expect(holds=math.isfinite(celsius), otherwise=f"{where} is not finite")
            expect(
                holds=_ABSOLUTE_ZERO_C < celsius < _HOTTEST_C,
                otherwise=f"{where}: must be above {_ABSOLUTE_ZERO_C}, below {_HOTTEST_C:g}",
            )
            seen.append(celsius)
    return f"{min(seen):.1f} to {max(seen):.1f} degrees Celsius"


IDENTITY_CHECKS = (
    Check("it says who it is, in four printable fields", _identifies),
    Check("it is the same chip on every connection", _is_the_same_again),
    Check("it says how large it is", _has_a_size),
    Check("it has a temperature", _has_a_temperature),
)
