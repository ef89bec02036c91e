"""What is found to have changed between two calibrations whose difference is known."""

from dataclasses import replace

import numpy as np
import pytest

from calibrated_steps import calibration, concluded
from hil.core.correction import ColumnFlag
from hil.core.errors import ConfigError
from hil.recorded.compare import TileComparison, compare_tile
from hil_datasets.step import StepConclusion

COLUMNS = 256


def compared(
    before: StepConclusion, after: StepConclusion, *, sigmas: float = 5.0
) -> TileComparison:
    return compare_tile(
        calibration(before), calibration(after, raw_sha256="cd" * 32), sigmas=sigmas
    )


def gains() -> np.ndarray:
    return np.linspace(400.0, 600.0, COLUMNS)


def test_columns_that_moved_are_found_and_no_others() -> None:
    gain_p, offset = gains(), np.zeros(COLUMNS)
    gain_p[7] += 60.0
    offset[100] -= 400.0
    tile = compared(
        concluded(gains(), gains(), np.zeros(COLUMNS)), concluded(gain_p, gains(), offset)
    )
    assert np.flatnonzero(tile.moved).tolist() == [7, 100]
    # 60 over the root of 5**2 + 5**2, and -400 over that of 50**2 + 50**2.
    assert tile.quantities["gain_p"].sigmas[7] == pytest.approx(8.4852814)
    assert tile.quantities["offset"].sigmas[100] == pytest.approx(-5.6568542)
    assert tile.quantities["gain_p"].change[7] == pytest.approx(60.0)
    assert tile.has_changed


def test_a_change_within_its_error_is_none() -> None:
    gain_p = gains()
    gain_p[7] += 5 * 7.07  # five times the root of 5**2 + 5**2 is 35.355
    still = concluded(gains(), gains(), np.zeros(COLUMNS))
    assert not compared(still, concluded(gain_p, gains(), np.zeros(COLUMNS))).has_changed


def test_as_many_pass_for_moved_as_is_said() -> None:
    columns = 20_000
    rng = np.random.default_rng(5)
    drawn = [
        concluded(
            500 + 5 * rng.standard_normal(columns),
            500 + 5 * rng.standard_normal(columns),
            50 * rng.standard_normal(columns),
        )
        for _ in range(2)
    ]
    loose = compared(*drawn, sigmas=2.0)
    # A normal deviate is beyond 2 with 4.55 %: one of three is with 1 - 0.9545**3 = 13.036 %.
    assert loose.expected_by_chance == pytest.approx(2607, abs=2)
    assert int(loose.moved.sum()) == pytest.approx(2607, abs=190)  # four standard deviations
    strict = compared(*drawn)
    assert strict.expected_by_chance == pytest.approx(0.0344, abs=0.0001)
    assert not strict.moved.any()
    assert not strict.has_changed


def test_the_size_of_an_output_code_is_no_change() -> None:
    tile = compared(
        concluded(gains(), gains(), gains(), output_lsb=2.0),
        concluded(gains(), gains(), gains(), output_lsb=16.0),
    )
    assert not tile.has_changed
    assert all(not each.change.any() for each in tile.quantities.values())


def test_drift_of_the_core_is_told_apart_from_that_of_a_column() -> None:
    rng = np.random.default_rng(6)
    gain_p, gain_n = 1.1 * gains(), 1.1 * gains()
    gain_p[9] *= 1.2
    noise = [5 * rng.standard_normal(COLUMNS) for _ in range(2)]
    tile = compared(
        concluded(gains(), gains(), np.zeros(COLUMNS)),
        concluded(gain_p + noise[0], gain_n + noise[1], np.zeros(COLUMNS)),
    )
    factor = tile.quantities["gain_p"].factor
    assert factor.value == pytest.approx(1.1, abs=4 * factor.error)
    assert 0.0003 < factor.error < 0.002  # 1 % of 500 over the root of 512 numbers: 0.0005
    assert tile.core_has_moved
    assert int(tile.moved.sum()) > 200
    assert np.flatnonzero(tile.moved_itself).tolist() == [9]


