"""`hil evaluate --coefficients`: what a network is worth with what a run has stored."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")

from click.testing import Result

from command_line import campaign_file, hil_here
from evaluation_bench import demo_out, evaluate, small_chip
from hil.inference.conditions.observing import Unheard
from hil.inference.evaluations.asked import asked_request
from hil.inference.evaluations.spreading import spread_conditions
from hil.inference.evaluations.subject import open_subject
from hil.inference.findings.store import open_folder
from hil.scale.processes import ThisProcess

CONFIG, DATA = 3, 5
"""Exit codes."""
FEW = ("--images", 16, "--calibration-images", 32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profile of a chip and a run that has calibrated all of its cores."""
    folder = tmp_path_factory.mktemp("bench")
    calibrated(folder)
    return folder


def calibrated(folder: Path, campaign: str = "", vectors: int = 384) -> Path:
    """Calibrate the small chip with all 256 columns of its cores; return the run."""
    file = campaign_file(
        folder, resource=small_chip(folder), campaign=f'read_modes = ["one_phase"]\n{campaign}',
        vectors=f"calibration = {vectors}\nverification = 16",
    )  # fmt: skip
    ended = hil_here("run", file, "--quiet")
    assert ended.code == 0, ended.stderr
    return folder / "run"


def asked(bench: Path, *arguments: object) -> Result:
    return evaluate("--demo", *FEW, "--device", small_chip(bench), *arguments)


