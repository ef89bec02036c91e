"""Folded batch normalisation against the unfolded one, through the integer model."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.fold import (
    BatchNorm,
    FoldedBatchNorm,
    error_bound,
    fold_batch_norm,
    held_correction,
    nearest_registers,
    rounding_bound,
)
from hil_calibration.nmpu import apply_nmpu
from nmpu_oracle import nmpu_formats

Reals = npt.NDArray[np.float64]


def columns(*values: float) -> Reals:
    return np.array(values, np.float64)


def correction_of(a_p: Reals, a_n: Reals, b: Reals) -> Correction:
    return Correction(a_p=a_p, a_n=a_n, b=b)


def plain_norm(**changed: Reals | float) -> BatchNorm:
    """Return a batch normalisation that changes nothing, but for what is given."""
    one, none = columns(1), columns(0)
    parts: dict[str, Any] = {"gamma": one, "beta": none, "mean": none, "variance": one, "eps": 0.0}
    return BatchNorm(**(parts | changed))


ONE = correction_of(columns(0.5), columns(0.25), columns(-1))


def fold_one(norm: BatchNorm, **options: Any) -> FoldedBatchNorm:
    return fold_batch_norm(
        ONE, norm, NmpuFormat(), **({"input_lsb": 1.0, "output_range": 127.0} | options)
    )


def test_folded_numbers_are_the_hand_worked_ones() -> None:
    # y = 0.5 P - 0.25 N - 1 in units of 2; z = 6 (2 y - 4) / sqrt(4 + 5) + 10 = 4 y + 2;
    # one code is 254 / 127 = 2: z / 2 = 2 y + 1 = P - 0.5 N - 1
    norm = plain_norm(
        gamma=columns(6), beta=columns(10), mean=columns(4), variance=columns(4), eps=5.0
    )
    folded = fold_one(norm, input_lsb=2.0, output_range=254.0)
    found = folded.correction
    assert (found.a_p.tolist(), found.a_n.tolist(), found.b.tolist()) == ([1.0], [0.5], [-1.0])
    assert folded.output_lsb == 2.0


def test_folded_numbers_become_the_nearest_codes() -> None:
    folded = fold_one(plain_norm(gamma=columns(0.5)))
    # 0.25 * 1.5 * 2**2 = 1.5 fits 1.99: shift 2; 0.25 * 4 * 128 = 128, 0.125: 64; -0.5: -1
    assert folded.fmt.shift == 2
    assert folded.registers.to_codes()[:, 0].tolist() == [128, 64, -1, 0]


def test_a_negative_gamma_exchanges_the_counters() -> None:
    folded = fold_one(plain_norm(gamma=columns(-0.5)))
    assert folded.correction.a_p.tolist() == [-0.25]
    # -0.25 P + 0.125 N + 0.5: branch P takes N at 0.125, branch N takes P at 0.25
    assert folded.registers.to_codes()[:, 0].tolist() == [64, 128, 1, 1]
    outputs = apply_nmpu(
        np.array([[100]], np.uint16), np.array([[40]], np.uint16), folded.registers, folded.fmt
    )
    assert outputs.tolist() == [[-19]]  # -25 + 5 + 0.5 = -19.5, a tie that rounds up


def test_a_gamma_of_zero_leaves_beta_alone() -> None:
    folded = fold_batch_norm(
        correction_of(columns(0.5, 0.5), columns(0.5, 0.5), columns(7, 7)),
        BatchNorm(
            gamma=columns(0, 1), beta=columns(-3, 0), mean=columns(5, 0), variance=columns(1, 1)
        ),
        NmpuFormat(),
        input_lsb=1.0,
        output_range=127.0,
    )
    any_counts = np.array([[1000, 0]], np.uint16)
    assert apply_nmpu(any_counts, any_counts, folded.registers, folded.fmt)[0, 0] == -3


def test_relu_is_passed_on() -> None:
    assert fold_one(plain_norm(), relu=True).relu
    assert not fold_one(plain_norm()).relu


def test_a_gain_that_does_not_fit_is_refused() -> None:
    with pytest.raises(CalibrationError, match="largest gain 5 output LSB per count"):
        fold_one(plain_norm(gamma=columns(10)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"variance": columns(-1)}, "variance of column 0 is -1: must be at least 0"),
        ({"variance": columns(0)}, r"variance \+ eps of column 0 is 0: must be above 0"),
        ({"gamma": columns(np.nan)}, "gamma of column 0 is nan: must be finite"),
        ({"mean": columns(np.inf)}, "mean of column 0 is inf: must be finite"),
        ({"beta": columns(1, 2)}, r"beta: must have shape \(column,\) = \(1,\), got \(2,\)"),
        ({"mean": np.zeros((1, 1))}, r"mean: must have shape \(column,\) = \(1,\), got \(1, 1\)"),
        ({"eps": -1e-5}, "eps = -1e-05: must be at least 0 and finite"),
        ({"eps": np.nan}, "eps = nan: must be at least 0"),
    ],
    ids=["variance", "zero", "nan", "inf", "length", "axes", "eps", "eps-nan"],
)
def test_wrong_batch_normalisations_are_refused(
    changed: dict[str, Reals | float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plain_norm(**changed)


@pytest.mark.parametrize("name", ["input_lsb", "output_range"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_steps_and_ranges_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value:g}: must be above 0 and finite"):
        fold_one(plain_norm(), **{name: value})


def test_another_number_of_columns_is_refused() -> None:
    two = columns(1, 1)
    with pytest.raises(ValueError, match="correction has 1 columns, batch normalisation 2"):
        fold_one(BatchNorm(gamma=two, beta=two, mean=two, variance=two))


def test_mixed_signs_are_refused() -> None:
    mixed = correction_of(columns(0.1, 0.1), columns(0.1, -0.2), columns(0, 0))
    with pytest.raises(ValueError, match=r"gains of column 1 are 0\.1 and -0\.2: must have one"):
        nearest_registers(mixed, NmpuFormat(), headroom=1.5)


def test_codes_stand_for_real_numbers() -> None:
    registers = NmpuRegisters(
        scale_p=np.array([128, 128], np.uint8),
        scale_n=np.array([64, 64], np.uint8),
        offset=np.array([-3, 3], np.int16),
        swap=np.array([False, True]),
    )
    held = held_correction(registers, NmpuFormat(shift=1))
    assert held.a_p.tolist() == [0.5, -0.25]
    assert held.a_n.tolist() == [0.25, -0.5]
    assert held.b.tolist() == [-1.5, 1.5]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, 0.75),
        ({"off_frac": 0, "off_bits": 7}, 0.5),
        ({"merge": "per_branch"}, 1.0),
        # 63 / 64 of half an LSB, and half an LSB
        ({"rounding": "floor"}, 63 / 128 + 0.5),
        # 3 of 64 parts of half an LSB are cut before
        ({"cut_pre": 2}, 3 / 128 + 0.75),
        ({"cut_pre": 6}, 63 / 128 + 0.5),
        ({"scale_frac": 1}, 0.5),
    ],
    ids=["paper", "whole-offsets", "per-branch", "floor", "cut-2", "cut-all", "nothing-to-cut"],
)
def test_roundings_are_bounded_by_the_hand_worked_number(
    parameters: dict[str, Any], expected: float
) -> None:
    assert rounding_bound(NmpuFormat(**parameters)) == expected


def test_the_bound_is_the_worst_corner_plus_the_roundings() -> None:
    # One code of 1/128 held too much on P over 1023 counts, half a code too little on N,
    # and a quarter LSB too little of offset.
    wanted = correction_of(columns(127 / 128), columns(64.5 / 128), columns(-1.25))
    registers = NmpuRegisters(
        scale_p=np.array([128], np.uint8),
        scale_n=np.array([64], np.uint8),
        offset=np.array([-3], np.int16),
        swap=np.array([False]),
    )
    expected = 1023 / 128 + 1023 * 0.5 / 128 - 0.25 + 0.75
    assert error_bound(wanted, registers, NmpuFormat())[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("parameters", "is_bounded"),
    [
        ({}, True),
        ({"acc_bits": 9}, True),  # 127.5 + 0 passes the last output code, 127
        ({"acc_bits": 8}, False),  # 63.5 does not
        ({"merge": "per_branch", "acc_bits": 11}, False),  # a branch reaches 1023, clips at 511.5
        ({"merge": "per_branch"}, True),
        ({"saturate": False}, False),  # 1023 wraps
        ({"saturate": False, "in_bits": 6}, True),  # 63 does not
    ],
    ids=["paper", "acc-9", "acc-8", "branch-11", "branch-12", "wraps", "cannot-wrap"],
)
def test_what_may_clip_early_or_wrap_has_no_bound(
    parameters: dict[str, Any], is_bounded: bool
) -> None:
    wanted = correction_of(columns(1), columns(1), columns(0))
    registers = NmpuRegisters(
        scale_p=np.array([128], np.uint8),
        scale_n=np.array([128], np.uint8),
        offset=np.array([0], np.int16),
        swap=np.array([False]),
    )
    bound = error_bound(wanted, registers, NmpuFormat(**parameters))
    assert np.isfinite(bound).tolist() == [is_bounded]


@st.composite
def networks(draw: st.DrawFn) -> tuple[Correction, BatchNorm, float, float]:
    """Draw corrections and batch normalisations of any sign; normalised gains vary widely."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = 8
    correction = correction_of(
        rng.uniform(0, 0.2, size), rng.uniform(0, 0.2, size), rng.normal(0, 10, size)
    )
    input_lsb = 10.0 ** draw(st.integers(-4, 2))
    norm = BatchNorm(
        gamma=rng.normal(0, 1, size) * draw(st.sampled_from([1.0, 0.1])),
        beta=rng.normal(0, 0.5, size),
        mean=rng.normal(0, 20, size) * input_lsb,
        variance=(rng.uniform(5, 40, size) * input_lsb) ** 2,
    )
    return correction, norm, input_lsb, draw(st.sampled_from([1.0, 3.0, 6.0]))


