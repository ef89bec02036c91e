import numpy as np
import pytest

from hil_calibration.expected import expected_outputs


@pytest.mark.parametrize("rows", [1, 256, 1024, 1025, 1041, 3000])
def test_random_products_are_exact(rows: int) -> None:
    rng = np.random.default_rng(rows)
    inputs = rng.integers(-127, 128, (9, rows), dtype=np.int8)
    weights = rng.integers(-127, 128, (rows, 7), dtype=np.int8)
    expected = inputs.astype(np.int64) @ weights.astype(np.int64)
    outputs = expected_outputs(inputs, weights)
    assert outputs.dtype == np.int32
    assert np.array_equal(outputs, expected)


@pytest.mark.parametrize("rows", [1024, 1025, 1040, 1041, 2000])
@pytest.mark.parametrize("code", [127, -128])
def test_largest_odd_sums_are_exact(rows: int, code: int) -> None:
    inputs = np.full((1, rows), code, np.int8)
    inputs[0, 0] = 1
    weights = np.full((rows, 1), code, np.int8)
    weights[0, 0] = 1
    assert expected_outputs(inputs, weights).item() == (rows - 1) * code * code + 1


def test_hand_worked_product_comes_out() -> None:
    inputs = np.array([[1, -2], [0, 127]], np.int8)
    weights = np.array([[3, -4, 0], [5, 6, -127]], np.int8)
    assert expected_outputs(inputs, weights).tolist() == [[-7, -16, 254], [635, 762, -16129]]