@pytest.fixture(scope="module")
def evaluated(bench: Path) -> tuple[Path, Any, str]:
    """Folder, JSON and words of an evaluation with the run's coefficients."""
    out, target = demo_out(bench, "evaluated"), bench / "result.json"
    ended = asked(
        bench, "--coefficients", bench / "run", "--drift", "1d", "--out", out, "--json", target,
        "--corrections", "none,float,fp16,nmpu",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    return out, json.loads(target.read_text()), ended.stdout


def test_stored_ones_and_those_calibrated_anew_stand_side_by_side(
    evaluated: tuple[Path, Any, str],
) -> None:
    conditions = evaluated[1]["conditions"]
    fresh = [(one["correction"], one["treatment"]) for one in conditions if one["age_s"] == 0]
    kinds = ("none", "float", "fp16", "nmpu")
    assert fresh == [
        *((kind, "kept") for kind in kinds),
        *((kind, "recalibrated") for kind in kinds[1:]),
        *((kind, "adabs") for kind in kinds),
    ]
    aged = [(one["correction"], one["treatment"]) for one in conditions if one["age_s"] == 86400]
    assert aged == fresh
    for age in ("fresh", "1 d"):
        for treated in ("stored", "again", "adabs"):
            assert re.search(rf"NMPU +{age}, {treated} ", evaluated[2])
    assert "What stored coefficients lose against calibrating again, in points" in evaluated[2]
    by_name = {(one["correction"], one["age_s"], one["treatment"]): one for one in conditions}
    kept, anew = by_name["nmpu", 0.0, "kept"], by_name["nmpu", 0.0, "recalibrated"]
    lost = anew["accuracy"]["value"] - kept["accuracy"]["value"]
    assert kept["against_recalibrated"]["drop"] == pytest.approx(lost)
    assert anew["against_recalibrated"] is None


def test_correction_of_the_evaluation_is_that_of_the_run_bit_for_bit(
    bench: Path, evaluated: tuple[Path, Any, str]
) -> None:
    columns = [16, 32, 32, 32, 10]
    with h5py.File(evaluated[0] / "evaluation.h5") as file:
        stored = file["calibrations/stored"]
        assert stored["core"][:].tolist() == [0, 1, 2, 3, 4]
        for core, used in enumerate(columns):
            with h5py.File(bench / "run" / "steps" / f"core{core:02d}_one_phase.h5") as step:
                found = {name: step[f"correction/{name}"][:used] for name in ("a_p", "a_n", "b")}
                output_lsb = float(step["correction"].attrs["output_lsb"])
            assert stored["output_lsb"][core] == output_lsb
            for name, values in found.items():
                assert stored[name][core, :used].tolist() == values.tolist()
            assert stored["is_used"][core].sum() == used
        assert sorted(file["calibrations"]) == ["0s", "86400s", "stored"]
        assert "age_s" not in stored.attrs


def test_result_names_run_set_and_time_of_the_coefficients(
    bench: Path, evaluated: tuple[Path, Any, str]
) -> None:
    out, found, words = evaluated
    identity = found["identity"]
    set_id = identity["coefficients_set_id"]
    with h5py.File(bench / "run" / "steps" / "core00_one_phase.h5") as step:
        first = step.attrs["measured_utc"]
    assert identity["coefficients_run"] == "run"
    assert identity["coefficients_measured_utc"].startswith(first)
    assert json.loads((out / "subject.json").read_text())["coefficients_set_id"] == set_id
    assert f"coefficients of run run (set {set_id[:12]}, measured {first}" in words
    assert words.count(f"note: stored: coefficients of run run (set {set_id[:12]}") == 1
    traced = hil_here("data", "trace", out, "--among", bench)
    assert traced.code == 0, traced.stderr
    assert f"was made with the run run, its set of coefficients {set_id}" in traced.stdout
    assert f"{bench / 'run'}: " in traced.stdout
    assert hil_here("data", "verify", out).code == 0


def _predictions(out: Path) -> dict[str, list[int]]:
    return {
        path.name: np.load(path)["predictions"].tolist() for path in (out / "conditions").iterdir()
    }


def test_device_in_the_loop_predicts_what_the_model_predicts(bench: Path) -> None:
    found = {}
    for backend in ("model", "device"):
        out = demo_out(bench, backend)
        ended = asked(
            bench, "--coefficients", bench / "run", "--backend", backend, "--out", out,
            "--corrections", "float,nmpu", "--treatments", "kept,recalibrated", "--json", "-",
        )  # fmt: skip
        assert ended.exit_code == 0, ended.output
        found[backend] = _predictions(out) | {
            "errors": [one["layer_errors"] for one in json.loads(ended.stdout)["conditions"]]
        }
    assert sorted(found["model"]) == [
        "errors", "float_0s.npz", "float_0s_recalibrated.npz", "nmpu_0s.npz",
        "nmpu_0s_recalibrated.npz",
    ]  # fmt: skip
    assert found["device"] == found["model"]


def test_chip_of_the_run_begins_with_its_own_coefficients_and_workers_predict_the_same(
    bench: Path,
) -> None:
    out = demo_out(bench, "alone")
    ended = evaluate(
        "--demo", *FEW, "--run", bench / "run", "--coefficients", bench / "run", "--out", out,
        "--corrections", "nmpu", "--treatments", "recalibrated",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.count("normalised by the chip's units") == 1
    options = {
        "model": "demo", "images": FEW[1], "calibration_images": FEW[3], "run": bench / "run",
        "coefficients": bench / "run", "corrections": ["nmpu"], "treatments": ["recalibrated"],
    }  # fmt: skip
    spread = bench / "spread"
    with open_subject(asked_request(options, out), Unheard()) as subject:
        folder = open_folder(spread, subject.whole_identity)
        list(spread_conditions(subject, ThisProcess(), folder=folder, observer=Unheard()))
    found = _predictions(spread)
    assert sorted(found) == ["nmpu_0s.npz", "nmpu_0s_recalibrated.npz"]
    assert found == _predictions(out)
    for name in ("0s.npz", "stored.npz"):
        with (
            np.load(out / "calibrations" / name) as one,
            np.load(spread / "calibrations" / name) as other,
        ):
            assert one["scale_p_codes"].tolist() == other["scale_p_codes"].tolist()


def test_other_coefficients_are_another_evaluation(
    bench: Path, evaluated: tuple[Path, Any, str], tmp_path: Path
) -> None:
    shutil.copy(bench / "chip5.toml", tmp_path)
    run = calibrated(tmp_path, vectors=300)
    ended = asked(bench, "--coefficients", run, "--out", evaluated[0])
    assert ended.exit_code == CONFIG
    assert "holds another evaluation: other set of coefficients: " in ended.stderr
    ended = asked(bench, "--out", evaluated[0], "--read-mode", "one_phase")
    assert ended.exit_code == CONFIG
    assert "other set of coefficients: " in ended.stderr
    assert "there, none asked" in ended.stderr


def test_network_goes_onto_the_cores_that_have_coefficients(tmp_path: Path) -> None:
    chip = small_chip(tmp_path, cores=7)
    file = campaign_file(
        tmp_path, resource=chip, campaign='read_modes = ["one_phase"]\ncores = [0, 2, 3, 5, 6]',
        vectors="calibration = 300\nverification = 16",
    )  # fmt: skip
    assert hil_here("run", file, "--quiet").code == 0
    asking = ("--demo", *FEW, "--coefficients", tmp_path / "run", "--corrections", "float")
    ended = evaluate(*asking, "--device", chip, "--treatments", "kept", "--out", demo_out(tmp_path))
    assert ended.exit_code == 0, ended.output
    assert "6      288 x 32  1       2 x 1  3, 5     7.0%" in ended.stdout
    assert "what is lost against FP16 is not known: add fp16 to --corrections" in ended.stdout


def test_cores_without_coefficients_are_told_with_those_that_have_some(tmp_path: Path) -> None:
    run = calibrated(tmp_path, "cores = [0, 1, 3]", vectors=64)
    ended = asked(tmp_path, "--coefficients", run, "--out", demo_out(tmp_path))
    assert ended.exit_code == CONFIG
    assert "the network needs 5 cores of 256 x 256, and there are 3" in ended.stderr
    assert f"{run} has coefficients of the cores 0-1, 3 in one_phase" in ended.stderr


def _refused(bench: Path, *arguments: object, code: int = CONFIG) -> str:
    out = bench / "refused"
    shutil.rmtree(out, ignore_errors=True)
    ended = evaluate("--demo", *FEW, "--out", demo_out(bench, "refused"), *arguments)
    assert ended.exit_code == code, ended.output
    assert "Traceback" not in ended.output
    assert not (out / "conditions").exists()
    return ended.stderr


def test_coefficients_of_another_chip_name_both(bench: Path) -> None:
    errors = _refused(
        bench, "--device", f"{small_chip(bench)}?seed=8", "--coefficients", bench / "run"
    )
    assert (
        f"{bench / 'run'} has calibrated aimc-hil mock-chip, serial small-0; this is aimc-hil "
        "mock-chip, serial small-8: gains of one chip say nothing of another"
    ) in errors


def test_coefficients_of_another_read_mode_are_told(bench: Path) -> None:
    errors = _refused(
        bench, "--device", small_chip(bench), "--coefficients", bench / "run", "--read-mode",
        "four_phase", code=DATA,
    )  # fmt: skip
    assert "has no coefficients for four_phase, only for one_phase" in errors


def test_coefficients_of_nothing_are_told(bench: Path, tmp_path: Path) -> None:
    device = ("--device", small_chip(bench))
    assert "no/such" in _refused(bench, *device, "--coefficients", "no/such", code=DATA)
    errors = _refused(bench, "--backend", "ideal", "--coefficients", bench / "run")
    assert "--coefficients: are of a chip: leave out --backend ideal" in errors
    errors = _refused(bench, *device, "--coefficients", bench / "run", "--switch-off")
    assert "--switch-off: calibrates the chip anew without each flaw: leave out" in errors
    file = tmp_path / "network.toml"
    file.write_text(
        'schema_version = 1\n[network]\nmodel = "demo"\n[chip]\ncoefficients = "last"\n'
    )
    errors = _refused(bench, file)
    assert f"chip.coefficients: {tmp_path / 'last'}: no such file or folder" in errors


def test_changed_gain_in_a_run_is_damage(bench: Path, tmp_path: Path) -> None:
    """Coefficients are those of the run, not what somebody wrote over them."""
    run = tmp_path / "run"
    shutil.copytree(bench / "run", run)
    with h5py.File(run / "steps" / "core02_one_phase.h5", "r+") as step:
        gains = step["correction/a_p"]
        gains[3] = 2 * gains[3]
    errors = _refused(bench, "--device", small_chip(bench), "--coefficients", run, code=DATA)
    assert "core02_one_phase" in errors
