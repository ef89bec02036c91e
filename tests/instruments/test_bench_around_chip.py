"""The mock bench around the real chip model: what chamber and supply do to its counts."""

import numpy as np

from hil.core.readout import ReadMode
from hil_drivers.scpi import ScpiError
from hil_mock_device.bench_instruments.bench import MockBench
from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.choice import BenchChoice
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.environment import Environment
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.profile import MockProfile, ReadVoltageProfile, TemperatureProfile
from mock_bench import OwnTime
from small_profiles import ideal_profile

WEIGHTS = np.array([[100, 0], [0, 50], [0, 0]], dtype=np.int8)
INPUTS = np.array([[10, 10, 0]], dtype=np.int8)
"""Products 1000 and 500, so 1000 and 500 counts of P at the reference."""


def chip_of(profile: MockProfile) -> ChipModel:
    chip = ChipModel(profile)
    chip.program(0, WEIGHTS)
    return chip


def warm_profile() -> MockProfile:
    """Return an ideal chip that counts 0.5 % more per kelvin, and 1 % more per percent of volts."""
    return ideal_profile(drift={"factor": 0.0}).model_copy(
        update={
            "temperature": TemperatureProfile(
                gain_per_k=0.005, gain_sigma_per_k=0.0, offset_sigma_counts_per_k=0.0
            ),
            "read_voltage": ReadVoltageProfile(reference_v=0.2, lowest_v=0.1, highest_v=0.3),
        }
    )


def bench_around(chip: ChipModel) -> tuple[MockBench, OwnTime]:
    time = OwnTime()
    return MockBench(chip, seed=1, time=time), time


def tell(bench: MockBench, instrument: str, *messages: str) -> str:
    conversation = bench.conversations()[instrument]()
    data = "".join(f"{message}\n" for message in messages).encode()
    return b"".join(item for item in conversation.answers(data) if isinstance(item, bytes)).decode()


def counts(chip: ChipModel) -> list[int]:
    return [int(count) for count in chip.convert(0, ReadMode.ONE_PHASE, INPUTS)[0, 0]]


def test_chip_model_is_an_environment() -> None:
    assert isinstance(chip_of(warm_profile()), Environment)


def test_temperature_of_the_chamber_moves_the_counts_as_the_profile_says() -> None:
    chip = chip_of(warm_profile())
    bench, time = bench_around(chip)
    assert counts(chip) == [1000, 500]
    tell(bench, "chamber", "TEMP:SETP 45")
    time.advance(3600.0)
    bench.catch_up()
    # 20 K at 0.5 % per kelvin.
    assert counts(chip) == [1100, 550]
    tell(bench, "chamber", "TEMP:SETP 5")
    time.advance(3600.0)
    bench.catch_up()
    assert counts(chip) == [900, 450]


def test_chip_lags_behind_the_chamber() -> None:
    chip = chip_of(warm_profile())
    bench, time = bench_around(chip)
    tell(bench, "chamber", "TEMP:SETP 45")
    time.advance(20.0)
    bench.catch_up()
    assert 25.0 < chip.ambient_c < bench.chamber.air_c() < 45.0
    assert 1000 < counts(chip)[0] < 1100


def test_voltage_of_the_supply_moves_the_counts_as_the_profile_says() -> None:
    chip = chip_of(warm_profile())
    bench, _ = bench_around(chip)
    tell(bench, "supply", "VOLT 0.25")
    assert counts(chip) == [1250, 625]
    tell(bench, "supply", "VOLT 0.1")
    assert counts(chip) == [500, 250]


def test_chip_takes_the_nearest_voltage_in_its_range() -> None:
    chip = chip_of(warm_profile())
    bench, _ = bench_around(chip)
    tell(bench, "supply", "VOLT 5")
    assert counts(chip) == [1500, 750]
    tell(bench, "supply", "OUTP OFF")
    assert counts(chip) == [500, 250]
    assert tell(bench, "supply", "SYST:ERR?") == '0,"No error"\n'
    tell(bench, "supply", "VOLT 0.25", "OUTP ON")
    assert counts(chip) == [1250, 625]


def test_only_time_that_a_client_lets_pass_ages_the_chip() -> None:
    chip = chip_of(ideal_profile())
    bench, time = bench_around(chip)
    fresh = counts(chip)
    time.advance(1e6)
    bench.catch_up()
    assert (counts(chip), chip.elapsed_s) == (fresh, 0.0)
    tell(bench, "chamber", "SIM:TIME:ADV 1000000")
    assert chip.elapsed_s == 1e6
    assert counts(chip)[0] < fresh[0]
    assert time() == 2e6


def test_time_that_cannot_pass_is_refused_and_ages_nothing() -> None:
    chip = chip_of(ideal_profile())
    bench, _ = bench_around(chip)
    tell(bench, "chamber", "SIM:TIME:ADV -1")
    error = tell(bench, "chamber", "SYST:ERR?")
    assert error.startswith(f"{int(ScpiError.DATA_OUT_OF_RANGE)},")
    assert chip.elapsed_s == 0.0


def test_client_of_the_chip_finds_it_as_the_bench_has_made_it() -> None:
    chip = ChipModel(warm_profile())
    served = BenchChoice(chamber="127.0.0.1:0", supply="127.0.0.1:0", speed=0.0).around(
        chip, seed=0
    )
    assert served is not None
    firmware = Firmware(chip)
    conversation = served.around(lambda: MockDevice(firmware))()
    tell(served.bench, "chamber", "TEMP:SETP 45", "SIM:TIME:ADV 3600")
    answers = b"".join(item for item in conversation.answers(b"*IDN?\n") if isinstance(item, bytes))
    assert answers.startswith(b"aimc-hil,mock-chip,")
    assert round(chip.ambient_c, 6) == 45.0


def test_bench_time_runs_at_its_speed() -> None:
    now = [10.0]
    time = BenchTime(lambda: now[0], speed=200.0)
    now[0] += 0.5
    assert time() == 100.0
