"""A recorded chip: it answers what was recorded, and refuses everything else by name."""

from collections.abc import Callable

import numpy as np
import pytest

from hil.core.correction import Correction
from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.recording import Recording
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, StepRecord
from hil_mock_device.player import RecordedChip

FOUR, ONE = ReadMode.FOUR_PHASE, ReadMode.ONE_PHASE
CHIP = ChipIdentity(manufacturer="ACME", model="AIMC-1", serial="7", firmware="2.3")
WEIGHTS = np.array([[1, 2], [3, 4], [-5, 6]], np.int8)
INPUTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], np.int8)
RAW = np.arange(16, dtype=np.uint16).reshape(4, 2, 2)
OUTPUTS = np.array([[11, 12], [21, 22]], np.int8)
FORMAT = NmpuFormat(shift=1)
REGISTERS = NmpuRegisters(
    scale_p=np.array([1, 2], np.uint8),
    scale_n=np.array([3, 4], np.uint8),
    offset=np.array([5, -6], np.int16),
    swap=np.array([False, True]),
)


def step(
    core: int, mode: ReadMode, *, outputs: bool = True, temperature_c: float = 25.0
) -> StepRecord:
    """Return a recorded step of four vectors, the last two of them held out."""
    zero = np.zeros(2)
    return StepRecord(
        key=StepKey(core, mode),
        origin=StepOrigin(
            title="tiny", campaign_sha256="0" * 64, resource="none", chip=CHIP, counter_bits=10,
            measured_utc="2024-01-01T00:00:00+00:00", temperature_c=temperature_c, seed=0,
            calibration_vectors=2, verification_vectors=2, rows_used=3, columns_used=2,
        ),
        weights=WEIGHTS,
        inputs=INPUTS,
        raw=RAW + np.uint16(100 * core),
        expected=INPUTS.astype(np.int32) @ WEIGHTS.astype(np.int32),
        conclusion=StepConclusion(
            output_lsb=1.0, global_gain=1.0, correction=Correction(a_p=zero, a_n=zero, b=zero),
            a_p_se=zero, a_n_se=zero, b_se=zero, residual_rms=zero, r_squared=zero,
            saturated_counts=np.zeros(2, np.int64), fmt=FORMAT, registers=REGISTERS,
            flags=np.zeros(2, np.uint16), outputs=OUTPUTS if outputs else None,
            column_rms=np.zeros((5, 2)), errors={}, nmpu_mismatches=0, errors_all_columns={},
        ),
        raw_sha256="0" * 64,
    )  # fmt: skip


def recorded_chip() -> RecordedChip:
    return RecordedChip(
        Recording([step(0, FOUR), step(2, FOUR, outputs=False, temperature_c=30.5)])
    )


def test_identity_and_geometry_are_the_recorded_ones() -> None:
    chip = recorded_chip()
    size = chip.geometry
    assert chip.identity == CHIP
    assert (size.cores, size.rows, size.columns, size.counter_bits) == (3, 3, 2, 10)


def test_recorded_inputs_give_their_counts_in_any_order() -> None:
    counts = recorded_chip().convert(0, FOUR, INPUTS[[2, 1]])
    assert counts.tolist() == [[[8, 9], [10, 11]], [[4, 5], [6, 7]]]


def test_repeated_input_gives_its_readouts_in_turn() -> None:
    counts = recorded_chip().convert(0, FOUR, INPUTS[[0, 0, 0]])
    assert counts[:, 0, 0].tolist() == [0, 12, 0]


def test_reset_begins_the_turns_again() -> None:
    chip = recorded_chip()
    chip.convert(0, FOUR, INPUTS[[0]])
    chip.reset()
    assert chip.convert(0, FOUR, INPUTS[[0]])[0, 0, 0] == 0


def test_each_core_gives_its_own_counts() -> None:
    assert recorded_chip().convert(2, FOUR, INPUTS[[1]])[0, 0].tolist() == [204, 205]


def test_recorded_registers_give_the_recorded_outputs() -> None:
    chip = recorded_chip()
    counts = chip.convert(0, FOUR, INPUTS[[2]])
    assert chip.correct(0, FOUR, counts, FORMAT, REGISTERS).tolist() == [[11, 12]]


def test_recorded_weights_are_accepted_and_others_are_not() -> None:
    chip = recorded_chip()
    chip.program(0, WEIGHTS)
    with pytest.raises(DeviceError, match="other weights"):
        chip.program(0, WEIGHTS + np.int8(1))


def test_temperature_is_that_of_the_step() -> None:
    assert recorded_chip().temperature_c(2, FOUR) == 30.5


def refusal(request: str) -> DeviceError:
    chip = recorded_chip()
    counts = chip.convert(0, FOUR, INPUTS[[2]])
    other = NmpuRegisters(
        scale_p=REGISTERS.scale_n,
        scale_n=REGISTERS.scale_n,
        offset=REGISTERS.offset,
        swap=REGISTERS.swap,
    )
    unknown = np.array([[0, 1, 0], [9, 9, 9]], np.int8)

    def in_calibration() -> None:
        chip.convert(0, FOUR, INPUTS[[1]])
        chip.correct(0, FOUR, counts, FORMAT, REGISTERS)

    requests: dict[str, Callable[[], object]] = {
        "unknown vector": lambda: chip.convert(0, FOUR, unknown),
        "unknown mode": lambda: chip.convert(0, ONE, INPUTS),
        "unknown core": lambda: chip.convert(1, FOUR, INPUTS),
        "other weights": lambda: chip.program(0, -WEIGHTS),
        "weights of unknown core": lambda: chip.program(1, WEIGHTS),
        "other registers": lambda: chip.correct(0, FOUR, counts, FORMAT, other),
        "other format": lambda: chip.correct(0, FOUR, counts, NmpuFormat(), REGISTERS),
        "no outputs": lambda: chip.correct(2, FOUR, counts, FORMAT, REGISTERS),
        "outputs of calibration": in_calibration,
        "temperature": lambda: chip.temperature_c(0, ONE),
    }
    with pytest.raises(DeviceError) as caught:
        requests[request]()
    return caught.value


@pytest.mark.parametrize(
    ("request_name", "words"),
    [
        ("unknown vector", "input vector 1 of this request was not recorded for core00_four_phase"),
        ("unknown mode", "core 0 was not recorded in one_phase mode"),
        ("unknown core", "core 1 was not recorded in four_phase mode"),
        ("other weights", "core 0 was recorded with other weights"),
        ("weights of unknown core", "core 1 was not recorded"),
        ("other registers", "core00_four_phase was recorded with other NMPU registers"),
        ("other format", "core00_four_phase was recorded with other NMPU registers"),
        ("no outputs", "core02_four_phase was recorded without the device's NMPU"),
        ("outputs of calibration", "the NMPU was off for some of these vectors"),
        ("temperature", "core 0 was not recorded in one_phase mode"),
    ],
)
def test_what_was_not_recorded_is_refused_by_name(request_name: str, words: str) -> None:
    error = refusal(request_name)
    assert error.code == -251
    assert words in error.words