def test_a_core_that_moves_less_than_any_column_can_tell_has_changed() -> None:
    # 1 % is 5 of 500 products per count, less than each column's 7.1, but all of them have it.
    tile = compared(
        concluded(gains(), gains(), np.zeros(COLUMNS)),
        concluded(1.01 * gains(), 1.01 * gains(), np.zeros(COLUMNS)),
    )
    assert (int(tile.moved.sum()), tile.core_has_moved, tile.has_changed) == (0, True, True)


def test_too_few_columns_tell_no_common_factor() -> None:
    tile = compared(
        concluded([500.0] * 3, [500.0] * 3, [0.0] * 3),
        concluded([600.0] * 3, [600.0] * 3, [0.0] * 3),
    )
    assert not tile.quantities["gain_p"].factor.is_known
    assert tile.moved.all()
    assert tile.moved_itself.all()


def test_columns_without_a_correction_in_one_are_gone_or_new() -> None:
    dead, live = np.uint16(ColumnFlag.DEAD), np.uint16(0)
    tile = compared(
        concluded([500.0] * 3, [500.0] * 3, [0.0] * 3, flags=np.array([live, dead, dead])),
        concluded([500.0] * 3, [500.0] * 3, [0.0] * 3, flags=np.array([dead, live, dead])),
    )
    assert tile.is_gone.tolist() == [True, False, False]
    assert tile.is_new.tolist() == [False, True, False]
    assert tile.flags_changed.tolist() == [True, True, False]
    assert not tile.is_compared.any()
    assert tile.has_changed
    assert tile.expected_by_chance == 0


def test_a_polarity_that_wakes_up_has_moved_and_a_silent_one_has_not() -> None:
    silent = replace(concluded([500.0, 500.0], [0.0, 0.0], [0.0, 0.0]), a_n_se=np.array([0.0, 0.0]))
    awake = replace(
        concluded([500.0, 500.0], [0.0, 400.0], [0.0, 0.0]), a_n_se=np.array([0.0, 0.0])
    )
    tile = compared(silent, awake)
    assert tile.moved.tolist() == [False, True]
    assert np.isnan(tile.quantities["gain_n"].sigmas[0])


def test_registers_that_differ_are_counted_by_column() -> None:
    before = concluded([500.0] * 3, [500.0] * 3, [0.0] * 3)
    registers = replace(
        before.registers,
        offset=np.array([0, 1, 0], np.int16),
        swap=np.array([False, False, True]),
    )
    tile = compared(before, replace(before, registers=registers))
    assert tile.registers_changed.tolist() == [False, True, True]
    assert not tile.has_same_coefficients
    assert not tile.has_changed


def test_effect_is_what_the_old_correction_does_to_new_readouts() -> None:
    before = concluded([4.0], [2.0], [0.0], output_lsb=4.0)
    after = concluded([6.0], [2.0], [8.0], output_lsb=2.0)
    counts = np.array([[[10], [3]], [[0], [3]]], np.uint16)
    tile = compare_tile(calibration(before), calibration(after), sigmas=5, counts=counts)
    # Products: 34 and -6 before, 62 and 2 after; in steps of 2 they differ by 14 and 4.
    assert tile.effect_lsb == pytest.approx([np.sqrt((14**2 + 4**2) / 2)])


def test_only_equal_numbers_of_equal_readouts_are_one_correction() -> None:
    one = concluded([500.0], [500.0], [0.0])
    assert compare_tile(calibration(one), calibration(one), sigmas=5).has_same_correction
    tile = compared(one, one)
    assert (tile.has_same_correction, tile.has_same_coefficients) == (False, True)


def test_cores_of_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 columns there and 3 here"):
        compared(
            concluded([1.0] * 2, [1.0] * 2, [0.0] * 2), concluded([1.0] * 3, [1.0] * 3, [0.0] * 3)
        )
