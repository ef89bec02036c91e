"""A whole core of known truth, from counts to register codes."""

from typing import Any

import numpy as np
import pytest

from hil.core.correction import ColumnFlag
from hil.core.errors import CalibrationError
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil_calibration.calibrate import CoreCalibration, calibrate_core
from hil_calibration.quality import QualityLimits
from hil_calibration.verify import correct_all_ways, errors_by_correction
from synthetic_chip import SyntheticColumns, synthetic_columns


def calibrate(columns: SyntheticColumns, **changed: Any) -> CoreCalibration:
    arguments: dict[str, Any] = {
        "fmt": NmpuFormat(),
        "saturated_counts": np.zeros(columns.counts.shape[2], np.int64),
        "sample_counts": columns.counts,
        "sample_expected": columns.expected,
        "largest_expected": float(np.abs(columns.expected).max()),
    }
    return calibrate_core(columns.moments(), **(arguments | changed))


def flag_names(calibration: CoreCalibration) -> list[list[str]]:
    return [ColumnFlag(int(bits)).names() for bits in calibration.flags]


@pytest.fixture(scope="module")
def thousand() -> SyntheticColumns:
    return synthetic_columns(columns=1000, noise=300.0)


@pytest.fixture(scope="module")
def calibrated(thousand: SyntheticColumns) -> CoreCalibration:
    return calibrate(thousand)


@pytest.mark.parametrize("name", ["a_p", "a_n", "b"])
def test_truth_lies_within_three_standard_errors(
    thousand: SyntheticColumns, calibrated: CoreCalibration, name: str
) -> None:
    found = getattr(calibrated.correction, name) * calibrated.output_lsb
    error = getattr(calibrated, f"{name}_se") * calibrated.output_lsb
    deviation = (found - getattr(thousand, name)) / error
    assert np.mean(np.abs(deviation) <= 3) >= 0.99
    # Neither far too wide nor far too narrow: 1 within five of its own standard errors.
    assert np.std(deviation) == pytest.approx(1.0, abs=0.11)


def test_residual_is_the_noise(calibrated: CoreCalibration) -> None:
    noise = calibrated.residual_rms * calibrated.output_lsb
    # 300 with a relative spread of 1 / sqrt(2 * 253) = 4.4 % per column
    assert np.mean(noise) == pytest.approx(300.0, rel=0.01)
    assert noise == pytest.approx(np.full(1000, 300.0), rel=0.22)


def test_good_columns_have_no_flags(calibrated: CoreCalibration) -> None:
    assert not calibrated.flags.any()


def test_expected_outputs_fill_the_register(
    thousand: SyntheticColumns, calibrated: CoreCalibration
) -> None:
    largest = np.abs(thousand.expected).max()
    assert calibrated.output_lsb * 127 == pytest.approx(largest, rel=1e-12)


def test_scales_leave_the_headroom_and_use_the_rest(calibrated: CoreCalibration) -> None:
    codes = np.stack([calibrated.registers.scale_p, calibrated.registers.scale_n])
    assert codes.max() * 1.5 <= 255 + 1.5  # a neighbouring code may be the better one
    assert codes.max() * 1.5 * 2 > 255


def test_correcting_held_out_vectors_leaves_noise_and_rounding() -> None:
    both = synthetic_columns(columns=100, vectors=512, noise=30.0)
    seen = SyntheticColumns(both.counts[:256], both.expected[:256], both.a_p, both.a_n, both.b)
    calibration = calibrate(seen)
    outputs = correct_all_ways(
        both.counts[256:],
        global_gain=calibration.global_gain,
        correction=calibration.correction,
        fmt=calibration.fmt,
        registers=calibration.registers,
    )
    errors = errors_by_correction(outputs, both.expected[256:] / calibration.output_lsb)
    # Signal: 40 * 400 / sqrt(12) * sqrt(2) = 6532, with offsets of 400: 6544. Noise: 30.
    assert errors["float"] == pytest.approx(30 / 6544, rel=0.02)
    # One LSB is 140; rounding adds 140 / sqrt(12) = 40.
    assert errors["fp16"] == pytest.approx(50 / 6544, rel=0.03)
    # Variances in LSB: half-LSB rounding 1/48, the tie-up of halves 1/16, offset steps of 1/2
    # 1/48, scale steps of 2**-8 0.03: 0.37 LSB = 52.
    assert errors["nmpu"] == pytest.approx(60 / 6544, rel=0.05)
    # Gains off by 7 % of counts of 231 rms, twice, and the offsets: about 1,000.
    assert errors["uncorrected"] == pytest.approx(1000 / 6544, rel=0.15)


