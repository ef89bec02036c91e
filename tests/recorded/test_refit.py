"""Stored readouts fitted again: the campaign's own result, or that of other options."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hil.core.errors import CalibrationError, ConfigError
from hil.recorded import refit as refit_module
from hil.recorded import refit_step
from hil.recorded.refit import refit_run
from hil.recorded.refit_file import write_refit
from hil.recorded.refit_options import RefitOptions
from hil.recorded.refit_plan import RefitSelection
from hil.scale.pool import open_pool
from hil_datasets.opened import open_source
from recorded_runs import CALIBRATIONS, command

FORMAT_1 = Path(__file__).parents[1] / "datasets" / "format_1"
CONCLUDED = ("correction", "coefficients", "verification", "quality")
ONE_MODE = ("--read-mode", "one_phase")
OTHER = RefitOptions(assignments=("calibration.headroom=2", "nmpu.scale_frac=5"))


@pytest.fixture(scope="module")
def other(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(run, tmp_path_factory.mktemp("other") / "other.hil.h5", OTHER)


def fitted(
    run: Path, path: Path, options: RefitOptions, *, selection: RefitSelection | None = None
) -> Path:
    with open_pool() as pool:
        refit = refit_run(open_source(run), options, pool=pool, selection=selection)
    write_refit(refit, path)
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def steps_of(run: Path) -> dict[str, Path]:
    return {path.stem: path for path in (run / "steps").glob("*.h5")}


def values_below(group: h5py.Group) -> dict[str, bytes]:
    """Return every array and attribute of a group that says something of a conclusion, as bytes."""
    found: dict[str, bytes] = {}
    for name in CONCLUDED:
        if name in group:
            for key, value in group[name].attrs.items():
                found[f"{name}@{key}"] = str(value).encode()
            for key, dataset in group[name].items():
                if dataset.dtype.kind in "iuf":
                    found[f"{name}/{key}"] = dataset[...].tobytes()
    return found


def test_without_other_options_every_conclusion_is_the_campaigns_own(
    run: Path, tmp_path: Path
) -> None:
    path = fitted(run, tmp_path / "same.hil.h5", RefitOptions())
    with h5py.File(path, "r") as packed:
        steps = packed["entry/steps"]
        assert set(steps) == set(steps_of(run))
        assert len(steps) == 9
        for name, file in steps_of(run).items():
            with h5py.File(file, "r") as measured:
                wanted = values_below(measured)
                assert {"correction@id", "correction/a_p_errors"} <= set(wanted)
                assert values_below(steps[name]) == wanted
                assert steps[name].attrs["raw_sha256"] == measured.attrs["raw_sha256"]


def test_step_files_of_format_1_give_the_conclusions_that_they_hold(tmp_path: Path) -> None:
    path = fitted(FORMAT_1, tmp_path / "old.hil.h5", RefitOptions())
    with h5py.File(path, "r") as packed:
        for name, file in steps_of(FORMAT_1).items():
            with h5py.File(file, "r") as measured:
                found, wanted = values_below(packed[f"entry/steps/{name}"]), values_below(measured)
                assert "correction/a_p_se" in wanted
                assert {key: found[key] for key in wanted} == wanted
    assert command("data", "verify", path).code == 0


def test_other_registers_leave_the_real_correction_and_its_parent_as_they_were(
    run: Path, other: Path
) -> None:
    with h5py.File(other, "r") as packed:
        for name in CALIBRATIONS:
            found = packed[f"entry/steps/{name}"]
            with h5py.File(steps_of(run)[name], "r") as measured:
                assert json.loads(found["coefficients"].attrs["nmpu"])["scale_frac"] == 5
                assert found["correction"].attrs["parents"] == json.dumps(
                    [measured.attrs["raw_sha256"]]
                )
                gains, before = (
                    step["correction/a_p"][...] * step["correction"].attrs["output_lsb"]
                    for step in (found, measured)
                )
                np.testing.assert_allclose(gains, before, rtol=1e-12)
                ids = [step["coefficients"].attrs["id"] for step in (found, measured)]
                assert ids[0] != ids[1]


def test_correction_is_the_least_squares_line_of_the_vectors_it_was_told_to_fit(
    run: Path, tmp_path: Path
) -> None:
    options = RefitOptions(calibration_vectors=64)
    path = fitted(run, tmp_path / "few.hil.h5", options)
    with (
        h5py.File(path, "r") as packed,
        h5py.File(steps_of(run)["core00_one_phase"], "r") as measured,
    ):
        step = packed["entry/steps/core00_one_phase"]
        output_lsb = step["correction"].attrs["output_lsb"]
        plain = np.flatnonzero(step["coefficients/flags"][...] == 0)
        assert len(plain) >= 6
        for column in plain:
            p, n = measured["raw"][:64, :, column].astype(float).T
            lines = np.stack([p, -n, np.ones(64)], axis=1)
            line, *_ = np.linalg.lstsq(lines, measured["expected"][:64, column].astype(float))
            held = [step[f"correction/{name}"][column] * output_lsb for name in ("a_p", "a_n", "b")]
            np.testing.assert_allclose(held, line, rtol=1e-7, atol=1e-6)
        assert (step.attrs["calibration_vectors"], step.attrs["verification_vectors"]) == (64, 128)


def test_probe_is_judged_by_the_correction_that_was_fitted_again(run: Path, other: Path) -> None:
    with (
        h5py.File(other, "r") as packed,
        h5py.File(steps_of(run)["core00_one_phase_probe"], "r") as measured,
    ):
        calibration = packed["entry/steps/core00_one_phase"]
        probe = packed["entry/steps/core00_one_phase_probe"]
        for kind in ("correction", "coefficients"):
            assert probe[kind].attrs["id"] == calibration[kind].attrs["id"]
        used = np.isin(calibration["coefficients/flags"][...] & (1 | 2 | 256), 0)
        a_p, a_n, b = (calibration[f"correction/{name}"][...] for name in ("a_p", "a_n", "b"))
        raw = measured["raw"][...].astype(float)
        expected = measured["expected"][...] / calibration["correction"].attrs["output_lsb"]
        error = (a_p * raw[:, 0] - a_n * raw[:, 1] + b - expected)[:, used]
        relative = np.linalg.norm(error, axis=1) / np.linalg.norm(expected[:, used], axis=1)
        stored = json.loads(probe["verification"].attrs["errors"])["float"]
        assert stored == pytest.approx(relative.mean(), rel=1e-9)


def test_bytes_do_not_depend_on_ranges_or_workers(
    run: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = command(
        "calibrate", "fit", run, "--out", tmp_path / "two.hil.h5", "--workers", 2,
        "--set", "calibration.headroom=2", "--set", "nmpu.scale_frac=5",
    )  # fmt: skip
    assert two.code == 0, two.stderr
    assert sha256_of(tmp_path / "two.hil.h5") == sha256_of(other)
    ranges: list[tuple[int, int]] = []
    sum_range = refit_step.sum_range

    def noted(task: refit_step.RangeTask) -> Any:
        ranges.append((task.first, task.stop))
        return sum_range(task)

    monkeypatch.setattr(refit_step, "RANGE_VECTORS", 50)
    monkeypatch.setattr(refit_module, "RANGE_VECTORS", 50)
    monkeypatch.setattr(refit_module, "sum_range", noted)
    assert sha256_of(fitted(run, tmp_path / "ranges.hil.h5", OTHER)) == sha256_of(other)
    assert ranges == [(0, 50), (50, 100), (100, 128)] * 2


def test_packed_file_is_fitted_as_the_folder_is(run: Path, other: Path, tmp_path: Path) -> None:
    packed = tmp_path / "run.hil.h5"
    assert command("data", "pack", run, "-o", packed, "--compress", "none").code == 0
    again = fitted(packed, tmp_path / "again.hil.h5", OTHER)
    assert sha256_of(again) == sha256_of(other)


def test_journal_says_what_was_fitted_again_and_with_which_options(run: Path, other: Path) -> None:
    start, *_, stop = open_source(other).events()
    with h5py.File(steps_of(run)["core00_one_phase"], "r") as measured:
        assert start["refit_of"]["core00_one_phase"] == measured["coefficients"].attrs["id"]
    assert start["options"] == {
        "set": ["calibration.headroom=2", "nmpu.scale_frac=5"],
        "calibration_vectors": None,
    }
    assert (stop["event"], stop["status"]) == ("stop", "complete")
    assert str(run) not in other.read_bytes().decode("latin-1")


def test_file_is_whole_and_other_commands_read_it(run: Path, other: Path, tmp_path: Path) -> None:
    assert command("data", "verify", other).code == 0
    info = command("info", other).stdout
    assert "Every kind of step: complete" in info
    told = "fitted again with calibration.headroom=2, nmpu.scale_frac=5: nothing was measured"
    assert told in info
    assert command("calibrate", "diff", run, other).code == 0
    exported = command("export", other, "--format", "json", "-o", tmp_path / "c.json")
    assert exported.code == 0, exported.stderr
    assert "not applied to readouts" in exported.stderr
    tiles = json.loads((tmp_path / "c.json").read_text())["cores"]
    assert tiles
    with h5py.File(other, "r") as packed:
        for tile in tiles:
            name = f"core{tile['core']:02d}_{tile['read_mode']}"
            step = packed[f"entry/steps/{name}/coefficients"]
            assert tile["scale_p"] == step["scale_p"][...].tolist()


def test_only_the_cores_and_read_modes_that_were_named_are_fitted(
    run: Path, tmp_path: Path
) -> None:
    done = command("calibrate", "fit", run, "--out", tmp_path / "one.hil.h5", "--read-mode",
               "one_phase", "--json")  # fmt: skip
    assert done.code == 0, done.stderr
    (document,) = done.json["runs"]
    assert {step["read_mode"] for step in document["steps"]} == {"one_phase"}
    for step in document["steps"]:
        assert step["errors"] == step["errors_before"]
        assert step["ids"] == step["ids_before"]


WRONG = {
    "unknown key": (
        {"assignments": ("calibration.headrom=2",)},
        r"--set: calibration.headrom: unknown key; did you mean 'headroom'\?",
    ),
    "out of range": (
        {"assignments": ("calibration.headroom=99",)},
        "calibration.headroom: Input should be less than or equal to 16, got 99",
    ),
    "decided before": (
        {"assignments": ("vectors.block=4",)},
        r"--set: vectors.block: was decided when the readouts were taken: only calibration\.\* and",
    ),
    "robust twice": (
        {"assignments": ("calibration.glitch_share=0.1",), "is_robust": True},
        "calibration.glitch_share: is given twice",
    ),
    "too few vectors": (
        {"calibration_vectors": 31},
        "31: must be 32 to 191 for core00_one_phase, which has 192",
    ),
    "none held out": (
        {"calibration_vectors": 192},
        "192: must be 32 to 191 for core00_one_phase, which has 192",
    ),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_options_that_cannot_be_are_refused(
    run: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(run, tmp_path / "wrong.hil.h5", RefitOptions(**options))


def test_core_that_was_not_calibrated_is_refused_with_those_that_were(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there are: core 0 four_phase, core 0 one_phase"):
        fitted(run, tmp_path / "x.hil.h5", RefitOptions(), selection=RefitSelection(cores=[7]))


def test_options_that_no_step_allows_write_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"core00_one_phase: .*in_bits"):
        fitted(run, tmp_path / "none.hil.h5", RefitOptions(assignments=("nmpu.in_bits=1",)))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bench(run: Path, tmp_path: Path) -> Path:
    """Make a folder with the runs of two chips."""
    for chip in ("left", "right"):
        shutil.copytree(run, tmp_path / "bench" / chip)
    return tmp_path / "bench"


def test_folder_of_runs_becomes_a_folder_of_files_that_are_not_fitted_themselves(
    bench: Path,
) -> None:
    files = bench / "again"
    first = command("calibrate", "fit", bench, "--out", files, *ONE_MODE)
    assert first.code == 0, first.stderr
    assert sorted(path.name for path in files.iterdir()) == ["left.hil.h5", "right.hil.h5"]
    refused = command("calibrate", "fit", bench, "--out", files, *ONE_MODE)
    assert (refused.code, refused.stdout) == (3, "")
    assert "left.hil.h5: exists; use --force to replace it" in refused.stderr
    assert "again/left.hil.h5: was itself fitted again" in refused.stderr


@pytest.mark.parametrize("name", ["again.h5", "again"])
def test_file_that_no_folder_would_show_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    refused = command("calibrate", "fit", run, "--out", tmp_path / name, *ONE_MODE)
    assert (refused.code, refused.stdout) == (3, "")
    assert f"{name}: --out: must end in .hil.h5" in refused.stderr
    assert f"give {name}.hil.h5, or a folder that exists" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_damaged_run_does_not_keep_the_others_from_being_fitted(bench: Path) -> None:
    damaged = bench / "left" / "steps" / "core00_one_phase.h5"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    done = command("calibrate", "fit", bench, "--out", bench / "again", *ONE_MODE)
    assert done.code == 5
    assert "core00_one_phase.h5" in done.stderr
    assert [path.name for path in (bench / "again").iterdir()] == ["right.hil.h5"]


def test_result_without_readouts_cannot_be_fitted_once_more(other: Path, tmp_path: Path) -> None:
    done = command("calibrate", "fit", other, "--out", tmp_path / "x.hil.h5")
    assert done.code == 5
    assert "was packed without its readouts" in done.stderr
