"""The commands of chamber and supply; ``docs/reference/instruments.md`` lists them."""

from collections.abc import Callable

from hil_drivers.scpi import ScpiError
from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.plain_instrument import (
    Command,
    PlainInstrument,
    number,
    switch,
)
from hil_mock_device.bench_instruments.power_supply import PowerSupply
from hil_mock_device.bench_instruments.thermal_chamber import ThermalChamber
from hil_mock_device.firmware.call import refusal


def chamber_instrument(
    chamber: ThermalChamber,
    time: BenchTime,
    *,
    advance: Callable[[float], None],
    reset_c: float,
) -> PlainInstrument:
    """Return the chamber as a SCPI instrument.

    Parameters
    ----------
    chamber
        The chamber.
    time
        The time on the bench.
    advance
        Lets so many seconds pass; ValueError if that cannot be.
    reset_c
        Setpoint after ``*RST``, degrees Celsius.
    """

    def reset() -> None:
        chamber.set(reset_c)
        chamber.switch(on=True)

    return PlainInstrument(
        "aimc-hil,mock-chamber,0,1.0",
        {
            "TEMPerature:SETPoint": _telling(chamber.set),
            "TEMPerature:SETPoint?": lambda _: repr(chamber.setpoint_c),
            "TEMPerature[:ACTual]?": lambda _: f"{chamber.reading_c():.4f}",
            "CHAMber:STATe": lambda given: chamber.switch(on=switch(given)),
            "CHAMber:STATe?": lambda _: str(int(chamber.is_on)),
            "SIMulation:TIME:ADVance": _telling(lambda seconds: _advance(advance, seconds)),
            "SIMulation:TIME?": lambda _: repr(time()),
        },
        reset=reset,
    )


def supply_instrument(supply: PowerSupply) -> PlainInstrument:
    """Return the supply as a SCPI instrument."""
    return PlainInstrument(
        "aimc-hil,mock-supply,0,1.0",
        {
            "[SOURce:]VOLTage[:LEVel]": _telling(supply.set_voltage),
            "[SOURce:]VOLTage[:LEVel]?": lambda _: repr(supply.voltage_v),
            "[SOURce:]CURRent[:LEVel]": _telling(supply.set_limit),
            "[SOURce:]CURRent[:LEVel]?": lambda _: repr(supply.limit_a),
            "[SOURce:]CURRent:PROTection:STATe": lambda given: supply.protect(on=switch(given)),
            "[SOURce:]CURRent:PROTection:STATe?": lambda _: str(int(supply.trips)),
            "[SOURce:]CURRent:PROTection:TRIPped?": lambda _: str(int(supply.has_tripped)),
            "[SOURce:]CURRent:PROTection:CLEar": lambda _: supply.clear_trip(),
            "OUTPut[:STATe]": lambda given: supply.switch(on=switch(given)),
            "OUTPut[:STATe]?": lambda _: str(int(supply.is_on)),
            "MEASure[:SCALar]:VOLTage?": lambda _: f"{supply.reading_v():.6E}",
            "MEASure[:SCALar]:CURRent?": lambda _: f"{supply.reading_a():.6E}",
            "SIMulation:LOAD": _telling(lambda ohm: _hang(supply, ohm)),
            "SIMulation:LOAD?": lambda _: repr(supply.load_ohm),
        },
        reset=supply.reset,
    )


def _telling(action: Callable[[float], None]) -> Command:
    def command(parameters: list[str]) -> None:
        action(number(parameters))

    return command


def _advance(advance: Callable[[float], None], seconds: float) -> None:
    try:
        advance(seconds)
    except ValueError as error:
        raise refusal(ScpiError.DATA_OUT_OF_RANGE, str(error)) from error


def _hang(supply: PowerSupply, ohm: float) -> None:
    if ohm <= 0:
        raise refusal(ScpiError.DATA_OUT_OF_RANGE, f"{ohm:g} ohm: must be > 0")
    supply.change_load(ohm)