def test_a_large_gain_makes_the_output_step_coarser() -> None:
    columns = synthetic_columns(noise=20.0, highest_count=20, offset_sigma=0.0)
    calibration = calibrate(columns)
    # 40 per count and at most 800 in all: 127 steps of 7 would need a scale of 40 / 7 * 1.5.
    gains = np.abs([calibration.correction.a_p, calibration.correction.a_n])
    assert calibration.fmt.shift == 0
    assert gains.max() * 1.5 == pytest.approx(1.9921875, rel=1e-9)


def test_global_gain_is_in_output_steps(
    thousand: SyntheticColumns, calibrated: CoreCalibration
) -> None:
    # The mean of gains of 40 with 7 % spread
    assert calibrated.global_gain * calibrated.output_lsb == pytest.approx(40.0, rel=0.01)


def spoiled(**changed: Any) -> SyntheticColumns:
    columns = synthetic_columns(columns=6, noise=100.0)
    counts, expected = columns.counts.copy(), columns.expected.copy()
    if "silent_counts" in changed:
        counts[:, :, changed["silent_counts"]] = 3
    if "no_weights" in changed:
        expected[:, changed["no_weights"]] = 0
    if "turned" in changed:
        counts[:, :, changed["turned"]] = counts[:, ::-1, changed["turned"]]
    if "mixed" in changed:
        p, n = counts[:, :, changed["mixed"]].T.astype(np.int32)
        expected[:, changed["mixed"]] = changed["gain_p"] * p - changed["gain_n"] * n
    return SyntheticColumns(counts, expected, columns.a_p, columns.a_n, columns.b)


def test_unused_and_dead_columns_are_neutral() -> None:
    calibration = calibrate(spoiled(silent_counts=1, no_weights=4))
    assert flag_names(calibration) == [[], ["dead", "stuck"], [], [], ["unused"], []]
    for values in (calibration.correction.a_p, calibration.correction.a_n):
        assert values[[1, 4]].tolist() == [0, 0]
    assert calibration.correction.b[[1, 4]].tolist() == [0, 0]
    assert calibration.registers.to_codes()[:, [1, 4]].tolist() == [[0, 0]] * 4


def test_a_turned_column_is_swapped_and_flagged() -> None:
    calibration = calibrate(spoiled(turned=2))
    assert flag_names(calibration)[2] == ["negative_gain"]
    assert calibration.registers.swap.tolist() == [False, False, True, False, False, False]
    assert calibration.correction.a_p[2] < 0


@pytest.mark.parametrize(
    ("gain_p", "gain_n", "swap", "flags"),
    [
        (40, -10, False, ["mixed_sign"]),
        (-40, 10, True, ["negative_gain", "mixed_sign"]),
    ],
    ids=["P-kept", "P-kept-negative"],
)
def test_mixed_signs_lose_the_weaker_polarity(
    gain_p: int, gain_n: int, *, swap: bool, flags: list[str]
) -> None:
    calibration = calibrate(
        spoiled(mixed=2, gain_p=gain_p, gain_n=gain_n), limits=QualityLimits(poor_fit_ratio=100)
    )
    assert flag_names(calibration)[2] == flags
    assert calibration.correction.a_n[2] == 0
    assert bool(calibration.registers.swap[2]) == swap
    # The residual is that of the fit kept: 10 * N, uniform over 401 counts, sigma 1157.6
    residual = calibration.residual_rms[2] * calibration.output_lsb
    assert residual == pytest.approx(1157.6, rel=0.1)
    assert calibration.a_n_se[2] == 0


def with_one_far_offset() -> SyntheticColumns:
    columns = synthetic_columns(columns=4, noise=100.0, offset_sigma=0.0)
    expected = columns.expected.copy()
    expected[:, 3] += 9_000  # about 45 LSB where the largest output is 25,000
    return SyntheticColumns(columns.counts, expected, columns.a_p, columns.a_n, columns.b)


def test_the_output_step_grows_until_the_offset_fits() -> None:
    # Two codes of 0.5 stay free: 9,000 / 14.5 = 621 per code
    calibration = calibrate(with_one_far_offset(), fmt=NmpuFormat(off_int=5, off_bits=6))
    assert flag_names(calibration) == [[]] * 4
    assert calibration.output_lsb == pytest.approx(621, rel=0.01)
    assert calibration.correction.b.max() == pytest.approx(14.5, rel=1e-12)


