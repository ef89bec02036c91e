from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.fixed_point import QFormat, Rounding, saturate, shift_right, wrap
from nmpu_oracle import round_exactly

# Quarters, cut to integers: ties lie at -6, -2, 2 and 6.
CODES = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8]
QUOTIENTS = {
    Rounding.HALF_UP: [-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2],
    Rounding.FLOOR: [-2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2],
    Rounding.HALF_EVEN: [-2, -2, -2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2],
    Rounding.HALF_AWAY: [-2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2],
    Rounding.TOWARD_ZERO: [-2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2],
}
ONE_BIT = {  # -2.5, -1.5, -0.5, 0.5, 1.5, 2.5: nothing but ties
    Rounding.HALF_UP: [-2, -1, 0, 1, 2, 3],
    Rounding.FLOOR: [-3, -2, -1, 0, 1, 2],
    Rounding.HALF_EVEN: [-2, -2, 0, 0, 2, 2],
    Rounding.HALF_AWAY: [-3, -2, -1, 1, 2, 3],
    Rounding.TOWARD_ZERO: [-2, -1, 0, 0, 1, 2],
}


@pytest.mark.parametrize("rounding", Rounding)
def test_two_cut_bits_round_as_tabulated(rounding: Rounding) -> None:
    assert shift_right(np.array(CODES), 2, rounding).tolist() == QUOTIENTS[rounding]


@pytest.mark.parametrize("rounding", Rounding)
def test_ties_of_one_cut_bit_round_as_tabulated(rounding: Rounding) -> None:
    ties = np.array([-5, -3, -1, 1, 3, 5])
    assert shift_right(ties, 1, rounding).tolist() == ONE_BIT[rounding]


@pytest.mark.parametrize("rounding", Rounding)
def test_cutting_no_bits_changes_nothing(rounding: Rounding) -> None:
    assert shift_right(np.array([-3, 0, 7]), 0, rounding).tolist() == [-3, 0, 7]


@given(
    code=st.integers(-(2**25), 2**25),
    bits=st.integers(0, 23),
    rounding=st.sampled_from(Rounding),
)
def test_cut_bits_round_as_fractions_do(code: int, bits: int, rounding: Rounding) -> None:
    quotient = shift_right(np.array([code], np.int32), bits, rounding)
    assert quotient.tolist() == [round_exactly(Fraction(code, 2**bits), rounding)]


def test_shift_right_keeps_the_dtype() -> None:
    assert shift_right(np.array([5], np.int32), 1, Rounding.HALF_EVEN).dtype == np.int32


@pytest.mark.parametrize(
    ("code", "clipped", "symmetric", "wrapped"),
    [
        (-129, -128, -127, 127),
        (-128, -128, -127, -128),
        (-127, -127, -127, -127),
        (0, 0, 0, 0),
        (127, 127, 127, 127),
        (128, 127, 127, -128),
        (300, 127, 127, 44),
        (-300, -128, -127, -44),
    ],
)
def test_codes_outside_eight_bits_clip_or_wrap(
    code: int, clipped: int, symmetric: int, wrapped: int
) -> None:
    codes = np.array([code])
    results = [saturate(codes, 8), saturate(codes, 8, is_symmetric=True), wrap(codes, 8)]
    assert [result.item() for result in results] == [clipped, symmetric, wrapped]


@given(code=st.integers(-(2**30), 2**30), bits=st.integers(2, 30))
def test_wrapping_keeps_the_code_modulo_its_width(code: int, bits: int) -> None:
    wrapped = int(wrap(np.array([code], np.int64), bits)[0])
    assert -(2 ** (bits - 1)) <= wrapped < 2 ** (bits - 1)
    assert (wrapped - code) % 2**bits == 0


@pytest.mark.parametrize(
    ("register", "lowest", "highest", "step"),
    [
        (QFormat(bits=8, frac_bits=7, is_signed=False), 0.0, 1.9921875, 0.0078125),
        (QFormat(bits=8, frac_bits=1, is_signed=True), -64.0, 63.5, 0.5),
        (QFormat(bits=9, frac_bits=1, is_signed=True), -128.0, 127.5, 0.5),
        (QFormat(bits=4, frac_bits=0, is_signed=True), -8.0, 7.0, 1.0),
        (QFormat(bits=4, frac_bits=6, is_signed=False), 0.0, 0.234375, 0.015625),
    ],
    ids=["scale", "offset", "wide-offset", "integers", "all-fraction"],
)
def test_register_ends_follow_from_its_bits(
    register: QFormat, lowest: float, highest: float, step: float
) -> None:
    assert (register.lowest, register.highest, register.step) == (lowest, highest, step)


def test_nearest_code_rounds_ties_to_even_and_clips() -> None:
    offset = QFormat(bits=8, frac_bits=1, is_signed=True)
    values = np.array([-100.0, -64.0, -0.75, -0.25, 0.25, 0.75, 0.7, 63.5, 63.9, 1e30])
    expected = [-128, -128, -2, 0, 0, 2, 1, 127, 127, 127]
    assert offset.nearest_code(values).tolist() == expected


@given(code=st.integers(0, 255))
def test_every_code_is_nearest_to_its_own_value(code: int) -> None:
    scale = QFormat(bits=8, frac_bits=7, is_signed=False)
    assert scale.nearest_code(np.array([code / 128])).tolist() == [code]
