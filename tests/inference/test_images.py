"""Labelled images from every kind of file and folder, and what is refused."""

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.inference.image_data.images import Normalisation, load_images

Pixels = npt.NDArray[np.uint8]


def _pixels(images: int) -> Pixels:
    """Return (image, row, column, channel)."""
    return np.random.default_rng(7).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)


def _rows(pixels: Pixels) -> Pixels:
    """Return CIFAR's rows: all red, all green, all blue, by the layout of its description."""
    return np.stack(
        [np.concatenate([image[:, :, channel].ravel() for channel in range(3)]) for image in pixels]
    )


def _write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def _as_python_2(pixels: Pixels, labels: list[int], key: bytes) -> bytes:
    """Write a batch as CIFAR's files are: protocol 2, byte strings, numpy's old name."""
    content = pickle.dumps({b"data": pixels, key: labels}, protocol=2)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def test_npz_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = _pixels(3)
    path = _write_npz(tmp_path / "images.npz", images=pixels, labels=[4, 0, 9])
    images = load_images(path)
    np.testing.assert_array_equal(images.images, pixels)
    assert images.labels.tolist() == [4, 0, 9]
    assert images.image_shape == (3, 32, 32)
    assert images.classes == 10


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    grey = np.zeros((2, 8, 6), dtype=np.uint8)
    path = _write_npz(tmp_path / "grey.npz", images=grey, labels=[0, 1])
    assert load_images(path).image_shape == (1, 8, 6)


def test_python_form_of_cifar_10_is_read(tmp_path: Path) -> None:
    pixels = _pixels(4)
    (tmp_path / "test_batch").write_bytes(_as_python_2(_rows(pixels), [3, 8, 8, 0], b"labels"))
    names = [f"class {number}".encode() for number in range(10)]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.images, pixels)
    assert images.labels.tolist() == [3, 8, 8, 0]
    assert images.names[8] == "class 8"
    assert images.classes == 10


def test_training_split_of_cifar_10_is_its_five_batches(tmp_path: Path) -> None:
    for number in range(1, 6):
        batch = _as_python_2(_rows(_pixels(1)), [number], b"labels")
        (tmp_path / f"data_batch_{number}").write_bytes(batch)
    assert load_images(tmp_path, split="train").labels.tolist() == [1, 2, 3, 4, 5]


def test_python_form_of_cifar_100_has_fine_labels(tmp_path: Path) -> None:
    pixels = _pixels(2)
    (tmp_path / "test").write_bytes(_as_python_2(_rows(pixels), [49, 99], b"fine_labels"))
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.images, pixels)
    assert images.labels.tolist() == [49, 99]
    assert images.classes == 100


def test_binary_form_of_cifar_10_is_read(tmp_path: Path) -> None:
    pixels = _pixels(2)
    records = b"".join(
        bytes([label]) + row.tobytes() for label, row in zip((6, 9), _rows(pixels), strict=True)
    )
    (tmp_path / "test_batch.bin").write_bytes(records)
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.images, pixels)
    assert images.labels.tolist() == [6, 9]


def test_binary_form_of_cifar_100_has_the_fine_label_second(tmp_path: Path) -> None:
    pixels = _pixels(1)
    (tmp_path / "test.bin").write_bytes(bytes([11, 77]) + _rows(pixels)[0].tobytes())
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.images, pixels)
    assert images.labels.tolist() == [77]


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "was here"
    hostile = {b"data": _Hostile(marker), b"labels": [0]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(hostile, protocol=2))
    with pytest.raises(DatasetError, match=r"test_batch: refers to (posix|nt)\.mkdir: must hold"):
        load_images(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", [b"builtins\neval", b"numpy\nload", b"numpy\nmemmap", b"pickle\nloads"]
)
def test_pickle_that_names_another_function_is_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(b"c" + name + b"\n.")
    with pytest.raises(DatasetError, match="refers to " + name.decode().replace("\n", ".")):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged"),
        (b"not a pickle", "must hold arrays and plain values only"),
        (pickle.dumps([1]), "holds a list, must hold a dictionary"),
        (pickle.dumps({b"labels": [1]}), "data: must be uint8 of shape"),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1, 2]}),
            "labels: 2 for 1 images",
        ),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}),
            "labels: are 10 to 10, must be 0 to 9",
        ),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}),
            "labels: must be a list of integers",
        ),
    ],
    ids=["empty", "text", "list", "no data", "label count", "label range", "label type"],
)
def test_damaged_batch_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        load_images(tmp_path)


