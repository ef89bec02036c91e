"""Networks that code of the user's own makes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation_bench import evaluate, save_images
from hil.core.errors import ConfigError
from hil.inference.evaluations.request import ChipChoice, EvaluationRequest, NetworkChoice
from hil.inference.evaluations.request_file import read_request_file
from hil.inference.evaluations.subject import located
from hil.inference.networks.network import load_network

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

CONFIG = 3
"""Exit code."""
SHAPE = (1, 8, 8)
NETWORK = """\
import torch
from beside_it import OUTPUTS
print("made by mine")
class Ends(BaseException):
    pass
def make():
    print("making")
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, OUTPUTS))
def ends():
    raise Ends("not today")
def leaves():
    raise SystemExit(7)
def stopped():
    raise KeyboardInterrupt
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of mynet.py, far from the Python path; nothing of it is imported yet."""
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "mynet.py").write_text(NETWORK)
    (folder / "beside_it.py").write_text("OUTPUTS = 10\n")
    for name in ("mynet", "beside_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield folder
    for name in ("mynet", "beside_it", "_hil_network_mynet"):
        sys.modules.pop(name, None)


def test_module_of_the_current_folder_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = list(sys.path)
    assert load_network("mynet:make", None, image_shape=SHAPE).classes == 10
    assert sys.path == before


@pytest.mark.parametrize("place", ["networks/mynet.py", "./networks/mynet.py", "{}/mynet.py"])
def test_file_of_a_factory_is_found_with_what_lies_beside_it(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    network = load_network(f"{place.format(folder)}:make", None, image_shape=SHAPE)
    assert network.classes == 10


def test_file_named_as_a_library_does_not_take_its_place(folder: Path) -> None:
    (folder / "json.py").write_text((folder / "mynet.py").read_text())
    assert load_network(f"{folder / 'json.py'}:make", None, image_shape=SHAPE).classes == 10
    assert sys.modules["json"] is json
    sys.modules.pop("_hil_network_json")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("mynet.py:maker", "mynet.py:maker: has no 'maker'; did you mean 'make'?"),
        ("mynet:maker", "mynet:maker: has no 'maker'; did you mean 'make'?"),
        ("mynet.py:", "names no factory: give it after the ':'"),
        ("mynet.py:ends", "must return a network: not today"),
        ("mynet.py:leaves", "must return a network: it ends the process (exit code 7)"),
        ("absent.py:make", "cannot be imported: absent.py: no such file"),
        ("./mynet:make", "'./mynet' is no name of a module: give package.module:factory or FILE"),
        ("lacking.py:make", "its module fails as it is imported: No module named 'no_such_thing'"),
        ("lacking:make", "its module fails as it is imported: No module named 'no_such_thing'"),
        ("ending.py:make", "its module fails as it is imported: over"),
        ("wrong.py:make", "its module fails as it is imported: '(' was never closed"),
    ],
)
def test_what_is_wrong_with_a_factory_is_told_without_other_advice(
    model: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "lacking.py").write_text("import no_such_thing\n")
    (folder / "ending.py").write_text("class Own(BaseException): pass\nraise Own('over')\n")
    (folder / "wrong.py").write_text("make(\n")
    with pytest.raises(ConfigError) as raised:
        load_network(model, None, image_shape=SHAPE)
    assert words in str(raised.value)
    assert "PYTHONPATH" not in str(raised.value)


def test_module_that_is_nowhere_is_told_where_it_was_looked_for() -> None:
    with pytest.raises(ConfigError, match=r"nor in the current folder, nor on .*\(PYTHONPATH\)"):
        load_network("no_such_networks:make", None, image_shape=SHAPE)


def test_ctrl_c_in_a_factory_is_still_one(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_network(f"{folder / 'mynet.py'}:stopped", None, image_shape=SHAPE)


def test_what_a_factory_prints_is_no_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_network(f"{folder / 'mynet.py'}:make", None, image_shape=SHAPE)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "made by mine\nmaking\n")


def test_workers_are_told_the_absolute_path_of_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    network = NetworkChoice(model="./mynet.py:make", data=Path("images.npz"))
    found = located(EvaluationRequest(network=network, chip=ChipChoice(run=Path("run"))))
    assert found.network.model == f"{folder / 'mynet.py'}:make"


def test_file_of_a_factory_starts_from_the_folder_of_the_request(folder: Path) -> None:
    request = folder / "request.toml"
    request.write_text(
        'schema_version = 1\n[network]\nmodel = "mynet.py:make"\n[data]\nimages = "i.npz"\n'
    )
    assert read_request_file(request)["model"] == f"{folder / 'mynet.py'}:make"


def test_failed_try_leaves_no_folder(folder: Path, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images.npz")
    for out in (tmp_path / "out", tmp_path / "new" / "out"):
        ended = evaluate("--model", f"{folder / 'mynet.py'}:ends", "--data", images,
                         "--backend", "ideal", "--out", out)  # fmt: skip
        assert ended.exit_code == CONFIG, ended.output
        assert not out.exists()
    assert not (tmp_path / "new").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    ended = evaluate("--model", f"{folder / 'mynet.py'}:ends", "--data", images,
                     "--backend", "ideal", "--out", mine)  # fmt: skip
    assert ended.exit_code == CONFIG
    assert mine.is_dir()


def test_json_on_stdout_is_all_that_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    draws = np.random.default_rng(1)
    pixels = draws.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez("images.npz", images=pixels, labels=np.arange(12) % 10)
    ended = evaluate("--model", "mynet:make", "--data", "images.npz", "--backend", "ideal",
                     "--corrections", "float", "--drift", "fresh", "--json", "-")  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["images"] == 12
    assert "making\n" in ended.stderr
