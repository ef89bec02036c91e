import math

import numpy as np
import pytest

from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.verify import (
    column_rms,
    correct_all_ways,
    errors_by_correction,
    quantization_cost,
    relative_l2,
)

# Norms: reference 5 and 10; error 1 and 5.
EXPECTED = np.array([[3.0, 4.0], [6.0, 8.0]])
OUTPUTS = np.array([[3.0, 5.0], [9.0, 12.0]])


def test_relative_error_is_the_mean_over_vectors() -> None:
    assert relative_l2(OUTPUTS, EXPECTED) == pytest.approx((1 / 5 + 5 / 10) / 2)


def test_only_the_chosen_columns_count() -> None:
    assert relative_l2(OUTPUTS, EXPECTED, np.array([True, False])) == pytest.approx((0 + 0.5) / 2)


def test_vectors_without_expected_output_do_not_count() -> None:
    outputs, expected = np.vstack([OUTPUTS, [[9, 9]]]), np.vstack([EXPECTED, [[0, 0]]])
    assert relative_l2(outputs, expected) == pytest.approx(0.35)


def test_without_any_expected_output_there_is_no_error_to_tell() -> None:
    assert math.isnan(relative_l2(OUTPUTS, np.zeros((2, 2))))


def test_int8_codes_do_not_overflow_in_the_difference() -> None:
    outputs, expected = np.array([[-128]], np.int8), np.array([[127]], np.int8)
    assert relative_l2(outputs, expected) == pytest.approx(255 / 127)


COUNTS = np.array([[[100, 10], [8, 30]], [[3, 0], [0, 5]]], np.uint16)
CORRECTION = Correction(a_p=np.array([0.7, 0.3]), a_n=np.array([0.5, 0.2]), b=np.array([1.0, 0.25]))
REGISTERS = NmpuRegisters(
    scale_p=np.array([90, 38], np.uint8),
    scale_n=np.array([64, 26], np.uint8),
    offset=np.array([2, 0], np.int16),
    swap=np.array([False, False]),
)


def test_four_corrections_of_the_same_counts() -> None:
    outputs = correct_all_ways(
        COUNTS, global_gain=0.5, correction=CORRECTION, fmt=NmpuFormat(), registers=REGISTERS
    )
    assert outputs.uncorrected.tolist() == [[46, -10], [1.5, -2.5]]
    np.testing.assert_allclose(outputs.float, [[67, -2.75], [3.1, -0.75]])
    assert outputs.fp16.tolist() == [[67, -3], [3, -1]]
    # (9000 - 512 + 32) >> 6 = 133; + 2; 68. 380 - 780 = -400: -6; -3. 270: 4 + 2; 3. -130: -2; -1
    assert outputs.nmpu.tolist() == [[68, -3], [3, -1]]
    expected = np.array([[67.0, -2.75], [4.1, -0.75]])
    rms = column_rms(outputs, expected)
    assert rms.shape == (4, 2)
    np.testing.assert_allclose(rms[1], [math.sqrt(0.5), 0], atol=1e-12)
    errors = errors_by_correction(outputs, expected, np.array([True, False]))
    assert list(errors) == ["uncorrected", "float", "fp16", "nmpu"]
    assert errors["float"] == pytest.approx((0 + 1 / 4.1) / 2, abs=1e-12)
    assert errors["uncorrected"] == pytest.approx((21 / 67 + 2.6 / 4.1) / 2)


def test_cost_of_the_codes_against_float_and_fp16() -> None:
    # NMPU: 68, -3; 3, -1. FP16 unit: 67, -3; 3, -1. Float: 67, -2.75; 3.1, -0.75.
    expected = np.array([[67.0, -2.75], [3.1, -0.75]])
    cost = quantization_cost(
        COUNTS, expected, correction=CORRECTION, fmt=NmpuFormat(), registers=REGISTERS
    )
    np.testing.assert_allclose(cost.rms_from_float, [math.sqrt((1 + 0.01) / 2), 0.25])
    np.testing.assert_allclose(cost.largest_from_float, [1, 0.25])
    np.testing.assert_allclose(cost.rms_from_fp16, [math.sqrt(0.5), 0])
    assert cost.largest_from_fp16.tolist() == [1, 0]
    norms = math.hypot(67, 2.75), math.hypot(3.1, 0.75)
    late = math.hypot(0.1, 0.25) / norms[1]
    assert cost.l2_float == pytest.approx(0, abs=1e-12)
    assert cost.l2_fp16 == pytest.approx((0.25 / norms[0] + late) / 2)
    assert cost.l2_nmpu == pytest.approx((math.hypot(1, 0.25) / norms[0] + late) / 2)
