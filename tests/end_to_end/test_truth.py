"""The fit finds what the mock chip really is, which it has never read."""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from command_line import campaign_file, hil

Array = npt.NDArray[np.float64]

CLEAN_ARRAY = """schema_version = 1
name = "clean"
[array]
cores = 2
programming_noise = 0.0
stuck_share = 0.0
dead_column_chance = 0.0
[counter]
curvature_sigma = {curvature}
"""


class Fitted(NamedTuple):
    """Per column of one step: relative error of the fitted gain, and its standard error."""

    error: Array
    standard_error: Array


@pytest.fixture(scope="module", params=[0.0, 0.001], ids=["straight", "curved"])
def fits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Fitted]:
    folder = tmp_path_factory.mktemp("truth")
    (folder / "clean.toml").write_text(CLEAN_ARRAY.format(curvature=request.param))
    campaign = campaign_file(
        folder,
        resource=f"mock://clean.toml?seed=5&truth={folder}/truth.npz",
        vectors="calibration = 512\nverification = 32",
    )
    ended = hil("run", campaign)
    assert ended.code == 0, ended.stderr
    truth = dict(np.load(folder / "truth.npz"))
    return [fit for path in sorted((folder / "run/steps").iterdir()) for fit in judge(path, truth)]


def judge(path: Path, truth: dict[str, Array]) -> list[Fitted]:
    """Compare the fitted gains of a step with those of the true transfer curves.

    A converter is slightly curved, so its true gain is that of the straight line through its
    curve at the currents of the calibration vectors, without noise.
    """
    with h5py.File(path) as step:
        core, mode = step.attrs["core"], step.attrs["read_mode"]
        count = step.attrs["calibration_vectors"]
        inputs = step["inputs"][:count].astype(np.float64)
        weights = step["weights"][...].astype(np.float64)
        expected = step["expected"][:count].astype(np.float64)
        lsb = step["correction"].attrs["output_lsb"]
        gains = [step[f"correction/a_{side}"][...] * lsb for side in "pn"]
        errors = [step[f"correction/a_{side}_errors"][...] * lsb for side in "pn"]
    net = inputs @ weights
    magnitude = np.abs(inputs) @ np.abs(weights)
    if mode == "four_phase":
        sums = [(magnitude + net) / 2, (magnitude - net) / 2]
    else:
        sums = [np.maximum(net, 0), np.maximum(-net, 0)]
    full_scale_counts = 420.0
    per_product = float(truth["counts_per_product"])
    curves = []
    for side, products in zip("pn", sums, strict=True):
        current = products * per_product / full_scale_counts
        gain, bend, offset = (truth[f"{n}_{side}"][core] for n in ("gain", "curvature", "offset"))
        curves.append(full_scale_counts * gain * current / (1 + bend * current) + offset)
    fitted = []
    for column in range(expected.shape[1]):
        design = np.stack([curves[0][:, column], -curves[1][:, column], np.ones(count)], axis=1)
        solution, *_ = np.linalg.lstsq(design, expected[:, column], rcond=None)
        fitted.append(solution[:2])
    true_gains = np.array(fitted).T
    return [
        Fitted(gains[side] / true_gains[side] - 1, errors[side] / true_gains[side])
        for side in range(2)
    ]


def test_gains_match_within_three_standard_errors_on_99_percent_of_columns(
    fits: list[Fitted],
) -> None:
    assert len(fits) == 8  # two cores, two read modes, two polarities
    inside = [np.abs(fit.error) < 3 * fit.standard_error for fit in fits]
    assert np.concatenate(inside).mean() >= 0.99


def test_relative_gain_error_from_512_vectors_is_below_0_4_percent(fits: list[Fitted]) -> None:
    for fit in fits:
        assert fit.error.std() < 0.004


def test_standard_errors_are_of_the_size_of_the_errors(fits: list[Fitted]) -> None:
    for fit in fits:
        assert 0.7 < (fit.error / fit.standard_error).std() < 1.4
