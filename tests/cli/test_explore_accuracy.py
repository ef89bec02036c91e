"""`hil explore --metric accuracy` as a user runs it, with the network of the demo."""

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from command_line import Ended, campaign_file, hil, hil_here

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")
pytest.importorskip("sklearn", reason="scikit-learn: pip install 'aimc-hil[inference]'")

from evaluation_bench import demo_out, small_chip

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


@pytest.fixture(scope="module")
def again(
    studied: tuple[Path, Ended], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ended]:
    """The same study once more, as JSON and, where that is possible, as a figure."""
    folder = tmp_path_factory.mktemp("again")
    (folder / "matplotlibrc").write_text("svg.fonttype: none\n")  # letters, not outlines
    plots = ("--plot", folder / "study.svg") if find_spec("matplotlib") else ()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, study(studied[0], "--json", *plots)


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
    studied: tuple[Path, Ended], again: tuple[Path, Ended]
) -> None:
    stored = (studied[0] / "results.jsonl").read_bytes()
    assert again[1].stderr.startswith("0 results computed, 2 known before")
    assert len(stored.splitlines()) == 2
    summary: Any = again[1].json
    assert (summary["metric"], summary["images"]) == ("accuracy", 60)
    assert (summary["title"], summary["verification_vectors"]) == ("demo on 5 cores", None)
    (mode,) = summary["read_modes"]
    assert sorted(mode["baselines"]) == ["float", "fp16", "uncorrected"]
    assert [point["register_bits"] for point in mode["formats"]] == [24, 14]
    for line, point in zip(stored.splitlines(), mode["formats"], strict=True):
        # A share of 60 images.
        assert 60 * point["error"] == pytest.approx(round(60 * point["error"]))
        assert json.loads(line)["errors"]["nmpu"] == point["error"]
        assert sorted(point["lost"]) == ["drop", "high", "low"]


def test_figure_has_the_intervals_and_no_run(again: tuple[Path, Ended]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    drawn = (again[0] / "study.svg").read_text()
    words = {
        "format", "Pareto set", "the base format", "uncorrected", "float", "FP16", "95 % interval"
    }  # fmt: skip
    texts = set(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))
    assert words <= texts
    assert "the run's format" not in texts


def test_a_run_is_judged_as_it_was_measured_in_one_read_mode_and_then_in_the_other(
    tmp_path: Path,
) -> None:
    resource = small_chip(tmp_path)
    assert hil_here("run", campaign_file(tmp_path, resource=resource), "--quiet").code == 0
    run, out = tmp_path / "run", demo_out(tmp_path)
    few = ("--demo", "--images", 20, "--calibration-images", 32, "--axis", "scale_bits=8")
    asked = ("explore", run, "--metric", "accuracy", *few, "--workers", 1, "--out", out)
    one = hil_here(*asked, "--read-mode", "one_phase")
    assert one.code == 0, one.stderr
    both = hil_here(*asked, "--json")
    assert both.stderr.startswith("1 results computed, 1 known before")
    assert [mode["read_mode"] for mode in both.json["read_modes"]] == ["four_phase", "one_phase"]
    chip = "aimc-hil mock-chip, serial small-0, firmware 1.0"
    assert both.json["chip"] == f"{chip}, as measured by {run}"
    readouts = [name for name in both.json["recording"] if name.startswith("run_readouts")]
    assert readouts == ["run_readouts_sha256 four_phase", "run_readouts_sha256 one_phase"]


def test_a_study_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    missing = ("--model", "resnet20", "--weights", "lost.th", "--data", "lost.npz")
    ended = hil("explore", CHIP, "--metric", "accuracy", *missing, cwd=tmp_path)
    assert ended.code == 5, ended.stderr
    assert [*tmp_path.iterdir()] == []


def test_without_torch_the_command_that_was_given_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(tmp_path)
    ended = hil_here(*ASKED)
    assert ended.code == 3
    words = "error: hil explore --metric accuracy: needs torch: pip install 'aimc-hil[inference]'"
    assert ended.stderr.strip() == words
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/x", "--model", "resnet20"), "--model: names what --metric accuracy judges by"),
        (("mock://nobody",), "mock://nobody: no such profile; use mock://quickstart"),
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
