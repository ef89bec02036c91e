"""`hil explore --metric accuracy` as a user runs it, with the network of the demo."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Ended, hil

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")
pytest.importorskip("sklearn", reason="scikit-learn: pip install 'aimc-hil[inference]'")

CHIP = "mock://hermes-like"
ASKED = ("explore", CHIP, "--metric", "accuracy", "--demo", "--axis", "scale_bits=8,3")


def study(folder: Path, *more: object) -> Ended:
    chosen = ("--images", 60, "--read-mode", "one_phase", "--workers", 1, "--out", folder)
    return hil(*ASKED, *chosen, *more)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    folder = tmp_path_factory.mktemp("judged") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # numpy's threads, too, would wait for each other
        return folder, study(folder)


def test_study_prints_what_a_network_gets_wrong(studied: tuple[Path, Ended]) -> None:
    _, ended = studied
    assert ended.code == 0, ended.stderr
    for words in (
        "one_phase, 5 cores: the formats worth their bits",
        "wrong images %",
        "95 % interval",
        "2 x u(1,7) + s8(7,1)",
        "float, no rounding",
        "bold: the base format; 60 images",
    ):
        assert words in ended.stdout
    assert ended.stderr.startswith("2 results computed, 0 known before")


def test_second_call_computes_nothing_and_its_json_is_that_of_every_study(
    studied: tuple[Path, Ended],
) -> None:
    folder, _ = studied
    stored = (folder / "results.jsonl").read_bytes()
    again = study(folder, "--json")
    assert again.stderr.startswith("0 results computed, 2 known before")
    assert (folder / "results.jsonl").read_bytes() == stored
    summary: Any = again.json
    assert (summary["metric"], summary["images"]) == ("accuracy", 60)
    (mode,) = summary["read_modes"]
    assert sorted(mode["baselines"]) == ["float", "fp16", "uncorrected"]
    assert [point["register_bits"] for point in mode["formats"]] == [24, 14]
    for line, point in zip(stored.splitlines(), mode["formats"], strict=True):
        # A share of 60 images.
        assert 60 * point["error"] == pytest.approx(round(60 * point["error"]))
        assert json.loads(line)["errors"]["nmpu"] == point["error"]
        assert sorted(point["lost"]) == ["drop", "high", "low"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/x", "--model", "resnet20"), "--model: names what --metric accuracy judges by"),
        ((CHIP,), "mock://hermes-like: has no readouts: give a run or a campaign file"),
        ((CHIP, "--metric", "accuracy", "--core", 1), "--core: and --metric accuracy exclude"),
        ((CHIP, "--metric", "accuracy"), "--model: is missing"),
        (
            (CHIP, "--metric", "accuracy", "--demo", "--weights", "w.pt"),
            "--weights: and --demo exclude each other",
        ),
        (
            ("mock://nobody", "--metric", "accuracy", "--model", "resnet20", "--data", "x.npz"),
            "no such profile",
        ),
    ],
)
def test_what_does_not_go_together_is_said(
    arguments: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    ended = hil("explore", *arguments, cwd=tmp_path)
    assert ended.code == 3, ended.stderr
    assert words in ended.stderr
