"""`hil evaluate` as a user runs it, on the demo's network and a small simulated chip."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")

import torch
from safetensors.torch import load_file, save_file

from command_line import campaign_file, start_hil
from evaluation_bench import (
    FEW,
    demo_out,
    evaluate,
    hil_here,
    named_demo,
    save_images,
    small_chip,
    trained_demo,
)
from hil.inference.demo import make_network

CONFIG, DEVICE, DATA = 3, 4, 5
"""Exit codes."""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    """Folder, JSON and words of a finished evaluation with drift."""
    folder = tmp_path_factory.mktemp("evaluated")
    out, target = demo_out(folder), folder / "result.json"
    ended = evaluate(
        "--demo", *FEW, "--device", small_chip(folder), "--drift", "1d", "--out", out,
        "--corrections", "nmpu,fp16,none", "--json", target, "--plot", folder / "plot.svg",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    return out, json.loads(target.read_text()), ended.stdout


def test_mapping_and_folding_are_printed_before_the_tables(
    evaluated: tuple[Path, Any, str],
) -> None:
    words = evaluated[2]
    places = [
        words.index(part)
        for part in (
            "layer  matrix    groups  tiles  cores    in use",
            "6      288 x 32  1       2 x 1  2-3      7.0%",
            "all                             5 cores  4.4%",
            "normalised by the chip's units:",
            "digital, partial sums of several cores come first: 6",
            "Accuracy in %",
            "Where the loss comes from",
            "Relative L2 error",
            f"results: {evaluated[0] / 'evaluation.h5'}",
        )
    ]
    assert places == sorted(places)


def test_json_has_every_condition_with_its_intervals(evaluated: tuple[Path, Any, str]) -> None:
    found = evaluated[1]
    assert found["schema_version"] == 1
    assert (found["model"], found["images"], found["layers"]) == (
        "demo", 30, ["0", "3", "6", "11"],
    )  # fmt: skip
    assert [
        (one["correction"], one["age_s"], one["treatment"]) for one in found["conditions"]
    ] == [
        ("none", 0.0, "kept"), ("fp16", 0.0, "kept"), ("nmpu", 0.0, "kept"),
        ("none", 86400.0, "kept"), ("fp16", 86400.0, "kept"), ("nmpu", 86400.0, "kept"),
        ("fp16", 86400.0, "recalibrated"), ("nmpu", 86400.0, "recalibrated"),
        ("none", 86400.0, "adabs"), ("fp16", 86400.0, "adabs"), ("nmpu", 86400.0, "adabs"),
    ]  # fmt: skip
    for one in found["conditions"]:
        share = one["accuracy"]
        assert share["images"] == 30
        assert share["low"] <= share["value"] <= share["high"]
        assert len(one["layer_errors"]) == len(one["layer_saturation"]) == 4
    # None is not calibrated, so a day later nothing was calibrated again for it.
    assert found["conditions"][3]["against_fp16"] is not None
    assert found["conditions"][1]["against_fp16"]["agreement"] == 1.0
    assert len(found["identity"]["weights_sha256"]) == 64
    assert found["software"]["torch"] == torch.__version__.split("+")[0] or found["software"][
        "torch"
    ].startswith(torch.__version__.split("+")[0])


def test_float_accuracy_is_that_of_the_network_itself(evaluated: tuple[Path, Any, str]) -> None:
    files = trained_demo()
    network = make_network().eval()
    network.load_state_dict(load_file(files.weights))
    stored = np.load(files.images)
    pixels = torch.from_numpy(stored["images"][:30].astype(np.float32).transpose(0, 3, 1, 2))
    with torch.no_grad():
        classes = network(pixels / 127.5 - 1).argmax(1).numpy()
    right = float((classes == stored["labels"][:30]).mean())
    assert evaluated[1]["float_accuracy"]["value"] == pytest.approx(right)


def test_calibration_wins_what_none_loses(evaluated: tuple[Path, Any, str]) -> None:
    by_name = {
        (one["correction"], one["age_s"], one["treatment"]): one["accuracy"]["value"]
        for one in evaluated[1]["conditions"]
    }
    fresh, again = by_name["nmpu", 0.0, "kept"], by_name["nmpu", 86400.0, "recalibrated"]
    assert by_name["none", 0.0, "kept"] < fresh
    assert by_name["nmpu", 86400.0, "kept"] < again
    assert min(fresh, again) > 0.9


def test_batch_norm_estimated_again_wins_back_what_drift_took(
    evaluated: tuple[Path, Any, str],
) -> None:
    right = {
        (one["correction"], one["treatment"]): one["accuracy"]["value"]
        for one in evaluated[1]["conditions"]
        if one["age_s"] > 0
    }
    for correction in ("none", "fp16", "nmpu"):
        assert right[correction, "adabs"] > right[correction, "kept"] + 0.1
    assert right["nmpu", "adabs"] > 0.9
    assert "1 d, adabs" in evaluated[2]
    assert "adabs: batch norm estimated again" in evaluated[2]
    with h5py.File(evaluated[0] / "evaluation.h5") as file:
        assert file["treatment"].asstr()[-1] == "adabs"


def test_figure_is_drawn(evaluated: tuple[Path, Any, str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn = (evaluated[0].parent / "plot.svg").read_text()
    assert "<svg" in drawn


def test_the_same_command_computes_only_the_condition_that_is_missing(
    evaluated: tuple[Path, Any, str], tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(evaluated[0], out)
    conditions = out / "conditions"
    before = {path.name: path.stat().st_mtime_ns for path in conditions.iterdir()}
    whole = np.load(conditions / "fp16_86400s.npz")["predictions"]
    (conditions / "fp16_86400s.npz").unlink()
    ended = evaluate(
        "--demo", *FEW, "--device", small_chip(evaluated[0].parent), "--drift", "1d", "--out", out,
        "--corrections", "nmpu,fp16,none",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    after = {path.name: path.stat().st_mtime_ns for path in conditions.iterdir()}
    assert [name for name in sorted(after) if after[name] != before[name]] == ["fp16_86400s.npz"]
    assert np.load(conditions / "fp16_86400s.npz")["predictions"].tolist() == whole.tolist()


def test_folder_of_another_evaluation_is_refused(
    evaluated: tuple[Path, Any, str], tmp_path: Path
) -> None:
    ended = evaluate("--demo", *FEW, "--device", small_chip(tmp_path), "--read-mode", "one_phase",
                     "--out", evaluated[0])  # fmt: skip
    assert ended.exit_code == CONFIG
    assert "holds another evaluation: read mode: four_phase there, one_phase asked;" in ended.stderr
    ended = evaluate("--demo", *FEW, "--images", 20, "--device", small_chip(tmp_path),
                     "--out", evaluated[0])  # fmt: skip
    assert ended.exit_code == CONFIG
    assert (
        f"{evaluated[0]}: holds another evaluation: images: 30 there, 20 asked; choose another "
        "folder with --out"
    ) in ended.stderr


def test_device_in_the_loop_predicts_what_the_model_predicts(tmp_path: Path) -> None:
    found = {}
    for backend in ("model", "device"):
        out = demo_out(tmp_path, backend)
        ended = evaluate(
            "--demo", "--images", 8, "--calibration-images", 64, "--backend", backend,
            "--device", small_chip(tmp_path), "--corrections", "float,nmpu", "--drift", "1h",
            "--out", out, "--json", "-",
        )  # fmt: skip
        assert ended.exit_code == 0, ended.output
        found[backend] = {
            path.name: np.load(path)["predictions"].tolist()
            for path in (out / "conditions").iterdir()
        } | {"errors": [one["layer_errors"] for one in json.loads(ended.stdout)["conditions"]]}
    assert len(found["model"]) == 9
    assert found["device"] == found["model"]


def test_each_flaw_of_a_simulated_chip_is_switched_off_and_kept(tmp_path: Path) -> None:
    out = demo_out(tmp_path)
    asked = (
        "--demo", "--images", 8, "--calibration-images", 16, "--corrections", "nmpu",
        "--device", small_chip(tmp_path), "--switch-off", "--out", out,
    )  # fmt: skip
    ended = evaluate(*asked, "--json", tmp_path / "result.json")
    assert ended.exit_code == 0, ended.output
    assert "What each flaw of the simulated chip costs" in ended.stdout
    found = json.loads((tmp_path / "result.json").read_text())["switched_off"]
    assert "weights: programming noise" in [one["flaw"] for one in found]
    assert {one["accuracy"]["images"] for one in found} == {8}
    with h5py.File(out / "evaluation.h5") as file:
        flaws = file["switched_off"].asstr()[:].tolist()
        assert file["switched_off_predictions"].shape == (len(flaws), 8)
        whole = file["switched_off_predictions"][0].tolist()
    assert flaws == ["whole chip", *(one["flaw"] for one in found)]
    assert whole == np.load(out / "conditions" / "nmpu_0s.npz")["predictions"].tolist()
    kept = {path: path.stat().st_mtime_ns for path in (out / "switched_off").iterdir()}
    assert len(kept) == len(flaws)
    lost = out / "switched_off" / "weights_programming_noise.npz"
    lost.unlink()
    assert evaluate(*asked).exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "switched_off").iterdir()}
    assert [path for path in sorted(after) if after[path] != kept[path]] == [lost]


def test_chip_of_a_run_multiplies(tmp_path: Path) -> None:
    campaign = campaign_file(
        tmp_path, resource=small_chip(tmp_path), campaign='read_modes = ["one_phase"]'
    )
    assert hil_here("run", campaign).exit_code == 0
    out = demo_out(tmp_path)
    ended = evaluate("--demo", *FEW, "--run", tmp_path / "run", "--corrections", "fp16,nmpu",
                     "--drift", "1h", "--treatments", "kept", "--out", out,
                     "--json", "-")  # fmt: skip
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    (note,) = found["notes"]
    assert "G(t) = G(t0) * (t / t0)^-nu, t0 = 300 s, nu of the HERMES noise model" in note
    assert note in ended.stderr
    assert found["identity"]["run_fresh_age_s"] == "300"
    assert found["read_mode"] == "one_phase"
    assert "as measured by" in found["chip"]
    set_id = found["identity"]["run_coefficient_set_id"]
    assert len(set_id) == 64
    traced = hil_here("data", "trace", out, "--among", tmp_path)
    assert traced.exit_code == 0, traced.output
    assert f"was made with the run run, its set of coefficients {set_id}" in traced.stdout
    assert f"{tmp_path / 'run'}: " in traced.stdout
    wrong = evaluate("--demo", "--run", tmp_path / "run", "--read-mode", "four_phase",
                     "--out", demo_out(tmp_path, "other"))  # fmt: skip
    assert wrong.exit_code == DATA
    assert "has no finished calibration in four_phase; it has some in one_phase" in wrong.stderr


def test_interrupted_evaluation_keeps_finished_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests want the processor, too
    out = demo_out(tmp_path)
    process = start_hil("evaluate", "--demo", "--images", 60, "--calibration-images", 64,
                        "--device", small_chip(tmp_path), "--out", out)  # fmt: skip
    deadline = time.monotonic() + 80
    while not (out / "conditions" / "none_0s.npz").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"finished conditions are in {out}: the same command goes on" in errors
    assert "Traceback" not in errors
    assert (out / "conditions" / "none_0s.npz").exists()
    assert not (out / "evaluation.h5").exists()


def _refusal(*arguments: object, code: int) -> str:
    ended = evaluate(*arguments)
    assert ended.exit_code == code, ended.output
    assert "Traceback" not in ended.output
    return ended.stderr


def test_too_few_cores_are_told_with_how_many_are_needed(tmp_path: Path) -> None:
    errors = _refusal("--demo", "--device", small_chip(tmp_path, cores=4), "--out",
                      demo_out(tmp_path), code=CONFIG)  # fmt: skip
    assert "the network needs 5 cores of 256 x 256, and there are 4" in errors


def test_unsupported_layer_is_named_with_its_path(tmp_path: Path) -> None:
    errors = _refusal(
        "--model", "evaluation_bench:with_unsupported_layer", "--device", small_chip(tmp_path),
        "--data", save_images(tmp_path / "images.npz"), "--out", tmp_path / "out", code=CONFIG,
    )  # fmt: skip
    assert "1.1" in errors
    assert "conv_transpose2d" in errors


def test_weights_of_another_architecture_name_the_first_key(tmp_path: Path) -> None:
    weights = tmp_path / "other.safetensors"
    save_file({"first.weight": torch.zeros(2, 2)}, weights)
    named = dict(zip(*[iter(named_demo(tmp_path))] * 2, strict=True)) | {"--weights": weights}
    errors = _refusal(*[part for pair in named.items() for part in pair], "--device",
                      small_chip(tmp_path), "--out", tmp_path / "out", code=DATA)  # fmt: skip
    assert f"{weights}: 0.weight: the network has it, the file has not" in errors


def test_nan_weights_are_named(tmp_path: Path) -> None:
    state = load_file(trained_demo().weights)
    state["3.weight"][1, 0, 2, 2] = float("nan")
    weights = tmp_path / "nan.safetensors"
    save_file(state, weights)
    named = dict(zip(*[iter(named_demo(tmp_path))] * 2, strict=True)) | {"--weights": weights}
    errors = _refusal(*[part for pair in named.items() for part in pair], "--device",
                      small_chip(tmp_path), "--out", tmp_path / "out", code=DATA)  # fmt: skip
    assert "3.weight: nan at (1, 0, 2, 2): every weight must be finite" in errors


def test_adabs_needs_batch_normalisation(tmp_path: Path) -> None:
    errors = _refusal(
        "--model", "evaluation_bench:without_batch_norm", "--device", small_chip(tmp_path),
        "--data", save_images(tmp_path / "images.npz"), "--out", tmp_path / "out",
        "--drift", "1h", "--treatments", "kept,adabs", code=CONFIG,
    )  # fmt: skip
    assert "--treatments: adabs: the network has no batch normalisation" in errors
    assert not (tmp_path / "out").exists()


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    colours = save_images(tmp_path / "colours.npz", channels=3)
    other = save_images(tmp_path / "other.npz", side=16)
    options = ("--device", small_chip(tmp_path), "--out", tmp_path / "out")
    named = named_demo(tmp_path)
    errors = _refusal(*named, "--data", colours, *options, code=CONFIG)
    assert "does not take images of 8 x 8 pixels and 3 channels" in errors
    errors = _refusal(*named, "--calibration-data", other, *options, code=DATA)
    assert "images of 16 x 16 pixels and 1 channels, those to judge are 8 x 8 with 1" in errors


def test_label_beyond_the_networks_classes_is_refused(tmp_path: Path) -> None:
    images = save_images(tmp_path / "images.npz", largest_label=10)
    errors = _refusal(*named_demo(tmp_path), "--data", images, "--device", small_chip(tmp_path),
                      "--out", tmp_path / "out", code=CONFIG)  # fmt: skip
    assert "has 10 logits, the labels need 11" in errors


def test_run_with_too_few_cores_says_to_calibrate_more(tmp_path: Path) -> None:
    campaign = campaign_file(
        tmp_path, resource=small_chip(tmp_path), vectors="calibration = 64\nverification = 16",
        campaign='cores = [0, 1, 2, 3]\nread_modes = ["one_phase"]',
    )  # fmt: skip
    assert hil_here("run", campaign).exit_code == 0
    errors = _refusal("--demo", "--run", tmp_path / "run", "--out", demo_out(tmp_path), code=CONFIG)
    assert (
        "the network needs 5 cores of 256 x 256, and there are 4: layer 6: 2 cores, layer 0: "
        "1 core, layer 3: 1 core, 1 more layer; the run has calibrated no other core: calibrate "
        "more cores (campaign.cores)"
    ) in errors


def test_run_without_calibration_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "empty-run"
    run.mkdir()
    (run / "journal.jsonl").write_text("")
    errors = _refusal("--demo", "--run", run, "--out", demo_out(tmp_path), code=DATA)
    assert str(run) in errors


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--demo", "--run", "r", "--device", "mock://hermes-like"),
         "--run: and --device exclude each other", CONFIG),
        (("--demo", "--model", "resnet20"), "--model: and --demo exclude each other", CONFIG),
        (("--demo", "--corrections", "nmpu,fp-16"),
         "'fp-16' is no correction: did you mean 'fp16'?", CONFIG),
        (("--demo", "--corrections", "nmpu,nmpu"), "'nmpu' is given twice", CONFIG),
        (("--demo", "--corrections", ""), "names no correction", CONFIG),
        (("--demo", "--drift", "1h,later"),
         "'later' is no duration: write 60s, 15min, 8h or 3d", CONFIG),
        (("--demo", "--drift", "11y"), "'11y' is no duration", CONFIG),
        (("--demo", "--drift", "4000d"), "'4000d': must be 1s to 3650d", CONFIG),
        (("--demo", "--drift", "60s,1min"), "'1min' is given twice", CONFIG),
        (("--demo", "--drift", "1h", "--treatments", "adaps"),
         "'adaps' is no treatment: did you mean 'adabs'?", CONFIG),
        (("--demo", "--treatments", "adabs"),
         "--treatments: are of a chip that has become older, or of stored coefficients", CONFIG),
        (("--demo", "--backend", "ideal", "--drift", "1h"), "exact arithmetic does not age",
         CONFIG),
        (("--demo", "--backend", "ideal", "--device", "mock://quickstart"),
         "--backend: ideal multiplies exactly: leave out --run and --device", CONFIG),
        (("--demo", "--backend", "device", "--run", "r"), "a run is no device", CONFIG),
        (("--demo", "--backend", "model", "--device", "TCPIP0::h::5025::SOCKET"),
         "of a device nobody has a model", CONFIG),
        (("--demo", "--device", "mock://hermes"), "no such profile", CONFIG),
        (("--demo", "--device", "nonsense"), "nonsense", CONFIG),
        (("--demo", "--switch-off", "--backend", "device", "--device", "mock://quickstart"),
         "--switch-off: needs a simulated chip", CONFIG),
        (("--demo", "--preset", "papers"), "papers", CONFIG),
        (("--demo", "--format", "scale_frac=99"), "scale_frac = 99", CONFIG),
        (("--demo", "--plot", "figure.pdf"), "must end in .png or .svg", CONFIG),
        (("--demo", "--json", "no/such/folder.json"), "the folder no/such does not exist", CONFIG),
        (("--model", "mlp"), "--data: is missing: give a network and images, or --demo", CONFIG),
        (("--model", "mlp", "--data", "x.npz"),
         "--device: is missing: give --run RUN or --device RESOURCE", CONFIG),
        (("--model", "mlp", "--data", "x.npz", "--device", "mock://quickstart"),
         "x.npz: no such file or folder", DATA),
        (("--model", "mlp", "--data", "x", "--mean", "0.5", "--device", "mock://quickstart"),
         "--mean: and --std belong together", CONFIG),
        (("--demo", "--mean", "half"), "'half' must be numbers, as 0.485,0.456,0.406", 2),
        (("no-such.toml",), "no-such.toml", CONFIG),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_told_before_anything_is_computed(
    arguments: tuple[str, ...],
    words: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = evaluate(*arguments)
    assert ended.exit_code == code, ended.output
    assert words in ended.stderr
    assert not list(tmp_path.glob("*/demo/*"))


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("mine")
    errors = _refusal("--demo", "--json", tmp_path / "there.json", code=CONFIG)
    assert "exists; use --force to replace it" in errors
    (tmp_path / "there.svg").write_text("mine")
    errors = _refusal("--demo", "--plot", tmp_path / "there.svg", code=CONFIG)
    assert f"{tmp_path / 'there.svg'}: exists; use --force to replace it" in errors
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    errors = _refusal("--demo", "--out", full, code=CONFIG)
    assert "is not empty and holds no evaluation; choose another folder with --out" in errors
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]


def test_nothing_is_written_into_a_run(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("")
    errors = _refusal("--demo", "--out", tmp_path / "evaluation", code=CONFIG)
    assert "lies inside the run" in errors


def test_without_the_extra_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    errors = _refusal("--demo", "--out", tmp_path / "out", code=CONFIG)
    assert "hil evaluate: needs torch: pip install 'aimc-hil[inference]'" in errors