def test_an_offset_coarsens_the_output_step_at_most_fourfold() -> None:
    columns = with_one_far_offset()
    calibration = calibrate(columns, fmt=NmpuFormat(off_int=3, off_bits=4))
    largest = np.abs(columns.expected).max()
    assert calibration.output_lsb == pytest.approx(4 * largest / 127, rel=1e-12)
    assert flag_names(calibration) == [[], [], [], ["offset_clipped"]]


def test_an_offset_before_the_shift_leaves_the_output_step() -> None:
    columns = with_one_far_offset()
    fmt = NmpuFormat(off_int=3, off_bits=4, offset_at=OffsetAt.BEFORE_SHIFT)
    largest = np.abs(columns.expected).max()
    assert calibrate(columns, fmt=fmt).output_lsb == pytest.approx(largest / 127, rel=1e-12)


def test_saturated_counts_are_kept_and_flagged() -> None:
    saturated = np.array([0, 0, 50, 0, 0, 0], np.int64)
    calibration = calibrate(spoiled(), saturated_counts=saturated)
    assert flag_names(calibration) == [[], [], ["saturated"], [], [], []]
    assert calibration.saturated_counts.tolist() == [0, 0, 50, 0, 0, 0]


def glitched(columns: SyntheticColumns, *, column: int) -> SyntheticColumns:
    counts = columns.counts.copy()
    hit = np.random.default_rng(4).random(len(counts)) < 0.05
    counts[hit, 0, column] += 1000
    return SyntheticColumns(counts, columns.expected, columns.a_p, columns.a_n, columns.b)


def test_glitches_are_left_out_and_flagged() -> None:
    columns = synthetic_columns(columns=6, noise=100.0)
    calibration = calibrate(glitched(columns, column=2))
    assert flag_names(calibration) == [[], [], ["glitchy"], [], [], []]
    for name in ("a_p", "a_n", "b"):
        found = getattr(calibration.correction, name)[2] * calibration.output_lsb
        error = getattr(calibration, f"{name}_se")[2] * calibration.output_lsb
        assert abs(found - getattr(columns, name)[2]) < 4 * error


def half_wrong(columns: SyntheticColumns, *spoiled: int, share: float = 0.4) -> SyntheticColumns:
    """Add 50 to 20,000 to P of a share of the samples of some columns."""
    rng = np.random.default_rng(4)
    counts = columns.counts.copy()
    hit = rng.random(len(counts)) < share
    for column in spoiled:
        counts[hit, 0, column] += (10 ** rng.uniform(1.7, 4.3, hit.sum())).astype(np.uint16)
    return SyntheticColumns(counts, columns.expected, columns.a_p, columns.a_n, columns.b)


def test_column_that_drops_two_fifths_of_its_samples_is_not_calibrated() -> None:
    columns = half_wrong(synthetic_columns(columns=6, noise=100.0, vectors=512), 2)
    calibration = calibrate(columns)
    assert flag_names(calibration) == [
        [], [], ["dead", "poor_fit", "glitchy"], [], [], []
    ]  # fmt: skip
    assert 0.35 < calibration.glitch_share[2] < 0.45
    correction = calibration.correction
    assert [correction.a_p[2], correction.a_n[2], correction.b[2]] == [0.0, 0.0, 0.0]
    # Its residual and its share explained are those of all its samples, dropped ones included.
    design = np.column_stack([*columns.counts[:, :, 2].T.astype(float), np.ones(512)])
    y = columns.expected[:, 2].astype(float)
    squares = np.linalg.lstsq(design, y, rcond=None)[1][0]
    found = calibration.residual_rms[2] * calibration.output_lsb
    assert found == pytest.approx(np.sqrt(squares / 509), rel=1e-9)
    assert calibration.r_squared[2] == pytest.approx(1 - squares / np.var(y) / 512, rel=1e-9)


def test_column_that_drops_a_fifth_is_still_calibrated() -> None:
    columns = half_wrong(synthetic_columns(columns=3, noise=100.0, vectors=512), 1, share=0.2)
    calibration = calibrate(columns)
    assert flag_names(calibration) == [[], ["glitchy"], []]
    found = calibration.correction.a_p[1] * calibration.output_lsb
    assert found == pytest.approx(columns.a_p[1], rel=0.02)


def test_core_of_glitches_only_is_refused_by_name() -> None:
    columns = half_wrong(synthetic_columns(columns=2, noise=100.0, vectors=512), 0, 1)
    with pytest.raises(CalibrationError, match=r"of 2 columns more than 25 % of the samples"):
        calibrate(columns)


