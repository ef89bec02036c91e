"""What surrounds a chip and what passes: the side of it that bench instruments reach."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Environment(Protocol):
    """Temperature, read voltage and time of a simulated chip.

    A mock thermal chamber and a mock supply act on the chip through it; a recorded chip has none.
    """

    @property
    def ambient_c(self) -> float:
        """Temperature of the chip, degrees Celsius."""
        ...

    @property
    def read_voltage_v(self) -> float:
        """Voltage that the array is read with."""
        ...

    @property
    def read_voltages_v(self) -> tuple[float, float]:
        """Least and largest read voltage that `set_read_voltage` takes."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Simulated time since the chip was made, seconds."""
        ...

    def set_temperature(self, celsius: float) -> None:
        """Bring the chip to a temperature; ValueError if it lies outside -100 ... 300 degrees."""
        ...

    def set_read_voltage(self, volts: float) -> None:
        """Read with another voltage; ValueError if it lies outside the range of the profile."""
        ...

    def advance_time(self, seconds: float) -> None:
        """Let time pass; ValueError if it is negative or not finite."""
        ...