def test_truncated_binary_form_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(DatasetError, match=r"3000 bytes, must be a multiple of 3073"):
        load_images(tmp_path)


def test_missing_batch_is_named(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(_as_python_2(_rows(_pixels(1)), [1], b"labels"))
    with pytest.raises(DatasetError, match=r"data_batch_2: no such file: the folder is not"):
        load_images(tmp_path, split="train")


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"pictures": [1]}, "must hold the arrays images and labels, holds pictures"),
        (
            {"images": np.zeros((1, 4, 4, 3), np.float32), "labels": [0]},
            "images: are float32, must be uint8",
        ),
        (
            {"images": np.zeros((1, 3, 32, 32), np.uint8), "labels": [0]},
            "32 channels, must be 1 to 4, the last axis",
        ),
        (
            {"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0]},
            r"labels: shape \(1,\), must be \(2,\)",
        ),
        (
            {"images": np.zeros((1, 4, 4, 3), np.uint8), "labels": [-1]},
            "labels: are -1 to -1, must be 0 to 999999",
        ),
        (
            {"images": np.zeros((1, 4, 4, 3), np.uint8), "labels": [0.5]},
            "labels: are float64, must be integers",
        ),
        (
            {"images": np.zeros((0, 4, 4, 3), np.uint8), "labels": np.zeros(0, int)},
            "images: there is none",
        ),
    ],
    ids=["names", "float", "channels first", "count", "negative", "float labels", "none"],
)
def test_wrong_npz_is_named(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        load_images(_write_npz(tmp_path / "wrong.npz", **arrays))


def test_npz_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "was here"
    objects = np.array([_Hostile(marker)], dtype=object)
    path = _write_npz(tmp_path / "hostile.npz", images=objects, labels=[0])
    with pytest.raises(DatasetError, match="an array of Python objects") as error:
        load_images(path)
    assert "allow_pickle" not in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and no more"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"images\.npz: is no \.npz") as error:
        load_images(tmp_path / "images.npz")
    assert "pickle" not in str(error.value)


def test_single_array_is_refused(tmp_path: Path) -> None:
    with io.BytesIO() as file:
        np.save(file, np.zeros(3))
        (tmp_path / "one.npz").write_bytes(file.getvalue())
    with pytest.raises(DatasetError, match=r"is one array: must be \.npz"):
        load_images(tmp_path / "one.npz")


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\.npz: no such file or folder"):
        load_images(tmp_path / "nothing.npz")


def test_empty_folder_says_what_it_must_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="have one folder of images for each class"):
        load_images(tmp_path)


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'validation': must be test or train"):
        load_images(tmp_path, split="validation")


def _write_image(path: Path, pixels: Pixels) -> None:
    pillow = pytest.importorskip(
        "PIL.Image", reason="pillow is not installed: pip install 'aimc-hil[inference]'"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(pixels).save(path)


def test_image_folder_has_classes_in_alphabetical_order(tmp_path: Path) -> None:
    first, second = _pixels(2)
    _write_image(tmp_path / "test" / "zebra" / "a.png", first)
    _write_image(tmp_path / "test" / "ant" / "b.png", second)
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.images, [second, first])
    assert images.labels.tolist() == [0, 1]
    assert images.names == ("ant", "zebra")


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    _write_image(tmp_path / "ant" / "a.png", np.zeros((8, 8, 3), np.uint8))
    _write_image(tmp_path / "ant" / "b.png", np.zeros((8, 9, 3), np.uint8))
    expected = "b.png: (8, 9, 3) (row, column, channel), the first image, a.png, has (8, 8, 3)"
    with pytest.raises(DatasetError, match=re.escape(expected)):
        load_images(tmp_path)


def test_damaged_image_is_named(tmp_path: Path) -> None:
    _write_image(tmp_path / "ant" / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "ant" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(DatasetError, match=r"a\.png: cannot be read as an image"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "name", "mode"),
    [(np.uint16, "a.png", "I;16"), (np.int32, "a.tif", "I"), (np.float32, "a.tif", "F")],
)
def test_image_of_more_than_8_bits_is_refused_not_cut(
    tmp_path: Path, dtype: type, name: str, mode: str
) -> None:
    _write_image(tmp_path / "ant" / name, np.full((8, 8), 300, dtype))
    expected = f"{name}: pillow's mode {mode}, must have 8 bits a channel: scale it to 0 to 255"
    with pytest.raises(DatasetError, match=re.escape(expected)):
        load_images(tmp_path)


