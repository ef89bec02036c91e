"""Folded batch normalisation against the unfolded one, through the integer model."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from extreme_counts import extreme_counts
from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, OffsetAt
from hil_calibration.fold import (
    BatchNorm,
    FoldedBatchNorm,
    fold_batch_norm,
    nearest_registers,
)
from hil_calibration.nmpu import apply_nmpu

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
    counts = extreme_counts(fmt, correction.b.size)
    outputs = apply_nmpu(
        counts[:, 0], counts[:, 1], folded.registers, folded.fmt, relu=folded.relu
    ).astype(np.float64)
    unfolded = unfolded_codes(counts, drawn, folded)
    assert (abs(outputs - unfolded) <= folded.error_bound).all()
    allowed = np.floor(folded.error_bound + 0.5)
    assert (abs(outputs - np.rint(unfolded)) <= allowed).all()
