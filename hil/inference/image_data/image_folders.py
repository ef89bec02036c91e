"""Folders of images: CIFAR's own python and binary forms, and one folder for each class.

Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Dataset layout": rows of 3,072
bytes, 1,024 of red, green and blue each, row by row; binary records begin with one label
(CIFAR-10) or with the coarse and the fine one (CIFAR-100).
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.inference.image_data.images import MOST_BYTES, Images, checked_images
from hil.inference.image_data.restricted_pickle import load_arrays
from hil.inference.libraries import load_library

_TRAIN_10 = tuple(f"data_batch_{number}" for number in range(1, 6))
_PIXEL_BYTES = 3072
_SIDE = 32
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")


def read_folder(folder: Path, split: str) -> Images:
    """Read a folder, whichever kind it is.

    Raises
    ------
    DatasetError
        If it is of no known kind, or something in it is missing, damaged or wrong.
    """
    ten = _TRAIN_10 if split == "train" else ("test_batch",)
    if _has_any(folder, "data_batch_1", "test_batch"):
        return _python_form(folder, ten, label_key=b"labels", meta="batches.meta", classes=10)
    if _has_any(folder, "data_batch_1.bin", "test_batch.bin"):
        files = tuple(f"{name}.bin" for name in ten)
        return _binary_form(folder, files, label_bytes=1, meta="batches.meta.txt", classes=10)
    if _has_any(folder, "train.bin", "test.bin"):
        files = (f"{split}.bin",)
        return _binary_form(folder, files, label_bytes=2, meta="fine_label_names.txt", classes=100)
    if (folder / "train").is_file() or (folder / "test").is_file():
        return _python_form(folder, (split,), label_key=b"fine_labels", meta="meta", classes=100)
    return _class_folders(*_split_and_classes(folder, split))


def _has_any(folder: Path, *names: str) -> bool:
    return any((folder / name).is_file() for name in names)


def _python_form(
    folder: Path, files: tuple[str, ...], *, label_key: bytes, meta: str, classes: int
) -> Images:
    pixels, labels = [], []
    for name in files:
        batch = _unpickled(folder / name)
        data, numbers = batch.get(b"data"), batch.get(label_key)
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.shape[1:] != (_PIXEL_BYTES,)
        ):
            raise _error(folder / name, "data", f"must be uint8 of shape (image, {_PIXEL_BYTES})")
        if not isinstance(numbers, list) or not all(type(one) is int for one in numbers):
            raise _error(folder / name, label_key.decode(), "must be a list of integers")
        if len(numbers) != len(data):
            reason = f"{len(numbers)} for {len(data)} images"
            raise _error(folder / name, label_key.decode(), reason)
        pixels.append(data)
        labels += numbers
    names: tuple[str, ...] = ()
    if (folder / meta).is_file():
        key = b"label_names" if classes == 10 else b"fine_label_names"
        names = _class_names(folder / meta, key)
    return _cifar(folder, np.concatenate(pixels), labels, names=names, classes=classes)


def _class_names(meta: Path, key: bytes) -> tuple[str, ...]:
    found = _unpickled(meta).get(key, [])
    if not isinstance(found, (list, tuple)):
        reason = f"is of type {type(found).__name__}, must be a list of class names"
        raise _error(meta, key.decode(), reason)
    names: list[Any] = []
    for number, one in enumerate(found):
        try:
            names.append(one.decode() if isinstance(one, bytes) else one)
        except UnicodeDecodeError:
            names.append(None)
        if not isinstance(names[-1], str):
            raise _error(meta, key.decode(), f"class {number} is not UTF-8 text: {one!r}")
    return tuple(names)


def _unpickled(path: Path) -> dict[bytes, Any]:
    if not path.is_file():
        raise _error(path, "", "no such file: the folder is not complete")
    try:
        content = load_arrays(path.read_bytes())
    except pickle.UnpicklingError as error:
        reason = f"{error}: must hold arrays and plain values only, as CIFAR's files do"
        raise _error(path, "", reason) from error
    if not isinstance(content, dict):
        raise _error(path, "", f"holds a {type(content).__name__}, must hold a dictionary")
    # Files written again by Python 3 have text where CIFAR's own have bytes.
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def _binary_form(
    folder: Path, files: tuple[str, ...], *, label_bytes: int, meta: str, classes: int
) -> Images:
    record = label_bytes + _PIXEL_BYTES
    parts = []
    for name in files:
        path = folder / name
        if not path.is_file():
            raise _error(path, "", "no such file: the folder is not complete")
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        if not content.size or content.size % record:
            reason = f"{content.size} bytes, must be a multiple of {record}: not complete"
            raise _error(path, "", reason)
        parts.append(content.reshape(-1, record))
    records = np.concatenate(parts)
    names: tuple[str, ...] = ()
    if (folder / meta).is_file():
        lines = (folder / meta).read_text(encoding="utf-8", errors="replace").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
    labels = records[:, label_bytes - 1].astype(np.int64)
    return _cifar(folder, records[:, label_bytes:], labels, names=names, classes=classes)


def _cifar(
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    labels: Any,
    *,
    names: tuple[str, ...],
    classes: int,
) -> Images:
    images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    # Without names, the labels are still those of so many classes.
    known = names if len(names) == classes else tuple(str(one) for one in range(classes))
    return checked_images(
        np.ascontiguousarray(images), np.asarray(labels), source=str(folder), names=known
    )


def _split_and_classes(folder: Path, split: str) -> tuple[Path, list[str]]:
    """Return the folder of a split and the names of its classes, in the order of the labels.

    Labels are the places of the sorted names, as torchvision's ``ImageFolder`` gives them to the
    training images: a test split without one of the classes would number the others differently.
    """
    training, testing = folder / "train", folder / "test"
    if not _holds_folders(training) and not _holds_folders(testing):
        return folder, _subfolders(folder)
    if not _holds_folders(folder / split):
        other = "test" if split == "train" else "train"
        reason = f"no such folder of classes, where {other} is one"
        raise _error(folder / split, "", reason)
    if not _holds_folders(training):
        return testing, _subfolders(testing)
    names = _subfolders(training)
    extra = sorted(set(_subfolders(testing)) - set(names)) if testing.is_dir() else []
    if extra:
        reason = (
            f"has classes that train has not ({', '.join(extra)}): labels are the places of "
            "train's names, sorted; rename or remove these folders, or add them to train"
        )
        raise _error(testing, "", reason)
    return folder / split, names


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(_subfolders(folder))


def _subfolders(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")


def _class_folders(folder: Path, names: list[str]) -> Images:
    files = [
        (label, file)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in _IMAGE_SUFFIXES
    ]
    if not files:
        reason = (
            "holds no images: must be a folder of CIFAR-10 or CIFAR-100 (python or binary form), "
            "or have one folder of images for each class"
        )
        raise _error(folder, "", reason)
    first = _read_image(files[0][1])
    if first.size * len(files) > MOST_BYTES:
        reason = f"{len(files)} images of {first.shape}: more than {MOST_BYTES} bytes together"
        raise _error(folder, "", reason)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for place, (_, file) in enumerate(files):
        image = _read_image(file)
        if image.shape != first.shape:
            reason = (
                f"{image.shape} (row, column, channel), the first image, {files[0][1].name}, "
                f"has {first.shape}: all must have one size"
            )
            raise _error(file, "", reason)
        images[place] = image
    labels = np.array([label for label, _ in files])
    return checked_images(images, labels, source=str(folder), names=tuple(names))


def _read_image(path: Path) -> npt.NDArray[np.uint8]:
    if not path.is_file():  # a pipe would be waited for
        raise _error(path, "", "is no regular file: remove it from the folder of its class")
    pillow = load_library("PIL.Image", purpose=f"image {path.name}", package="pillow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path) as image:
                mode = image.mode
                array = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Warning,
        pillow.DecompressionBombError,
    ) as e:
        raise _error(path, "", f"cannot be read as an image: {e}") from e
    if mode[0] in "IF":  # pillow cuts these at 255
        reason = (
            f"pillow's mode {mode}, must have 8 bits a channel: scale it to 0 to 255 as the "
            "training did, and save it again"
        )
        raise _error(path, "", reason)
    return array if array.ndim == 3 else array[..., None]


def _error(path: Path, where: str, message: str) -> DatasetError:
    return DatasetError(str(path), [Problem(where, message)])
