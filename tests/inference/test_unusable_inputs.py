"""Images and weights that cannot be judged: one clear line, whatever is wrong with the file."""

import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evaluation_bench import evaluate, save_images
from hil.core.errors import ConfigError, DatasetError
from hil.inference.computing.backends.published_drift import drift_note
from hil.inference.image_data.images import load_images
from hil.inference.networks.network import load_network
from hil.inference.networks.weights import read_weights
from network_files import real_file

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

CONFIG, DATA = 3, 5
"""Exit codes."""
LONG = "x" * 300


def test_labels_that_are_durations_are_named(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4).astype("m8[s]"))
    with pytest.raises(DatasetError, match=r"labels: are timedelta64\[s\], must be integers"):
        load_images(path)


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
        b"\x93NUMPY\x01\x00\x10\x00" + b"'" * 16,
        b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': 1}    ",
        b"\x93NUMPY\x09\x00\x10\x00",
    ],
    ids=["brackets", "quotes", "keys", "version"],
)
def test_array_with_a_broken_header_is_damaged(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header)
        archive.writestr("labels.npy", header)
    expected = re.escape(f"{path}: is no .npz of plain arrays, or damaged: ")
    with pytest.raises(DatasetError, match=expected):
        load_images(path)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 3, 32, 32)])
def test_channels_that_come_first_are_recognised(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros(shape, np.uint8), labels=np.arange(4))
    expected = "channels first? save images.transpose(0, 2, 3, 1)"
    with pytest.raises(DatasetError, match=re.escape(expected)):
        load_images(path)
    with np.load(path) as stored:
        np.savez(path, images=stored["images"].transpose(0, 2, 3, 1), labels=stored["labels"])
    assert load_images(path).image_shape == shape[1:]


def test_many_channels_that_come_last_are_not_taken_for_rows(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((4, 8, 8, 7), np.uint8), labels=np.arange(4))
    with pytest.raises(DatasetError, match=r"7 channels, must be 1 to 4, the last axis$"):
        load_images(path)


@pytest.mark.parametrize("option", ["--data", "--calibration-data", "--weights"])
def test_input_with_too_long_a_name_is_no_output(option: str, tmp_path: Path) -> None:
    given: dict[str, object] = {"--data": save_images(tmp_path / "images.npz"), "--model": "mlp",
                                "--weights": tmp_path / "w.pth"}  # fmt: skip
    torch.save({"1.weight": torch.rand(10, 64)}, tmp_path / "w.pth")
    named = [part for pair in (given | {option: LONG}).items() for part in pair]
    ended = evaluate(*named, "--backend", "ideal", "--out", tmp_path / "out")
    assert ended.exit_code == DATA, ended.output
    assert f"{LONG}: cannot be read: File name too long" in ended.stderr


def test_file_that_a_request_names_too_long_is_no_output(tmp_path: Path) -> None:
    request = tmp_path / "request.toml"
    request.write_text(f'schema_version = 1\n[network]\nmodel = "mlp"\n[data]\nimages = "{LONG}"\n')
    ended = evaluate(request, "--backend", "ideal", "--out", tmp_path / "out")
    assert ended.exit_code == DATA, ended.output
    assert "cannot be read: File name too long" in ended.stderr


def test_nested_tensor_is_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about what is not finished
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    torch.save({"a": nested}, tmp_path / "weights.pth")
    with pytest.raises(DatasetError, match="a: is a sparse, nested or quantised tensor"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("key", ["0.weight", "2.weight"])
def test_number_in_place_of_a_matrix_is_named(key: str, tmp_path: Path) -> None:
    weights = {"0.weight": torch.rand(16, 64), "2.weight": torch.rand(10, 16)}
    torch.save(weights | {key: torch.tensor(1.0)}, tmp_path / "weights.pth")
    with pytest.raises(DatasetError, match=r"weight: shape \(\), the network has \("):
        load_network("mlp", tmp_path / "weights.pth", image_shape=(1, 8, 8))


@pytest.mark.parametrize("side", [24, 64])
def test_residual_network_of_images_of_another_size_is_refused(side: int) -> None:
    expected = f"resnet20: is for images of 32 x 32 pixels, these have {side} x {side}: "
    with pytest.raises(ConfigError, match=expected):
        load_network("resnet20", real_file("resnet20-12fca82f.th"), image_shape=(3, side, side))


def test_labels_without_the_last_class_leave_the_network_as_it_is(tmp_path: Path) -> None:
    with np.load(real_file("cifar10_test_lossless_1017.npz")) as stored:
        images, labels = stored["images"][:8], stored["labels"][:8]
    assert labels.max() == 8
    np.savez(tmp_path / "eight.npz", images=images, labels=labels)
    found = load_images(tmp_path / "eight.npz")
    network = load_network(
        "resnet20", real_file("resnet20-12fca82f.th"), image_shape=found.image_shape,
        classes=found.classes,
    )  # fmt: skip
    assert network.classes == 10


@pytest.mark.parametrize(
    ("seconds", "words"), [(60500.0, "16.8 h"), (60.0, "1 min"), (0.5, "0.5 s"), (1e8, "1160 d")]
)
def test_age_of_a_run_is_told_in_units_of_people(seconds: float, words: str) -> None:
    assert f"it read its cores {words} after programming" in drift_note(seconds)