def unfolded_codes(
    counts: npt.NDArray[np.uint16],
    drawn: tuple[Correction, BatchNorm, float, float],
    folded: FoldedBatchNorm,
) -> Reals:
    """Correct, normalise, ReLU, divide and clip, one after the other, as a network does."""
    correction, norm, input_lsb, output_range = drawn
    outputs = correction.a_p * counts[:, 0] - correction.a_n * counts[:, 1] + correction.b
    deviation = np.sqrt(norm.variance + norm.eps)
    normal = norm.gamma * (outputs * input_lsb - norm.mean) / deviation + norm.beta
    normal = np.maximum(normal, 0) if folded.relu else normal
    fmt = folded.fmt
    top = 2 ** (fmt.out_bits - 1) - 1
    lowest = -top if fmt.symmetric else -top - 1
    return np.asarray(np.clip(normal / output_range * top, lowest, top))


def random_counts(fmt: NmpuFormat, size: int) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(7)
    top = (1 << fmt.in_bits) - 1
    counts = rng.integers(0, top + 1, (200, 2, size))
    corners = np.array([[0, 0], [0, top], [top, 0], [top, top]])[:, :, None]
    return np.concatenate([counts, counts // 16, np.repeat(corners, size, axis=2)]).astype(
        np.uint16
    )


FORMATS = st.builds(
    NmpuFormat,
    off_bits=st.sampled_from([8, 9]),
    cut_pre=st.integers(0, 6),
    rounding=st.sampled_from(Rounding),
    acc_bits=st.integers(9, 14),
    symmetric=st.booleans(),
    merge=st.sampled_from(Merge),
    offset_at=st.sampled_from(OffsetAt),
    in_bits=st.sampled_from([8, 10, 12]),
    shared_scale=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(drawn=networks(), fmt=FORMATS, relu=st.booleans())
def test_the_integer_model_stays_within_the_bound_of_the_unfolded_float(
    drawn: tuple[Correction, BatchNorm, float, float], fmt: NmpuFormat, relu: bool
) -> None:
    correction, norm, input_lsb, output_range = drawn
    try:
        folded = fold_batch_norm(
            correction, norm, fmt, input_lsb=input_lsb, output_range=output_range, relu=relu
        )
    except CalibrationError:
        reject()  # gains that this output range makes too large; refused, as they should be
    counts = random_counts(fmt, correction.b.size)
    outputs = apply_nmpu(
        counts[:, 0], counts[:, 1], folded.registers, folded.fmt, relu=folded.relu
    ).astype(np.float64)
    unfolded = unfolded_codes(counts, drawn, folded)
    assert (abs(outputs - unfolded) <= folded.error_bound).all()
    allowed = np.floor(folded.error_bound + 0.5)
    assert (abs(outputs - np.rint(unfolded)) <= allowed).all()


@settings(max_examples=300, deadline=None)
@given(fmt=nmpu_formats(), seed=st.integers(0, 2**32 - 1))
def test_any_codes_in_any_format_stay_within_the_bound(fmt: NmpuFormat, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 6
    highest = 1 << (fmt.scale_int + fmt.scale_frac)
    scale_p, scale_n = rng.integers(0, highest, (2, size)) >> rng.integers(0, 8, (2, size))
    half = 1 << (fmt.off_bits - 1)
    registers = NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=(scale_p if fmt.shared_scale else scale_n).astype(np.uint8),
        offset=(rng.integers(-half, half, size) >> rng.integers(0, 8, size)).astype(np.int16),
        swap=rng.random(size) < 0.5,
    )
    step = 2.0 ** -(fmt.scale_frac + fmt.shift)
    held = held_correction(registers, fmt)
    wanted = correction_of(
        held.a_p + step * rng.uniform(-1, 1, size),
        held.a_n + step * rng.uniform(-1, 1, size),
        held.b + rng.normal(0, 0.3, size),
    )
    counts = random_counts(fmt, size)
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)
    exact = wanted.a_p * counts[:, 0] - wanted.a_n * counts[:, 1] + wanted.b
    clipped = np.clip(exact, fmt.lowest_output, fmt.highest_output)
    bound = error_bound(wanted, registers, fmt)
    assert (abs(outputs - clipped) <= bound).all()


def test_the_paper_format_is_always_bounded() -> None:
    rng = np.random.default_rng(3)
    registers = NmpuRegisters(
        scale_p=rng.integers(0, 256, 1000).astype(np.uint8),
        scale_n=rng.integers(0, 256, 1000).astype(np.uint8),
        offset=rng.integers(-128, 128, 1000).astype(np.int16),
        swap=rng.random(1000) < 0.5,
    )
    held = held_correction(registers, NmpuFormat())
    assert error_bound(held, registers, NmpuFormat()) == pytest.approx(0.75)
