"""Slopes and intercepts of another laboratory become a run whose gains are their inverse."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from command_line import hil
from foreign_recordings import HEAD, convert, gains, write_csv
from hil.campaign.resume import RunHistory
from hil.core.correction import ColumnFlag
from hil.core.errors import DatasetError
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.run_directory import RunDirectory

COLUMNS = 12
MAPPING = (
    HEAD.format(form="fits")
    + """
[steps]
read_mode = "one_phase"

[take]
core = [0, 1, 15]
visit = [0, 2]

[visits]
quantity = "supply.voltage"
unit = "V"
values = [0.75, 0.85]

[fits]
rule = "difference"
errors = "errors"
axes = ["core", "core", "visit", "column"]
"""
)


def fits() -> dict[str, Any]:
    """The layout of a published chip: (8, 2, voltage, column), gains of alternating sign."""
    rng = np.random.default_rng(5)
    sign = np.where(np.arange(COLUMNS) % 2, -1.0, 1.0)
    slope = sign * rng.uniform(0.8, 2.4, (8, 2, 3, COLUMNS))
    intercept = rng.normal(8, 3.65, slope.shape)
    errors = np.full(slope.shape, 13.0)
    slope[0, 1, 0, 3] = np.nan
    errors[7, 1, 2, 5] = 0
    return {"slope": slope, "intercept": intercept, "errors": errors}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits")
    np.savez(folder / "calibrate_forward_0.npz", **fits())
    convert(folder, MAPPING, folder / "calibrate_forward_0.npz")
    return folder


@pytest.mark.parametrize(
    ("step", "at"),
    [
        ("core00_one_phase", (0, 0, 0)),
        ("core01_one_phase_visit01", (0, 1, 2)),
        ("core15_one_phase", (7, 1, 0)),
    ],
)
def test_gains_are_the_inverse_of_the_slopes(
    folder: Path, step: str, at: tuple[int, int, int]
) -> None:
    slope, intercept = fits()["slope"][at], fits()["intercept"][at]
    found = gains(folder / "run" / "steps" / f"{step}.h5")
    # Counts are whole: half a count in 127 x 0.8, over 512 vectors.
    np.testing.assert_allclose(found["a_p"] * slope, 1, rtol=0.002)
    np.testing.assert_allclose(found["a_n"] * slope, 1, rtol=0.002)
    np.testing.assert_allclose(found["b"], -intercept / slope, atol=0.1)


@pytest.mark.parametrize("rule", ["difference", "pair"])
def test_slopes_of_nearly_one_lose_no_samples(tmp_path: Path, rule: str) -> None:
    rng = np.random.default_rng(8)
    shape = (1, 40) if rule == "difference" else (1, 2, 40)
    slope, intercept = rng.uniform(0.994, 1.006, shape), rng.uniform(0, 9, shape)
    slope[..., 0], slope[..., 1] = 1.0, 1.0 + 1e-9
    if rule == "pair":
        slope[0, 1, 20:] = 1.3  # one counter is exact, the other one rounded
    np.savez(tmp_path / "f.npz", slope=slope, intercept=intercept)
    axes = '"core", "column"' if rule == "difference" else '"core", "polarity", "column"'
    mapping = HEAD.format(form="fits") + '[steps]\nread_mode = "one_phase"\n[fits]\n'
    mapping += f'rule = "{rule}"\naxes = [{axes}]\n'
    convert(tmp_path, mapping, tmp_path / "f.npz")
    step = tmp_path / "run" / "steps" / "core00_one_phase.h5"
    found = gains(step)
    wrong = int(ColumnFlag.GLITCHY | ColumnFlag.SINGLE_POLARITY | ColumnFlag.DEAD)
    assert not (found["flags"] & wrong).any()
    with h5py.File(step) as file:
        assert not file["quality/glitch_share"][...].any()
        assert not file["quality/outlier_share"][...].any()
        counts = file["raw"][:512].astype(float)
        x = file["inputs"][:512, 0].astype(float)
    for column in range(40):
        p, n = counts[:, :, column].T
        design = np.column_stack([p, -n, np.ones(512)])
        best = np.linalg.lstsq(design, x, rcond=None)[0]
        at = [found[name][column] for name in ("a_p", "a_n", "b")]
        assert at == pytest.approx(best, rel=1e-9, abs=1e-9)
    slopes = slope[0] if rule == "pair" else np.stack([slope[0], slope[0]])
    # Roundings of one sign on one half of 127 steps, the worst there is, turn a line by 1.2 %.
    np.testing.assert_allclose(found["a_p"] * slopes[0], 1, atol=0.013)
    np.testing.assert_allclose(found["a_n"] * slopes[1], 1, atol=0.013)


def test_finer_steps_of_x_tell_slopes_of_nearly_one(tmp_path: Path) -> None:
    slope = np.linspace(0.994, 1.006, 25)[None]
    np.savez(tmp_path / "f.npz", slope=slope, intercept=np.full(slope.shape, 3.3))
    mapping = HEAD.format(form="fits") + '[steps]\nread_mode = "one_phase"\n[stimulus]\n'
    mapping += "x_per_product = 0.0317\n[fits]\n"
    mapping += 'rule = "difference"\naxes = ["core", "column"]\n'
    convert(tmp_path, mapping, tmp_path / "f.npz")
    found = gains(tmp_path / "run" / "steps" / "core00_one_phase.h5")
    np.testing.assert_allclose(0.0317 * found["a_p"] * slope[0], 1, atol=0.002)
    np.testing.assert_allclose(0.0317 * found["a_n"] * slope[0], 1, atol=0.002)


@pytest.mark.parametrize(
    ("step", "column"),
    [("core01_one_phase", 3), ("core15_one_phase_visit01", 5)],
    ids=["slope is NaN", "errors is 0"],
)
def test_failed_fit_is_a_dead_column(folder: Path, step: str, column: int) -> None:
    found = gains(folder / "run" / "steps" / f"{step}.h5")
    dead = np.flatnonzero(found["flags"] & int(ColumnFlag.DEAD))
    assert dead.tolist() == [column]
    assert found["a_p"][column] == 0


def test_errors_may_be_truth_values(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "f.npz",
        slope=np.full((1, 3), 1.5),
        intercept=np.full((1, 3), 4.0),
        errors=np.array([[True, False, True]]),
    )
    mapping = HEAD.format(form="fits") + '[steps]\nread_mode = "one_phase"\n[fits]\n'
    mapping += 'rule = "difference"\nerrors = "errors"\naxes = ["core", "column"]\n'
    convert(tmp_path, mapping, tmp_path / "f.npz")
    found = gains(tmp_path / "run" / "steps" / "core00_one_phase.h5")
    assert (found["flags"] & int(ColumnFlag.DEAD)).astype(bool).tolist() == [False, True, False]


def test_synthesised_counts_are_called_so(folder: Path) -> None:
    run = folder / "run"
    start, step, *_ = (run / "journal.jsonl").read_text().splitlines()
    assert '"synthesised": true' in start
    assert '"synthesised": true' in step
    with h5py.File(run / "steps" / "core00_one_phase.h5") as file:
        assert file.attrs["title"] == "From elsewhere (synthesised counts)"
        assert file.attrs["resource"].startswith("synthesised from fits, mapping ")
    assert "synthesised, not measured" in (run / "campaign.toml").read_text()


def test_visit_has_its_voltage_as_condition(folder: Path) -> None:
    with h5py.File(folder / "run" / "steps" / "core00_one_phase_visit01.h5") as file:
        conditions = file["conditions"]
        assert conditions["setpoint"][...].tolist() == [0.85]
        assert conditions.attrs["instruments"] == '["supply"]'
        assert conditions.attrs["units"] == '["V"]'


def test_run_is_whole_and_other_commands_take_it(folder: Path) -> None:
    run = folder / "run"
    assert verify_run(run).findings == ()
    replayed = hil("replay", run, "--out", folder / "replayed", "--quiet", "--json")
    assert replayed.code == 0, replayed.stderr
    exported = hil(
        "export", run, "--at", "supply.voltage=0.85", "--format", "json", "-o", folder / "c.json"
    )
    assert exported.code == 0, exported.stderr
    with pytest.raises(DatasetError, match="is a conversion: make it again with hil data convert"):
        RunHistory.of(RunDirectory(run))


def test_workers_write_the_same_bytes(folder: Path) -> None:
    convert(folder, MAPPING, folder / "calibrate_forward_0.npz", out="by_two", workers=2)
    steps = sorted((folder / "run" / "steps").iterdir())
    assert len(steps) == 6
    for step in steps:
        assert (folder / "by_two" / "steps" / step.name).read_bytes() == step.read_bytes()


def test_lines_of_both_counters_are_drawn_apart(tmp_path: Path) -> None:
    slope = np.array([[[2.0, 1.0], [3.0, 4.0]]])  # core, polarity, column: N first
    np.savez(tmp_path / "f.npz", s=slope, i=np.full(slope.shape, 20.0))
    mapping = (
        HEAD.format(form="fits")
        + '[steps]\nread_mode = "four_phase"\n[axes]\npolarity = ["N", "P"]\n'
        + '[fits]\nrule = "pair"\nslope = "s"\nintercept = "i"\n'
        + 'axes = ["core", "polarity", "column"]\n'
    )
    convert(tmp_path, mapping, tmp_path / "f.npz")
    found = gains(tmp_path / "run" / "steps" / "core00_four_phase.h5")
    np.testing.assert_allclose(found["a_p"], [1 / 3, 1 / 4], rtol=1e-6)
    np.testing.assert_allclose(found["a_n"], [1 / 2, 1], rtol=1e-6)


def test_wide_range_of_x_is_reached_exactly(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", slope=np.array([[50.0]]), intercept=np.array([[500.0]]))
    mapping = (
        HEAD.format(form="fits")
        + '[steps]\nread_mode = "one_phase"\n[stimulus]\nx_lowest = 0\nx_highest = 10\n'
        + "x_per_product = 0.0004\n[nmpu]\nin_bits = 12\n"
        + '[fits]\nrule = "single"\naxes = ["core", "column"]\n'
    )
    convert(tmp_path, mapping, tmp_path / "f.npz")
    with h5py.File(tmp_path / "run" / "steps" / "core00_one_phase.h5") as file:
        products = file["inputs"][...].astype(int) @ file["weights"][...].astype(int)
        raw = file["raw"][...]
    assert products.min() >= 0
    assert products.max() <= 25000
    assert products.max() > 24900
    np.testing.assert_array_equal(
        raw[:, 0, 0], np.rint(products[:, 0] * 0.0004 * 50 + 500).astype(int)
    )
    assert not raw[:, 1].any()


def test_csv_of_fits_gives_the_same_readouts_as_arrays(tmp_path: Path) -> None:
    slope, intercept = np.array([[1.5, -2.0, 0.75]]), np.array([[3.0, 4.0, 5.0]])
    np.savez(tmp_path / "f.npz", slope=slope, intercept=intercept)
    rows = [(4, column, slope[0, column - 1], intercept[0, column - 1]) for column in (3, 1, 2)]
    write_csv(tmp_path / "f.csv", ["die", "col", "m", "c"], rows)
    head = HEAD.format(form="fits") + '[steps]\nread_mode = "one_phase"\n'
    arrays = head + '[axes]\ncore = [4]\n[fits]\nrule = "difference"\naxes = ["core", "column"]\n'
    table = (
        head + '[csv]\ncore = "die"\n'
        '[fits]\nrule = "difference"\nslope = "m"\nintercept = "c"\ncolumn = "col"\n'
    )
    convert(tmp_path, arrays, tmp_path / "f.npz", out="arrays")
    convert(tmp_path, table, tmp_path / "f.csv", out="table")
    read = [tmp_path / name / "steps" / "core04_one_phase.h5" for name in ("arrays", "table")]
    with h5py.File(read[0]) as one, h5py.File(read[1]) as other:
        np.testing.assert_array_equal(one["raw"][...], other["raw"][...])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"slope": np.ones((2, 3))}, "intercept: this array is missing; the file has slope"),
        (
            {"slope": np.ones((2, 3)), "intercept": np.ones((1, 2, 3))},
            "intercept: has 3 axes, of shape (1, 2, 3): the mapping names 2, core, column",
        ),
        (
            {"slope": np.ones((2, 3)), "intercept": np.ones((2, 4))},
            "its arrays differ in shape: slope (2, 3), intercept (2, 4)",
        ),
        (
            {"slope": np.ones((2, 3), bool), "intercept": np.ones((2, 3))},
            "of the type bool, which holds True and False: must be integers or real numbers",
        ),
        (
            {"slope": np.full((2, 3), np.inf), "intercept": np.ones((2, 3))},
            "fits: the slope of core 0, column 0, is infinite",
        ),
    ],
)
def test_wrong_arrays_are_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    mapping = HEAD.format(form="fits") + '[steps]\nread_mode = "one_phase"\n[fits]\n'
    mapping += 'rule = "single"\naxes = ["core", "column"]\n'
    with pytest.raises(DatasetError) as refused:
        convert(tmp_path, mapping, tmp_path / "f.npz")
    assert str(refused.value).endswith(message)
    assert not (tmp_path / "run").exists()
