"""Register codes: the shift, the rounding, and the search on the integer model's own error."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.quantize import Quantized, choose_shift, quantize, smallest_output_lsb
from nmpu_oracle import OneColumn, oracle_output

HIGHEST = 1.9921875


@pytest.mark.parametrize(
    ("gain", "headroom", "shift"),
    [
        (0.3, 1.5, 2),  # 0.45 * 4 = 1.8
        (0.34, 1.5, 1),  # 0.51 * 4 = 2.04
        (HIGHEST, 1.0, 0),
        (HIGHEST / 2, 1.0, 1),
        (HIGHEST / 2 * (1 + 1e-9), 1.0, 0),
        (HIGHEST / 4, 2.0, 1),
        (HIGHEST / 2**15, 1.0, 15),
        (HIGHEST / 2**20, 1.0, 15),  # the register holds no larger shift
    ],
)
def test_shift_is_the_largest_that_fits(gain: float, headroom: float, shift: int) -> None:
    assert choose_shift(gain, NmpuFormat(), headroom) == shift


@pytest.mark.parametrize(
    ("gain", "headroom"), [(2.0, 1.0), (HIGHEST * (1 + 1e-9), 1.0), (1.5, 1.5)]
)
def test_a_gain_that_does_not_fit_is_refused(gain: float, headroom: float) -> None:
    with pytest.raises(CalibrationError, match=r"the register holds 1\.992"):
        choose_shift(gain, NmpuFormat(), headroom)


@pytest.mark.parametrize("headroom", [0.99, 0.0, -1.0, float("nan")])
def test_a_headroom_below_1_is_refused(headroom: float) -> None:
    with pytest.raises(ValueError, match=r"headroom = .*: must be at least 1"):
        choose_shift(0.3, NmpuFormat(), headroom)


def test_more_integer_bits_hold_a_larger_gain() -> None:
    assert choose_shift(3.0, NmpuFormat(scale_int=2, scale_frac=6), 1.0) == 0


@given(gain=st.floats(1e-6, 1e6), headroom=st.floats(1, 16))
def test_the_smallest_output_step_needs_no_shift(gain: float, headroom: float) -> None:
    lsb = smallest_output_lsb(gain, NmpuFormat(), headroom)
    assert choose_shift(gain / lsb, NmpuFormat(), headroom) == 0
    with pytest.raises(CalibrationError):
        choose_shift(gain / (0.999 * lsb), NmpuFormat(), headroom)


@dataclass(frozen=True)
class Tile:
    """Corrections of some columns, and a sample of what they correct."""

    correction: Correction
    counts: npt.NDArray[np.uint16]
    expected: npt.NDArray[np.float64]

    def quantize(self, fmt: NmpuFormat, **options: Any) -> Quantized:
        columns = self.expected.shape[1]
        arguments: dict[str, Any] = {
            "is_calibrated": np.ones(columns, np.bool_),
            "counts": self.counts,
            "expected": self.expected,
            "headroom": 1.0,
        }
        return quantize(self.correction, fmt, **(arguments | options))

    def errors(self, registers: NmpuRegisters, fmt: NmpuFormat) -> npt.NDArray[np.float64]:
        outputs = [
            [
                oracle_output(int(p), int(n), codes_of(registers, column), fmt)
                for p, n in self.counts[:, :, column]
            ]
            for column in range(self.expected.shape[1])
        ]
        return np.array(outputs).T - self.expected


def codes_of(registers: NmpuRegisters, column: int) -> OneColumn:
    scale_p, scale_n, offset, swap = registers.to_codes()[:, column].tolist()
    return OneColumn(scale_p, scale_n, offset, bool(swap))


def drawn_tile(
    rng: np.random.Generator,
    *,
    gains: tuple[float, float],
    largest_offset: float,
    columns: int,
    vectors: int,
) -> Tile:
    a_p, a_n = rng.uniform(*gains, (2, columns)).tolist()
    b = rng.uniform(-largest_offset, largest_offset, columns).tolist()
    return tile(a_p, a_n, b, vectors=vectors)


def tile(
    a_p: list[float], a_n: list[float], b: list[float], *, vectors: int = 60, noise: float = 0.3
) -> Tile:
    correction = Correction(a_p=np.array(a_p), a_n=np.array(a_n), b=np.array(b))
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 300, (vectors, 2, len(b))).astype(np.uint16)
    expected = correction.apply(counts)
    return Tile(correction, counts, expected + noise * rng.standard_normal(expected.shape))


def plain_rounding(correction: Correction, fmt: NmpuFormat) -> NmpuRegisters:
    """Round the gains to 7 fraction bits after the shift, and the offset to one."""
    factor = 128 * 2**fmt.shift
    return NmpuRegisters(
        scale_p=np.rint(correction.a_p * factor).astype(np.uint8),
        scale_n=np.rint(correction.a_n * factor).astype(np.uint8),
        offset=np.clip(np.rint(correction.b * 2), -128, 127).astype(np.int16),
        swap=np.zeros(correction.b.shape, np.bool_),
    )


def test_codes_that_are_exact_are_found() -> None:
    # 45/128 * 4 = 1.41. Ties to even: rounding half up twice would move the mean by 0.25 LSB.
    exact = tile([45 / 128, 40 / 128], [40 / 128, 45 / 128], [3.0, -7.5], vectors=200, noise=0)
    quantized = exact.quantize(NmpuFormat(rounding=Rounding.HALF_EVEN))
    assert quantized.fmt.shift == 2
    assert quantized.registers.to_codes().tolist() == [[180, 160], [160, 180], [6, -15], [0, 0]]
    assert quantized.is_offset_clipped.tolist() == [False, False]


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "floor": {"rounding": Rounding.FLOOR},
    "truncating": {"rounding": Rounding.FLOOR, "cut_pre": 6},
    "toward-zero": {"rounding": Rounding.TOWARD_ZERO},
    "per-branch": {"merge": Merge.PER_BRANCH},
    "wrapping": {"saturate": False},
    "narrow": {"out_bits": 6, "acc_bits": 8},
}


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    variant=st.sampled_from(sorted(VARIANTS)),
    stretch=st.sampled_from([1.0, 3.0]),
)
def test_the_search_never_loses_to_plain_rounding(seed: int, variant: str, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = drawn_tile(rng, gains=(0.2, 0.4), largest_offset=70, columns=3, vectors=40)
    drawn = replace(drawn, expected=drawn.expected * stretch)
    quantized = drawn.quantize(NmpuFormat(**VARIANTS[variant]))
    found = np.square(drawn.errors(quantized.registers, quantized.fmt)).mean(axis=0)
    rounded = plain_rounding(drawn.correction, quantized.fmt)
    plain = np.square(drawn.errors(rounded, quantized.fmt)).mean(axis=0)
    assert (found <= plain).all()


def test_outputs_clipped_in_the_sample_do_not_pull_the_offset() -> None:
    good = tile([0.25], [0.25], [0.0], vectors=60)
    expected = good.expected.copy()
    expected[:20] = 1000.0  # beyond int8: no offset brings these closer than 127
    counts = good.counts.copy()
    counts[:20, 0], counts[:20, 1] = 600, 0
    pulled = replace(good, counts=counts, expected=expected)
    quantized = pulled.quantize(NmpuFormat())
    errors = pulled.errors(quantized.registers, quantized.fmt)[20:]
    assert np.abs(errors).mean() < 0.5


@pytest.mark.parametrize("variant", ["default", "floor", "truncating", "per-branch"])
def test_no_format_loses_its_bias(variant: str) -> None:
    rng = np.random.default_rng(2)
    drawn = drawn_tile(rng, gains=(0.2, 0.25), largest_offset=0, columns=12, vectors=150)
    quantized = drawn.quantize(NmpuFormat(**VARIANTS[variant]))
    bias = drawn.errors(quantized.registers, quantized.fmt).mean(axis=0)
    # The offset has steps of 0.5, so half of that can remain, and some from the sample.
    assert np.abs(bias).max() < 0.35


def test_plain_rounding_of_a_truncating_format_is_biased() -> None:
    rng = np.random.default_rng(2)
    drawn = drawn_tile(rng, gains=(0.2, 0.25), largest_offset=0, columns=12, vectors=150)
    fmt = NmpuFormat(shift=2, **VARIANTS["truncating"])
    bias = drawn.errors(plain_rounding(drawn.correction, fmt), fmt).mean()
    # Two cuts of 0.25 LSB on average each: what the re-fitted offset has to undo.
    assert bias == pytest.approx(-0.5, abs=0.05)


def test_an_offset_beyond_its_register_is_flagged() -> None:
    far = tile([0.25] * 3, [0.25] * 3, [0.0, 90.0, -90.0])
    quantized = far.quantize(NmpuFormat())
    assert quantized.is_offset_clipped.tolist() == [False, True, True]
    assert quantized.registers.offset[1:].tolist() == [127, -128]


def test_a_negative_gain_becomes_a_swap() -> None:
    turned = tile([-0.25], [-0.35], [2.0], vectors=200, noise=0)
    quantized = turned.quantize(NmpuFormat())
    # y = -0.25 P + 0.35 N = 0.35 N - 0.25 P; shift 2: 0.35 * 512 = 179.2, 0.25 * 512 = 128
    assert quantized.registers.swap.tolist() == [True]
    assert quantized.registers.scale_p[0] == pytest.approx(179.2, abs=1.3)
    assert quantized.registers.scale_n[0] == pytest.approx(128, abs=1.3)
    assert np.abs(turned.errors(quantized.registers, quantized.fmt)).max() < 1.0


def test_a_branch_that_is_off_stays_off() -> None:
    single = tile([0.25, 0.0], [0.0, -0.3], [0.0, 0.0])
    registers = single.quantize(NmpuFormat()).registers
    # The second column: y = 0.3 N, so N takes the P branch.
    assert registers.scale_n.tolist() == [0, 0]
    assert registers.swap.tolist() == [False, True]


def test_columns_that_are_not_calibrated_are_neutral() -> None:
    wild = tile([0.25, 5.0, -9.0], [0.25, 5.0, 3.0], [4.0, 60.0, 99.0])
    quantized = wild.quantize(NmpuFormat(), is_calibrated=np.array([True, False, False]))
    assert quantized.fmt.shift == 2
    assert quantized.registers.to_codes()[:, 1:].tolist() == [[0, 0]] * 4
    assert quantized.is_offset_clipped.tolist() == [False, False, False]


def test_a_shared_scale_is_the_same_in_both_branches() -> None:
    alike = tile([0.3, 0.25], [0.3, 0.25], [0.0, 5.0])
    registers = alike.quantize(NmpuFormat(shared_scale=True)).registers
    assert registers.scale_p.tolist() == registers.scale_n.tolist()
    assert registers.scale_p == pytest.approx([0.3 * 512, 0.25 * 512], abs=1.6)


def test_a_silent_polarity_takes_the_shared_scale() -> None:
    single = tile([0.3], [0.0], [0.0])
    counts = single.counts.copy()
    counts[:, 1] = 20  # never moves, and must not shift the output
    quiet = replace(single, counts=counts)
    quantized = quiet.quantize(NmpuFormat(shared_scale=True))
    registers = quantized.registers
    assert registers.scale_n.tolist() == registers.scale_p.tolist()
    assert np.abs(quiet.errors(registers, quantized.fmt).mean()) < 0.3


def test_an_offset_before_the_shift_is_finer() -> None:
    fine = tile([0.25], [0.25], [3.3], vectors=150, noise=0)
    quantized = fine.quantize(NmpuFormat(offset_at=OffsetAt.BEFORE_SHIFT))
    # One code weighs 2**-(1 + 2) output LSB: 3.3 / 0.125 = 26.4
    assert quantized.registers.offset[0] == pytest.approx(26.4, abs=3)
    assert np.abs(fine.errors(quantized.registers, quantized.fmt).mean()) < 0.1


def test_a_gain_beyond_the_register_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"needs a scale of 2\.1"):
        tile([2.1], [0.25], [0.0]).quantize(NmpuFormat())
