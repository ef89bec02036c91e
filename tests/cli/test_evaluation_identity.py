"""What an evaluation's folder takes for the same evaluation, and what for another one."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")

from evaluation_bench import demo_out, evaluate, named_demo, small_chip

CONFIG = 3
"""Exit code."""


def test_device_of_an_edited_profile_is_another_subject(tmp_path: Path) -> None:
    resource = small_chip(tmp_path)
    arguments = (
        "--demo", "--images", 1, "--calibration-images", 6, "--backend", "device",
        "--device", resource, "--corrections", "float", "--out", demo_out(tmp_path),
    )  # fmt: skip
    assert evaluate(*arguments).exit_code == 0
    profile = Path(resource.removeprefix("mock://"))
    profile.write_text(profile.read_text() + "[read_noise]\nfactor = 3.0\n")
    ended = evaluate(*arguments)
    assert ended.exit_code == CONFIG
    assert "holds another evaluation: other profile of the chip: " in ended.stderr


def test_changed_network_of_the_same_name_is_another_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = dict(zip(*[iter(named_demo(tmp_path))] * 2, strict=True))
    file = tmp_path / "turning_network.py"
    text = (
        "import torch\nfrom hil.inference.demo import make_network\n"
        "class Made(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = make_network()\n"
        "    def forward(self, images):\n"
        "        return {sign}self.body(images)\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return Made()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    del named["--weights"]
    said = [part for pair in named.items() for part in pair]
    for sign, code in (("", 0), ("-", CONFIG)):
        file.write_text(text.format(sign=sign))
        sys.modules.pop("turning_network", None)
        importlib.invalidate_caches()
        ended = evaluate(
            *said, "--model", "turning_network:make", "--images", 4, "--calibration-images", 16,
            "--backend", "ideal", "--corrections", "float", "--out", tmp_path / "turned",
        )  # fmt: skip
        assert ended.exit_code == code, ended.output
    assert "holds another evaluation: other network: " in ended.stderr


def test_ages_that_differ_in_the_seventh_digit_are_two(tmp_path: Path) -> None:
    out = demo_out(tmp_path)
    ended = evaluate(
        "--demo", "--images", 4, "--calibration-images", 32, "--device", small_chip(tmp_path),
        "--corrections", "float", "--drift", "1000000s,1000001s", "--treatments", "kept",
        "--out", out,
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert {path.name for path in (out / "conditions").iterdir()} == {
        "float_0s.npz", "float_1000000s.npz", "float_1000001s.npz",
    }  # fmt: skip
    assert "1000001 s" in ended.output


def test_ages_that_name_none_or_one_twice_are_refused(tmp_path: Path) -> None:
    out = demo_out(tmp_path)
    for drift, words, code in (
        (",", "names no age", 2),
        ("100d,8640000s", "'8640000s' is given twice", CONFIG),
        ("1.1h,3960s", "'3960s' is given twice", CONFIG),
    ):
        ended = evaluate("--demo", "--drift", drift, "--out", out)
        assert ended.exit_code == code, ended.output
        assert words in ended.stderr
