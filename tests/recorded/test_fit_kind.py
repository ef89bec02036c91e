"""Kinds of fits that `hil calibrate fit --fit` reaches: what they weigh, and what they tell."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import least_squares

from hil.recorded.fit_kind import FitKind, huber_weighted, noise_weighted
from hil_calibration.fit import fit_columns
from hil_calibration.moments import ColumnMoments
from recorded_runs import command

Counts = npt.NDArray[np.uint16]
ONE = ("--read-mode", "one_phase")


def readouts(
    vectors: int, columns: int, noise: float
) -> tuple[Counts, npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Return counts whose noise grows with the code, the outputs 3 P - 2 N + 5, and inputs.

    Every second vector is the one before it once more.
    """
    rng = np.random.default_rng(4)
    true = np.repeat(rng.integers(100, 1000, (vectors // 2, 2, columns)), 2, axis=0)
    inputs = np.repeat(rng.integers(-127, 128, (vectors // 2, 6)), 2, axis=0)
    spread = noise * (true / 1000) ** 2
    counts = np.rint(true + spread * rng.standard_normal(true.shape)).astype(np.uint16)
    expected = 3 * true[:, 0] - 2 * true[:, 1] + 5
    return counts, expected.astype(np.int32), inputs.astype(np.int8)


def test_weighted_gains_are_nearer_to_the_true_ones_where_noise_grows_with_the_code() -> None:
    counts, expected, inputs = readouts(256, 200, noise=30.0)
    plain = fit_columns(ColumnMoments.of(counts, expected)).correction
    moments = noise_weighted(counts, expected, all_inputs=inputs, all_counts=counts)
    weighted = fit_columns(moments).correction
    errors = [float(np.sqrt(np.mean((line.a_p - 3) ** 2))) for line in (weighted, plain)]
    assert errors[0] < 0.8 * errors[1]


def test_huber_sums_give_the_minimum_of_hubers_loss() -> None:
    counts, expected, _ = readouts(256, 3, noise=10.0)
    expected[::9] += 400
    counts, expected = counts[:255], expected[:255]  # odd: one median
    line = fit_columns(huber_weighted(counts, expected, one_scale=False)).correction
    for column in range(3):
        p, n = counts[:, :, column].astype(float).T
        design = np.stack([p, -n, np.ones(255)], axis=1)
        y = expected[:, column].astype(float)
        start = np.linalg.lstsq(design, y, rcond=None)[0]
        scale = 1.4826 * np.median(np.abs(y - design @ start))

        def residual(
            x: npt.NDArray[np.float64],
            design: npt.NDArray[np.float64] = design,
            y: npt.NDArray[np.float64] = y,
        ) -> npt.NDArray[np.float64]:
            return np.asarray(design @ x - y)

        best = least_squares(
            residual, start, loss="huber", f_scale=1.345 * scale, x_scale="jac", xtol=1e-15,
            ftol=1e-15, gtol=1e-15,
        ).x  # fmt: skip
        found = [line.a_p[column], line.a_n[column], line.b[column]]
        assert found == pytest.approx(best, rel=1e-4)


def test_huber_fit_has_other_coefficients_and_every_command_says_so(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "huber.hil.h5"
    done = command("calibrate", "fit", run, "--out", out, "--fit", "huber", *ONE, "--json")
    assert done.code == 0
    (document,) = done.json["runs"]
    assert document["options"] == {"set": [], "calibration_vectors": None, "fit": "huber"}
    (step,) = [each for each in document["steps"] if each["kind"] == "calibrate"]
    assert step["ids"]["correction"] != step["ids_before"]["correction"]
    assert step["ids"]["raw"] == step["ids_before"]["raw"]
    assert step["errors"]["float"] == pytest.approx(step["errors_before"]["float"], rel=0.1)
    assert command("data", "verify", out).code == 0
    notes = command("calibrate", "diff", run, out, "--json").json["notes"]
    assert notes[0] == "B was fitted again, with a huber fit"
    trace = command("data", "trace", out, "--core", 0, "--column", 1, "--json").json
    (link,) = [link for link in trace["links"] if link["name"] == "fitted again"]
    assert link["facts"]["fit"] == "huber"
    again = tmp_path / "again.hil.h5"
    command("calibrate", "fit", run, "--out", again, "--fit", "huber", *ONE, "--workers", 2)
    assert again.read_bytes() == out.read_bytes()


def test_robust_and_clip_aware_fits_are_settings_of_the_campaigns_own(
    run: Path, tmp_path: Path
) -> None:
    written = {}
    for name, arguments in {
        "fit": ("--fit", "robust"),
        "option": ("--robust",),
        "both": ("--robust", "--fit", "robust"),
    }.items():
        out = tmp_path / f"{name}.hil.h5"
        assert command("calibrate", "fit", run, "--out", out, *ONE, *arguments).code == 0
        written[name] = out.read_bytes()
    assert len(set(written.values())) == 1
    out = tmp_path / "clips.hil.h5"
    done = command("calibrate", "fit", run, "--out", out, *ONE, "--fit", "clip-aware", "--json")
    assert done.json["runs"][0]["options"]["set"] == ["calibration.saturated_share=0"]


def test_weighted_fit_without_repeated_vectors_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "weighted.hil.h5"
    done = command("calibrate", "fit", run, "--out", out, "--fit", "weighted")
    assert done.code != 0
    assert "fewer than 16 pairs of readouts have the same inputs" in done.stderr
    assert not out.exists()


def test_every_kind_can_be_asked_for() -> None:
    refused = command("calibrate", "fit", "x", "--out", "y", "--fit", "nothing")
    assert refused.code == 2
    assert all(f"'{kind}'" in refused.stderr for kind in FitKind)
