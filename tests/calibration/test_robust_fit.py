"""The robust fit against scipy's, and against the truth where scipy's loses it."""

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import CalibrationError
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.glitch_suspects import suspicious_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.robust_fit import fit_huber, fit_robust
from synthetic_chip import SyntheticColumns, synthetic_columns

Floats = npt.NDArray[np.float64]
GLITCH = 1000


def glitched(
    columns: SyntheticColumns, share: float
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Add 1000 to P or N of a share of the samples of each column."""
    rng = np.random.default_rng(17)
    hit = rng.random(columns.expected.shape) < share
    polarity = rng.integers(0, 2, columns.expected.shape)
    counts = columns.counts.copy()
    for number in (0, 1):
        counts[:, number][hit & (polarity == number)] += GLITCH
    return counts, hit


def scipy_huber(p: Floats, n: Floats, y: Floats, bound: float) -> Floats:
    optimize = pytest.importorskip("scipy.optimize", reason="the oracle is scipy (extra test)")
    scale = np.array([max(np.ptp(p), 1.0), max(np.ptp(n), 1.0), 1.0])
    center = np.array([p.mean(), -n.mean(), 0.0])
    design = (np.column_stack([p, -n, np.ones(len(p))]) - center) / scale
    start = np.linalg.lstsq(design, y, rcond=None)[0]
    found = optimize.least_squares(
        lambda solution: design @ solution - y,
        start,
        jac=lambda _: design,
        loss="huber",
        f_scale=bound,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-12,
        max_nfev=2000,
    ).x
    gains = found[:2] / scale[:2]
    return np.array([*gains, found[2] - gains @ center[:2]])


def hard_case(name: str) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(23)
    p, n = rng.integers(0, 400, (2, 300)).astype(float)
    if name == "collinear":
        n = np.rint(0.7 * p + rng.normal(0, 3, 300)) + 20
    if name == "one-sided":
        n = np.zeros(300)
    if name == "offset":
        p, n = p + 500, n + 500
    y = 40 * p - 35 * n - 500 + rng.normal(0, 100, 300)
    y[rng.random(300) < 0.05] += 40_000  # a glitch of 1000 counts
    if name == "in-the-counts":
        p[rng.random(300) < 0.05] += GLITCH
    return p, n, y


@pytest.mark.parametrize("name", ["plain", "collinear", "one-sided", "offset", "in-the-counts"])
def test_huber_fit_is_the_one_of_scipy(name: str) -> None:
    p, n, y = hard_case(name)
    counts = np.stack([p, n], axis=1)[:, :, None].astype(np.uint16)
    fits = fit_huber(counts, y[:, None], scale=np.array([100.0]), tuning=1.345)
    expected = scipy_huber(p, n, y, 134.5)
    found = np.array([fits.correction.a_p[0], fits.correction.a_n[0], fits.correction.b[0]])
    design = np.column_stack([p, -n, np.ones(300)])
    if name == "one-sided":
        expected[1] = 0  # scipy leaves what has no effect where it started
    np.testing.assert_allclose(design @ found, design @ expected, atol=0.02)
    if name != "one-sided":
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def within_three_errors(fits: ColumnFits, columns: SyntheticColumns) -> list[float]:
    deviations = [
        (getattr(fits.correction, name) - getattr(columns, name)) / getattr(fits, f"{name}_se")
        for name in ("a_p", "a_n", "b")
    ]
    return [float(np.mean(np.abs(deviation) <= 3)) for deviation in deviations]


@pytest.fixture(scope="module")
def thousand() -> SyntheticColumns:
    return synthetic_columns(columns=1000, noise=300.0, seed=5)


def test_truth_survives_one_glitch_in_twenty(thousand: SyntheticColumns) -> None:
    counts, hit = glitched(thousand, 0.05)
    robust = fit_robust(counts, thousand.expected)
    assert min(within_three_errors(robust.fits, thousand)) >= 0.99
    # A glitch of 1000 counts is 130 standard deviations; a good sample beyond 5 is one in 1.7e6.
    assert (robust.is_kept == hit).sum() <= 2
    plain = fit_columns(ColumnMoments.of(counts, thousand.expected))
    assert max(within_three_errors(plain, thousand)[:2]) < 0.05


def test_glitches_in_the_counts_that_defeat_scipy_do_not_matter() -> None:
    columns = synthetic_columns(columns=1, noise=100.0, vectors=400, seed=6)
    counts, _ = glitched(columns, 0.05)
    robust = fit_robust(counts, columns.expected)
    error = robust.fits.a_p_se[0]
    assert abs(robust.fits.correction.a_p[0] - columns.a_p[0]) < 3 * error
    p, n = counts[:, :, 0].T.astype(float)
    theirs = scipy_huber(p, n, columns.expected[:, 0].astype(float), 134.5)
    assert abs(theirs[0] - columns.a_p[0]) > 5 * error


def test_clean_columns_keep_their_samples_and_their_fit() -> None:
    columns = synthetic_columns(columns=200, noise=300.0, seed=8)
    robust = fit_robust(columns.counts, columns.expected)
    assert robust.outlier_share.max() == 0
    plain = fit_columns(columns.moments())
    moved = np.abs(robust.fits.correction.a_p - plain.correction.a_p) / plain.a_p_se
    # 95 % efficiency: the two differ by sqrt(1 / 0.95 - 1) = 0.23 standard errors
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(0.23, abs=0.05)
    # ... and its own standard errors are 1 / sqrt(0.95) = 1.026 times as large
    assert np.mean(robust.fits.a_p_se / plain.a_p_se) == pytest.approx(1.026, abs=0.015)
    assert np.mean(robust.scale) == pytest.approx(300, rel=0.02)


def test_glitches_of_a_one_sided_column_are_found() -> None:
    columns = synthetic_columns(columns=20, noise=100.0, seed=9)
    counts = columns.counts.copy()
    is_positive = np.random.default_rng(2).random(len(counts)) < 0.5
    counts[is_positive, 1], counts[~is_positive, 0] = 0, 0
    expected = columns.a_p * counts[:, 0] - columns.a_n * counts[:, 1] + columns.b
    expected += np.random.default_rng(3).normal(0, 100, expected.shape)
    hit = np.random.default_rng(4).random(expected.shape) < 0.05
    counts[:, 0][hit] += GLITCH
    assert np.array_equal(fit_robust(counts, expected).is_kept, ~hit)


def test_a_perfect_line_is_found_among_glitches() -> None:
    rng = np.random.default_rng(10)
    counts = rng.integers(0, 400, (100, 2, 1)).astype(np.uint16)
    y = 40.0 * counts[:, 0] - 30.0 * counts[:, 1] + 7
    counts[[3, 50], 0] += GLITCH
    robust = fit_robust(counts, y)
    assert np.flatnonzero(~robust.is_kept[:, 0]).tolist() == [3, 50]
    correction = robust.fits.correction
    found = [correction.a_p[0], correction.a_n[0], correction.b[0]]
    assert found == pytest.approx([40, 30, 7], rel=1e-9)


def lines_without_noise(
    slope_p: float, slope_n: float, intercept: float
) -> tuple[npt.NDArray[np.uint16], Floats]:
    """Whole counts of one-phase lines: P of max(x, 0), N of max(-x, 0), and x, -127 to 127."""
    x = np.arange(-127, 128)
    lines = [slope_p * np.maximum(x, 0), slope_n * np.maximum(-x, 0)]
    counts = np.rint(np.stack(lines, axis=1) + intercept)
    return counts[:, :, None].astype(np.uint16), x[:, None].astype(float)


@pytest.mark.parametrize(
    ("slope_p", "slope_n"),
    [(1.0, 1.0), (1.0055, 0.9945), (0.997, 1.0042), (1.0, 1.3), (1.004, 0.7), (2.003, 1.997)],
)
def test_counts_rounded_up_or_down_are_no_glitches(slope_p: float, slope_n: float) -> None:
    counts, x = lines_without_noise(slope_p, slope_n, 7.45)
    robust = fit_robust(counts, x)
    assert robust.is_kept.all()
    found = robust.fits.correction
    p, n = counts[:, :, 0].T.astype(float)
    design = np.column_stack([p, -n, np.ones(len(p))])
    best = np.linalg.lstsq(design, x[:, 0], rcond=None)[0]
    # Huber's weights move the line by less than the roundings, one count in 127.
    assert [found.a_p[0], found.a_n[0]] == pytest.approx(best[:2], abs=1 / 127)
    plain = fit_columns(ColumnMoments.of(counts, x)).correction
    assert suspicious_columns(counts, x, plain).tolist() == []


def test_scale_is_at_least_the_rounding_of_a_count() -> None:
    counts, x = lines_without_noise(1.0, 1.0, 0.0)
    # hypot(1, 1) / sqrt(12), of gains of 1
    assert fit_robust(counts, x).scale[0] == pytest.approx(0.408248, rel=1e-5)
    # ... and of gains of 50 and of 1/50 in other units of x
    for unit in (50.0, 0.02):
        assert fit_robust(counts, unit * x).scale[0] == pytest.approx(0.408248 * unit, rel=1e-5)


def test_a_glitch_among_rounded_counts_is_found() -> None:
    counts, x = lines_without_noise(1.0055, 0.9945, 7.45)
    counts[[40, 200], 0] += 60
    assert np.flatnonzero(~fit_robust(counts, x).is_kept[:, 0]).tolist() == [40, 200]


def test_one_scale_stays_one_scale() -> None:
    columns = synthetic_columns(columns=3, noise=100.0)
    fits = fit_robust(columns.counts, columns.expected, one_scale=True).fits
    assert fits.correction.a_p.tolist() == fits.correction.a_n.tolist()


def test_samples_of_weight_0_are_no_outliers() -> None:
    columns = synthetic_columns(columns=2, noise=100.0)
    counts, weights = columns.counts.copy(), np.ones(columns.expected.shape)
    counts[:30, 0] += GLITCH
    weights[:30] = 0
    robust = fit_robust(counts, columns.expected, weights=weights)
    assert robust.outlier_share.tolist() == [0, 0]
    good = fit_robust(columns.counts[30:], columns.expected[30:])
    np.testing.assert_allclose(robust.fits.correction.a_p, good.fits.correction.a_p, rtol=1e-9)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_columns_with_glitches_are_suspicious(share: float) -> None:
    columns = synthetic_columns(columns=100, noise=100.0, seed=11)
    counts, hit = glitched(columns, share)
    plain = fit_columns(ColumnMoments.of(counts, columns.expected)).correction
    found = suspicious_columns(counts, columns.expected, plain)
    assert found.tolist() == np.flatnonzero(hit.any(axis=0)).tolist()


def test_clean_columns_are_hardly_ever_suspicious(thousand: SyntheticColumns) -> None:
    plain = fit_columns(thousand.moments()).correction
    assert len(suspicious_columns(thousand.counts, thousand.expected, plain)) < 20


def test_one_input_gives_one_result() -> None:
    counts, _ = glitched(columns := synthetic_columns(columns=5), 0.05)
    first, second = (fit_robust(counts, columns.expected) for _ in range(2))
    assert first.fits.correction.b.tolist() == second.fits.correction.b.tolist()


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(CalibrationError, match="3 calibration vectors"):
        fit_robust(np.zeros((3, 2, 1), np.uint16), np.zeros((3, 1)))


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        fit_robust(np.zeros((5, 2, 1), np.uint16), np.full((5, 1), np.nan))
