"""The mock bench behind real sockets, in a time that the test owns."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hil_mock_device.bench_instruments.bench import MockBench
from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.listening import listening_in_a_thread


@dataclass
class RecordingChip:
    """Remembers what the bench did to the chip."""

    temperatures_c: list[float] = field(default_factory=list)
    fed_v: list[float] = field(default_factory=list)
    ambient_c: float = 25.0
    read_voltage_v: float = 0.2
    read_voltages_v: tuple[float, float] = (0.0, 5.0)
    elapsed_s: float = 0.0

    def set_temperature(self, celsius: float) -> None:
        self.temperatures_c.append(celsius)

    def set_read_voltage(self, volts: float) -> None:
        self.fed_v.append(volts)

    def advance_time(self, seconds: float) -> None:
        self.elapsed_s += seconds


class OwnTime(BenchTime):
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0, speed=0.0)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.advance(seconds)


@dataclass(frozen=True)
class ServedBench:
    """A bench, and where its instruments are."""

    bench: MockBench
    chip: RecordingChip
    time: OwnTime
    chamber: str
    supply: str


def new_bench(time: BenchTime) -> tuple[MockBench, RecordingChip]:
    chip = RecordingChip()
    return MockBench(chip, seed=1, time=time), chip


@contextmanager
def served_bench() -> Iterator[ServedBench]:
    time = OwnTime()
    bench, chip = new_bench(time)
    with listening_in_a_thread(bench.conversations()) as resources:
        yield ServedBench(
            bench=bench,
            chip=chip,
            time=time,
            chamber=resources["chamber"],
            supply=resources["supply"],
        )