def test_image_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    _write_image(tmp_path / "ant" / "a.png", np.zeros((8, 8, 3), np.uint8))
    os.mkfifo(tmp_path / "ant" / "b.png")
    with pytest.raises(DatasetError, match=r"b\.png: is no regular file"):
        load_images(tmp_path)


def test_batch_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "test_batch")
    with pytest.raises(DatasetError, match="holds no images"):
        load_images(tmp_path)


@pytest.mark.parametrize("split", ["test", "train"])
def test_classes_are_numbered_by_those_of_both_splits(tmp_path: Path, split: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for folder in ("train/ant", "train/bee", "train/cow", "test/ant", "test/cow"):
        _write_image(tmp_path / folder / "a.png", pixels)
    images = load_images(tmp_path, split=split)
    assert images.names == ("ant", "bee", "cow")
    assert images.labels.tolist() == {"test": [0, 2], "train": [0, 1, 2]}[split]


def test_class_that_was_never_trained_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for folder in ("train/ant", "train/cow", "test/ant", "test/bee", "test/cow"):
        _write_image(tmp_path / folder / "a.png", pixels)
    expected = "test: has classes that train has not (bee): labels are the places of train's names"
    with pytest.raises(DatasetError, match=re.escape(expected)):
        load_images(tmp_path)


def test_missing_split_of_an_image_folder_is_named(tmp_path: Path) -> None:
    _write_image(tmp_path / "train" / "ant" / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"test: no such folder of classes, where train is one"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (5, "label_names: is of type int, must be a list of class names"),
        ([b"caf\xe9"], "label_names: class 0 is not UTF-8 text"),
        ([1], "label_names: class 0 is not UTF-8 text"),
    ],
)
def test_damaged_class_names_are_named(tmp_path: Path, names: Any, reason: str) -> None:
    (tmp_path / "test_batch").write_bytes(_as_python_2(_rows(_pixels(1)), [3], b"labels"))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    with pytest.raises(DatasetError, match=rf"batches\.meta: {reason}"):
        load_images(tmp_path)


def test_class_names_written_by_python_3_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(_as_python_2(_rows(_pixels(1)), [3], b"labels"))
    names = [f"class {number}" for number in range(10)]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    assert load_images(tmp_path).names[3] == "class 3"


def test_npz_that_inflates_beyond_the_limit_is_refused_before(tmp_path: Path) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, images=pixels, labels=[0])
    content = bytearray(path.read_bytes())
    # The size when inflated is at byte 24 of an entry of the archive's directory.
    for entry in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[entry.start() + 24 : entry.start() + 28] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    expected = "images and labels are 6442450944 bytes when inflated, must be at most 4294967296"
    with pytest.raises(DatasetError, match=expected):
        load_images(path)


def test_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "images.npz")
    with pytest.raises(DatasetError, match="is neither a regular file nor a folder"):
        load_images(tmp_path / "images.npz")


@pytest.mark.parametrize("images", [np.uint8(4), np.zeros(3, np.uint8)], ids=["scalar", "vector"])
def test_npz_of_images_without_axes_is_named(tmp_path: Path, images: Any) -> None:
    path = _write_npz(tmp_path / "scalar.npz", images=images, labels=[0])
    with pytest.raises(DatasetError, match=r"images: shape \(.*\), must be \(image, row, column"):
        load_images(path)


@pytest.mark.parametrize(
    ("mean", "std", "reason"),
    [
        ((), (1.0,), r"mean: \(\): must be finite"),
        ((0.0,), (0.0,), "std: .*must be above 0"),
        ((float("nan"),), (1.0,), "mean: .*must be finite"),
    ],
)
def test_impossible_normalisation_is_refused(
    mean: tuple[float, ...], std: tuple[float, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        Normalisation(mean=mean, std=std)


def test_tensor_is_normalised_channel_by_channel(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")
    pixels = np.array([[[[0, 255, 51]]]], dtype=np.uint8)
    images = load_images(_write_npz(tmp_path / "one.npz", images=pixels, labels=[0]))
    normalisation = Normalisation(mean=(0.5, 0.5, 0.0), std=(0.25, 0.5, 0.1))
    values = images.tensor(normalisation).numpy()
    assert values.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(values.ravel(), [-2.0, 1.0, 2.0], rtol=1e-6)


def test_normalisation_of_other_channels_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")
    grey = np.zeros((1, 4, 4), dtype=np.uint8)
    images = load_images(_write_npz(tmp_path / "grey.npz", images=grey, labels=[0]))
    with pytest.raises(ConfigError, match="mean: 3 numbers, the images have 1 channels"):
        images.tensor(Normalisation(mean=(0.1, 0.2, 0.3), std=(1.0,)))
