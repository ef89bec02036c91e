"""An evaluation asked for by a TOML file."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")

from pydantic import BaseModel

from evaluation_bench import demo_out, evaluate, small_chip, trained_demo
from hil.inference.evaluations.request_file import EvaluationFile
from network_files import real_file

EXAMPLES = Path(__file__).parents[2] / "examples"

DEMO = """\
schema_version = 1
[network]
model = "hil.inference.demo:make_network"
weights = "files/weights.safetensors"
mean = [0.5]
std = [0.5]
[data]
images = "files/images.npz"
calibration = "files/training_images.npz"
count = 20
calibration_count = 64
[chip]
device = "mock://chip5.toml"
[evaluation]
corrections = ["fp16", "nmpu"]
"""


def _write(folder: Path, text: str = DEMO) -> Path:
    path = folder / "evaluation.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file_and_options_replace_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    small_chip(work)
    (work / "files").symlink_to(trained_demo().weights.parent)
    monkeypatch.chdir(tmp_path)
    ended = evaluate(_write(work), "--images", 7, "--json", "-")
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert found["images"] == 7
    assert [one["correction"] for one in found["conditions"]] == ["fp16", "nmpu"]
    assert (tmp_path / "evaluation-evaluate" / "evaluation.h5").is_file()


def test_missing_weights_and_images_are_told_with_where_to_get_them(tmp_path: Path) -> None:
    example = tmp_path / "resnet20_cifar10.toml"
    example.write_text((EXAMPLES / "resnet20_cifar10.toml").read_text())
    ended = evaluate(example, "--out", tmp_path / "out")
    assert ended.exit_code == 3
    weights, images = tmp_path / "resnet20-12fca82f.th", tmp_path / "cifar-10-batches-py"
    assert f"network.weights: {weights}: no such file or folder; it can be got from" in ended.stderr
    assert "github.com/akamaster/pytorch_resnet_cifar10" in ended.stderr
    assert f"data.images: {images}: no such file or folder; it can be got from" in ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[chip]", "[chip]\nresource = 1", "chip.resource: unknown key"),
        ("mean = [0.5]", "means = [0.5]", "did you mean 'mean'?"),
        ("std = [0.5]\n", "", "mean and std belong together"),
        ('"nmpu"]', '"nmpuu"]', "did you mean 'nmpu'?"),
        ("count = 20", "count = 0", "evaluation.toml:10: data.count"),
        ("[chip]", '[chip]\nrun = "r"', "run and device exclude each other"),
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ('model = "hil.inference.demo:make_network"\n', "", "network.model"),
        ("[evaluation]", '[evaluation]\ndrift = ["soon"]', "'soon' is no duration"),
        ("[evaluation]", '[evaluation]\ntreatments = ["keep"]', "did you mean 'kept'?"),
        ("[evaluation]", '[nmpu]\npreset = "none"\n[evaluation]', "is not one of"),
    ],
)
def test_wrong_keys_and_values_are_told_with_their_place(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    assert old in DEMO
    ended = evaluate(_write(tmp_path, DEMO.replace(old, new, 1)), "--out", tmp_path / "out")
    assert ended.exit_code == 3, ended.output
    assert words in ended.stderr
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("section", ["network", "data", "chip", "evaluation", "nmpu"])
def test_reference_page_names_every_key(section: str) -> None:
    model = EvaluationFile.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    page = (EXAMPLES.parent / "docs" / "reference" / "evaluate.md").read_text()
    part = page.split(f"### `[{section}]`")[1].split("\n##")[0]
    documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
    assert documented == list(model.model_fields)


def test_example_of_digits_needs_no_other_file(tmp_path: Path) -> None:
    out = demo_out(tmp_path)
    ended = evaluate(EXAMPLES / "digits.toml", "--images", 10, "--device", small_chip(tmp_path),
                     "--corrections", "fp16", "--out", out)  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in (out / "conditions").iterdir()) == [
        "fp16_0s.npz", "fp16_86400s.npz", "fp16_86400s_adabs.npz",
        "fp16_86400s_recalibrated.npz",
    ]  # fmt: skip


def test_example_of_resnet20_maps_calibrates_and_judges_real_images(tmp_path: Path) -> None:
    ended = evaluate(
        EXAMPLES / "resnet20_cifar10.toml",
        "--weights", real_file("resnet20-12fca82f.th"),
        "--data", real_file("cifar10_test_lossless_1017.npz"),
        "--calibration-data", real_file("cifar10_train_sub_5170.npz"),
        "--calibration-images", 16, "--images", 4, "--backend", "ideal", "--corrections", "fp16",
        "--drift", "fresh", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert "all                                      36 cores  11.4%" in ended.stdout
    labels = np.load(real_file("cifar10_test_lossless_1017.npz"))["labels"][:4]
    found = np.load(tmp_path / "out" / "conditions" / "fp16_0s.npz")["predictions"]
    assert found.tolist() == labels.tolist()
