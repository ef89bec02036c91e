"""The mock bench: chamber and supply, coupled to the mock chip."""

from collections.abc import Callable, Iterator, Mapping

from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.instrument_commands import (
    chamber_instrument,
    supply_instrument,
)
from hil_mock_device.bench_instruments.plain_instrument import PlainConversation
from hil_mock_device.bench_instruments.power_supply import PowerSupply, SupplyKind
from hil_mock_device.bench_instruments.thermal_chamber import ChamberKind, ThermalChamber
from hil_mock_device.conversation import Conversation, Outgoing, RelayedConversation
from hil_mock_device.environment import Environment


class MockBench:
    """Chamber and supply around one chip.

    Nothing is done to the chip before somebody changes something: with the bench untouched, the
    chip is the one of its profile, to the bit. Time that passes does not age the chip, so that runs
    can be repeated; time that a client lets pass by ``SIMulation:TIME:ADVance`` does.

    Parameters
    ----------
    chip
        What they act on. The chamber starts at its temperature, the supply at its read voltage with
        the output on.
    seed
        Seed of the noise of the readings.
    time
        The time on the bench.
    chamber_kind, supply_kind
        What kind of instruments.
    """

    def __init__(
        self,
        chip: Environment,
        *,
        seed: int,
        time: BenchTime,
        chamber_kind: ChamberKind | None = None,
        supply_kind: SupplyKind | None = None,
    ) -> None:
        self._chip = chip
        self._time = time
        temperature_c, read_voltage_v = chip.ambient_c, chip.read_voltage_v
        self.chamber = ThermalChamber(
            chamber_kind or ChamberKind(), start_c=temperature_c, seed=seed, clock=time
        )
        """The thermal chamber."""
        self.supply = PowerSupply(
            supply_kind or SupplyKind(), start_v=read_voltage_v, seed=seed, clock=time
        )
        """The power supply."""
        self._temperature_c = temperature_c
        self._read_voltage_v = read_voltage_v
        self._instruments = {
            "chamber": chamber_instrument(
                self.chamber, time, advance=self.let_pass, reset_c=temperature_c
            ),
            "supply": supply_instrument(self.supply),
        }

    def catch_up(self) -> None:
        """Bring the chip to what the bench does to it now."""
        temperature_c, read_voltage_v = self.chamber.chip_c(), self.supply.output_v()
        if temperature_c != self._temperature_c:
            self._chip.set_temperature(temperature_c)
            self._temperature_c = temperature_c
        if read_voltage_v != self._read_voltage_v:
            self._feed(read_voltage_v)
            self._read_voltage_v = read_voltage_v

    def let_pass(self, seconds: float) -> None:
        """Let time pass for chip and instruments; ValueError if it is negative or not finite."""
        self._time.advance(seconds)
        self._chip.advance_time(seconds)

    def conversations(self) -> Mapping[str, Callable[[], Conversation]]:
        """Return what makes a conversation with each instrument, by name."""

        def conversation_with(name: str) -> Callable[[], Conversation]:
            return lambda: self.coupled(PlainConversation(self._instruments[name]))

        return {name: conversation_with(name) for name in self._instruments}

    def coupled(self, conversation: Conversation) -> Conversation:
        """Return a conversation with the chip or an instrument that finds the bench up to date."""
        return RelayedConversation(conversation, self._caught_up)

    def _caught_up(self, items: Iterator[Outgoing]) -> Iterator[Outgoing]:
        self.catch_up()
        for item in items:
            yield item
            self.catch_up()
        self.catch_up()

    def _feed(self, volts: float) -> None:
        # The model says nothing of a chip that is fed with less, by a supply that is off for one,
        # or with more: its input stage gives the array the nearest voltage in its range.
        lowest_v, highest_v = self._chip.read_voltages_v
        self._chip.set_read_voltage(min(max(volts, lowest_v), highest_v))
