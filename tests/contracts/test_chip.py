"""What implementing `hil_drivers.chip.Chip` means: the same over every carrier.

The chip has three cores of 16 x 8. By agreement of these tests core 0 is programmed and has NMPU
registers, core 1 is programmed only, and core 2 is never touched.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import contract_chip
from hil.core.errors import DeviceError, LinkLostError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ReadMode
from hil_drivers.chip import Chip
from hil_drivers.connect import board_over
from hil_mock_device.launch import MockProcess

CORE, UNCORRECTED_CORE, UNTOUCHED_CORE = 0, 1, 2
ROWS, COLUMNS = 16, 8
MODES = [ReadMode.ONE_PHASE, ReadMode.FOUR_PHASE]

modes = pytest.mark.parametrize("read_mode", MODES)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return contract_chip.write_profile(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def process(profile: Path) -> Iterator[MockProcess]:
    with contract_chip.start_process(profile) as process:
        yield process


@pytest.fixture(scope="module", params=contract_chip.CARRIERS)
def connect(request: pytest.FixtureRequest, profile: Path) -> Callable[[], Chip]:
    """How to connect to the chip."""
    carrier = str(request.param)
    if carrier == "loopback":
        return lambda: board_over(contract_chip.open_loopback(profile), 10.0)
    process: MockProcess = request.getfixturevalue("process")
    return lambda: board_over(contract_chip.open_carrier(carrier, process, 10), 10.0, first_tag=77)


@pytest.fixture(scope="module")
def connected(connect: Callable[[], Chip]) -> Iterator[Chip]:
    chip = connect()
    weights = np.full((ROWS, COLUMNS), 100, dtype=np.int8)
    weights[:, COLUMNS // 2 :] = -100
    chip.program(CORE, weights)
    chip.program(UNCORRECTED_CORE, weights)
    yield chip
    chip.close()


@pytest.fixture
def chip(connected: Chip) -> Chip:
    """The chip at its power-on settings; columns 0 to 3 hold 100 in every row, 4 to 7 hold -100."""
    connected.reset()
    return connected


def driven(value: int, vectors: int = 1) -> npt.NDArray[np.int8]:
    """Return input vectors that drive every row alike."""
    return np.full((vectors, ROWS), value, dtype=np.int8)


def unity_registers() -> NmpuRegisters:
    """Return registers with scales 1 and offset 0, so that the output is P - N within int8."""
    return NmpuRegisters(
        scale_p=np.full(COLUMNS, 128, np.uint8),
        scale_n=np.full(COLUMNS, 128, np.uint8),
        offset=np.zeros(COLUMNS, np.int16),
        swap=np.zeros(COLUMNS, np.bool_),
    )


def test_it_says_who_it_is(chip: Chip) -> None:
    assert str(chip.identify()) == "aimc-hil mock-chip, serial S-1, firmware 1.0"


def test_it_says_how_large_it_is(chip: Chip) -> None:
    assert chip.geometry() == ChipGeometry(
        cores=3, rows=16, columns=8, counter_bits=12, max_vectors=4096
    )


@modes
@pytest.mark.parametrize("vectors", [1, 2, 4096])
def test_counts_have_a_place_for_every_vector_polarity_and_column(
    chip: Chip, read_mode: ReadMode, vectors: int
) -> None:
    counts = chip.read_counts(CORE, read_mode, driven(10, vectors))
    assert (counts.dtype, counts.shape) == (np.dtype(np.uint16), (vectors, 2, COLUMNS))


@modes
def test_positive_products_count_in_p_and_negative_ones_in_n(
    chip: Chip, read_mode: ReadMode
) -> None:
    # 16 rows * 100 * 100 = 160,000 of the 200,000 products that make 420 counts: about 336.
    positive, negative = chip.read_counts(CORE, read_mode, driven(100))[0].astype(int)
    assert (positive[:4] > 200).all()
    assert (negative[4:] > 200).all()
    assert (positive[4:] < 50).all()
    assert (negative[:4] < 50).all()


@modes
def test_vectors_keep_their_order(chip: Chip, read_mode: ReadMode) -> None:
    inputs = np.concatenate([driven(120), driven(0), driven(-120), driven(60)])
    counts = chip.read_counts(CORE, read_mode, inputs).astype(int)
    net = counts[:, 0, 0] - counts[:, 1, 0]
    assert np.argsort(-net).tolist() == [0, 3, 1, 2]


@modes
def test_latched_counts_are_those_just_read(chip: Chip, read_mode: ReadMode) -> None:
    counts = chip.read_counts(CORE, read_mode, driven(77, 5))
    np.testing.assert_array_equal(chip.latched_counts(CORE, read_mode, 5), counts)
    np.testing.assert_array_equal(chip.latched_counts(CORE, read_mode, 5), counts)


@modes
def test_corrected_outputs_come_from_the_latched_counts(chip: Chip, read_mode: ReadMode) -> None:
    chip.write_nmpu(CORE, read_mode, NmpuFormat(), unity_registers())
    inputs = np.concatenate([driven(value) for value in range(-100, 101, 10)])
    outputs = chip.read_corrected(CORE, read_mode, inputs)
    counts = chip.latched_counts(CORE, read_mode, len(inputs)).astype(int)
    assert outputs.dtype == np.int8
    expected = [
        [max(-128, min(127, p - n)) for p, n in zip(*vector, strict=True)]
        for vector in counts.tolist()
    ]
    assert outputs.tolist() == expected


@modes
@pytest.mark.parametrize("fmt", [NmpuFormat(), NmpuFormat(shift=3, merge="per_branch")])  # type: ignore[arg-type]
def test_nmpu_settings_are_read_back_as_written(
    chip: Chip, read_mode: ReadMode, fmt: NmpuFormat
) -> None:
    registers = NmpuRegisters(
        scale_p=np.arange(0, 256, 32, dtype=np.uint8),
        scale_n=np.arange(255, 0, -32, dtype=np.uint8),
        offset=np.array([-128, -1, 0, 1, 127, 5, 6, 7], np.int16),
        swap=np.arange(COLUMNS) % 2 == 0,
    )
    chip.write_nmpu(CORE, read_mode, fmt, registers)
    assert chip.read_nmpu(CORE, read_mode) == (fmt, registers)


def test_read_modes_have_settings_of_their_own(chip: Chip) -> None:
    for shift, read_mode in enumerate(MODES):
        chip.write_nmpu(CORE, read_mode, NmpuFormat(shift=shift), unity_registers())
    assert [chip.read_nmpu(CORE, mode)[0].shift for mode in MODES] == [0, 1]


@modes
def test_reset_keeps_weights_and_nmpu_settings(chip: Chip, read_mode: ReadMode) -> None:
    chip.write_nmpu(CORE, read_mode, NmpuFormat(shift=1), unity_registers())
    chip.reset()
    assert chip.read_nmpu(CORE, read_mode) == (NmpuFormat(shift=1), unity_registers())
    assert chip.read_counts(CORE, read_mode, driven(100))[0, 0, 0] > 200


def test_reset_forgets_latched_counts(chip: Chip) -> None:
    chip.read_counts(CORE, MODES[0], driven(1))
    chip.reset()
    assert refusal(lambda: chip.latched_counts(CORE, MODES[0], 1)) == -230


def test_programming_replaces_the_weights(chip: Chip) -> None:
    chip.program(UNCORRECTED_CORE, np.full((ROWS, COLUMNS), -100, np.int8))
    after = chip.read_counts(UNCORRECTED_CORE, ReadMode.FOUR_PHASE, driven(100))[0]
    chip.program(UNCORRECTED_CORE, np.full((ROWS, COLUMNS), 100, np.int8))
    again = chip.read_counts(UNCORRECTED_CORE, ReadMode.FOUR_PHASE, driven(100))[0]
    assert (after[1] > 200).all()
    assert (again[0] > 200).all()


def refusal(ask: Callable[[], object]) -> int:
    """Return the number with which the device refuses."""
    with pytest.raises(DeviceError) as error:
        ask()
    return error.value.code


@modes
def test_core_that_was_never_programmed_is_refused(chip: Chip, read_mode: ReadMode) -> None:
    assert refusal(lambda: chip.read_counts(UNTOUCHED_CORE, read_mode, driven(1))) == -221


@modes
def test_correction_without_registers_is_refused(chip: Chip, read_mode: ReadMode) -> None:
    assert refusal(lambda: chip.read_corrected(UNCORRECTED_CORE, read_mode, driven(1))) == -221
    assert refusal(lambda: chip.read_nmpu(UNCORRECTED_CORE, read_mode)) == -221


@pytest.mark.parametrize("core", [3, 70000, -1])
def test_core_that_does_not_exist_is_refused(chip: Chip, core: int) -> None:
    four = ReadMode.FOUR_PHASE
    asked: list[Callable[[], object]] = [
        lambda: chip.program(core, np.zeros((ROWS, COLUMNS), np.int8)),
        lambda: chip.read_counts(core, four, driven(1)),
        lambda: chip.read_corrected(core, four, driven(1)),
        lambda: chip.write_nmpu(core, four, NmpuFormat(), unity_registers()),
        lambda: chip.read_nmpu(core, four),
        lambda: chip.temperature_c(core, four),
    ]
    assert [refusal(ask) for ask in asked] == [-222] * 6


def test_code_minus_128_is_refused(chip: Chip) -> None:
    weights = np.zeros((ROWS, COLUMNS), np.int8)
    weights[3, 5] = -128
    assert refusal(lambda: chip.program(UNTOUCHED_CORE, weights)) == -222
    assert refusal(lambda: chip.read_counts(CORE, MODES[0], driven(-128))) == -222


def test_registers_that_the_format_does_not_hold_are_refused(chip: Chip) -> None:
    fmt = NmpuFormat(scale_int=0)  # seven bits: codes up to 127
    assert refusal(lambda: chip.write_nmpu(CORE, MODES[0], fmt, unity_registers())) == -222


@pytest.mark.parametrize("vectors", [0, 4097])
def test_impossible_number_of_vectors_is_a_value_error(chip: Chip, vectors: int) -> None:
    with pytest.raises(ValueError, match="must be 1 to 4096 at once"):
        chip.read_counts(CORE, MODES[0], driven(1, vectors))


@modes
def test_outputs_and_counts_of_one_multiplication_belong_together(
    chip: Chip, read_mode: ReadMode
) -> None:
    chip.write_nmpu(CORE, read_mode, NmpuFormat(), unity_registers())
    readout = chip.read_corrected_with_counts(CORE, read_mode, driven(30, 7))
    p, n = readout.counts.astype(int).swapaxes(0, 1)
    np.testing.assert_array_equal(readout.outputs, np.clip(p - n, -128, 127))
    np.testing.assert_array_equal(chip.latched_counts(CORE, read_mode, 7), readout.counts)


@modes
def test_temperature_is_in_degrees_celsius(chip: Chip, read_mode: ReadMode) -> None:
    assert chip.temperature_c(CORE, read_mode) == 31.5


def test_it_measures_again_after_a_refusal(chip: Chip) -> None:
    refusal(lambda: chip.read_counts(UNTOUCHED_CORE, MODES[0], driven(1)))
    assert chip.read_counts(CORE, MODES[0], driven(1)).shape == (1, 2, COLUMNS)


def test_safe_chip_still_measures_on_request(chip: Chip) -> None:
    chip.safe()
    chip.safe()
    assert chip.read_counts(CORE, MODES[1], driven(100))[0, 0, 0] > 200


def test_closing_twice_is_no_error_and_ends_the_link(profile: Path) -> None:
    with contract_chip.start_process(profile) as process:
        for carrier in contract_chip.CARRIERS[1:]:
            chip = board_over(contract_chip.open_carrier(carrier, process, 10), 10.0)
            chip.close()
            chip.close()
            with pytest.raises(LinkLostError):
                chip.identify()