def test_glitches_do_not_move_the_codes() -> None:
    columns = synthetic_columns(columns=6, noise=100.0)
    clean, bad = calibrate(columns), calibrate(glitched(columns, column=2))
    # Other samples make another choice among neighbours; 5 % glitches of 15 LSB would move 10.
    difference = bad.registers.to_codes()[:3] - clean.registers.to_codes()[:3]
    assert np.abs(difference[:, 2]).max() <= 2
    assert not np.delete(difference, 2, axis=1).any()


def test_clean_columns_beside_a_bad_one_stay_bit_for_bit() -> None:
    columns = synthetic_columns(columns=6, noise=100.0)
    clean, bad = calibrate(columns), calibrate(glitched(columns, column=2))
    others = [0, 1, 3, 4, 5]
    for name in ("a_p", "a_n", "b"):
        expected = getattr(clean.correction, name)[others].tolist()
        assert getattr(bad.correction, name)[others].tolist() == expected


def test_clipped_samples_are_left_out_of_a_saturated_column() -> None:
    columns = synthetic_columns(columns=4, noise=100.0)
    counts = columns.counts.copy()
    counts[:, :, 1] = np.minimum(counts[:, :, 1], 360)
    clipped = SyntheticColumns(counts, columns.expected, columns.a_p, columns.a_n, columns.b)
    saturated = np.array([0, int((counts[:, :, 1] == 360).sum()), 0, 0], np.int64)
    calibration = calibrate(clipped, saturated_counts=saturated, clip_code=360)
    assert flag_names(calibration) == [[], ["saturated"], [], []]
    found = calibration.correction.a_p[1] * calibration.output_lsb
    assert abs(found - columns.a_p[1]) < 3 * calibration.a_p_se[1] * calibration.output_lsb


def test_loose_gains_become_one() -> None:
    columns = synthetic_columns(columns=3, noise=100.0)
    counts, expected = columns.counts.copy(), columns.expected.copy()
    rng = np.random.default_rng(6)
    counts[:, 1, 1] = 500 - counts[:, 0, 1] // 2 + rng.integers(0, 2, len(counts))
    p, n = counts[:, :, 1].T.astype(float)
    expected[:, 1] = np.rint(40 * p - 40 * n + rng.normal(0, 100, len(counts)))
    loose = SyntheticColumns(counts, expected, columns.a_p, columns.a_n, columns.b)
    calibration = calibrate(loose)
    assert flag_names(calibration) == [[], ["ill_conditioned"], []]
    assert calibration.correction.a_p[1] == calibration.correction.a_n[1]
    assert calibration.correction.a_p[1] * calibration.output_lsb == pytest.approx(40, rel=0.01)


def test_inputs_that_never_change_are_refused() -> None:
    columns = synthetic_columns(columns=3)
    constant = np.broadcast_to(columns.expected[:1], columns.expected.shape).copy()
    with pytest.raises(CalibrationError, match="every expected output is constant"):
        calibrate(SyntheticColumns(columns.counts, constant, columns.a_p, columns.a_n, columns.b))


def test_a_core_that_does_not_respond_is_refused() -> None:
    columns = synthetic_columns(columns=3)
    silent = SyntheticColumns(
        np.zeros_like(columns.counts), columns.expected, columns.a_p, columns.a_n, columns.b
    )
    with pytest.raises(CalibrationError, match="no column responds to its inputs"):
        calibrate(silent)


@pytest.mark.parametrize(
    "fmt",
    [
        NmpuFormat(rounding=Rounding.FLOOR, cut_pre=6),
        NmpuFormat(shared_scale=True),
        NmpuFormat(out_bits=6),
        NmpuFormat(symmetric=True, off_bits=9),
        NmpuFormat(offset_at=OffsetAt.BEFORE_SHIFT),
    ],
    ids=["truncating", "shared", "6-bit", "9-bit-offset", "before-shift"],
)
def test_registers_fit_every_format(fmt: NmpuFormat) -> None:
    calibration = calibrate(spoiled(silent_counts=1, turned=2), fmt=fmt)
    calibration.registers.check_fits(calibration.fmt)
    assert calibration.fmt == fmt.with_shift(calibration.fmt.shift)


def test_one_input_gives_one_result() -> None:
    first, second = (calibrate(spoiled(turned=2)) for _ in range(2))
    assert first.registers == second.registers
    assert first.output_lsb == second.output_lsb
    assert np.array_equal(first.correction.b, second.correction.b)
