"""Labelled images: what they are, and where each kind of file or folder keeps them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.npz_file import why_unreadable
from hil.inference.failed_reads import names_failed_reads
from hil.inference.libraries import load_torch

if TYPE_CHECKING:
    import torch

MOST_BYTES = 1 << 32
"""Of all images together: they are held in memory."""
_LABEL_KEYS = ("labels", "fine_labels")
_MOST_CLASSES = 1_000_000
"""Where there are no names: a label beyond is taken for a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What is taken from every channel, and what it is divided by, in units of full white."""

    mean: tuple[float, ...]
    """Of each channel; one number is for all of them."""
    std: tuple[float, ...]
    """Of each channel, above 0; one number is for all of them."""

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values or not np.isfinite(values).all():
                message = f"{values}: must be finite numbers, one for each channel or one for all"
                raise ConfigError("normalisation", [Problem(name, message)])
        if min(self.std) <= 0:
            message = f"{self.std}: every number must be above 0"
            raise ConfigError("normalisation", [Problem("std", message)])


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images and the class that each of them shows."""

    images: npt.NDArray[np.uint8]
    """Shape (image, row, column, channel)."""
    labels: npt.NDArray[np.int64]
    """Shape (image,), 0 <= label."""
    names: tuple[str, ...] = ()
    """Names of the classes; none where the files have none."""
    source: str = ""
    """Where they are from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", read_only(self.images))
        object.__setattr__(self, "labels", read_only(self.labels))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channel, row, column), as a network takes them."""
        rows, columns, channels = self.images.shape[1:]
        return channels, rows, columns

    @property
    def classes(self) -> int:
        """Classes that the labels need: the names, or the highest label and those below it."""
        return max(len(self.names), int(self.labels.max()) + 1)

    def first(self, count: int) -> "Images":
        """Return the first images."""
        return Images(
            images=self.images[:count],
            labels=self.labels[:count],
            names=self.names,
            source=self.source,
        )

    def tensor(self, normalisation: Normalisation) -> "torch.Tensor":
        """Return float32 of shape (image, channel, row, column), normalised.

        Raises
        ------
        ConfigError
            If the normalisation is of another number of channels.
        """
        library = load_torch()
        channels = self.images.shape[3]
        scale = []
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            if len(values) not in (1, channels):
                message = f"{len(values)} numbers, the images have {channels} channels"
                raise ConfigError("normalisation", [Problem(name, message)])
            scale.append(library.tensor(values, dtype=library.float32)[:, None, None])
        pixels = library.from_numpy(np.array(self.images)).permute(0, 3, 1, 2)
        normalised: torch.Tensor = ((pixels.float() / 255 - scale[0]) / scale[1]).contiguous()
        return normalised


def load_images(path: Path, *, split: str = "test") -> Images:
    """Load labelled images.

    Parameters
    ----------
    path
        ``.npz`` with ``images`` uint8 (image, row, column, channel) or (image, row, column) and
        ``labels`` (or ``fine_labels``) integers; a folder of CIFAR-10 or CIFAR-100, in the python
        or the binary form; or a folder with one folder of images for each class.
    split
        ``test`` or ``train``: which part of a CIFAR folder, or which of the folders of these
        names, if an image folder has them; classes are then numbered by the names in ``train``. A
        ``.npz`` has one part.

    Raises
    ------
    DatasetError
        If something is missing or damaged, or a shape, type or label is wrong.
    ConfigError
        If the split is another, or pillow is needed and not installed.
    """
    if split not in ("test", "train"):
        raise ConfigError("split", [Problem("", f"{split!r}: must be test or train")])
    with names_failed_reads(path):
        return _load(path, split)


def _load(path: Path, split: str) -> Images:
    if path.is_dir():
        from hil.inference.image_data.image_folders import read_folder  # noqa: PLC0415 - it imports this

        return read_folder(path, split)
    if not path.exists():
        raise DatasetError(str(path), [Problem("", "no such file or folder")])
    if not path.is_file():  # a pipe would be waited for
        raise DatasetError(str(path), [Problem("", "is neither a regular file nor a folder")])
    return _read_npz(path)


def _read_npz(path: Path) -> Images:
    try:
        # numpy leaves a file open that it cannot read, if it opened it itself.
        with path.open("rb") as file:
            arrays = _image_arrays(np.load(file, allow_pickle=False), path)
    except DatasetError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds for damaged files
        reason = f"is no .npz of plain arrays, or damaged: {why_unreadable(error)}"
        raise DatasetError(str(path), [Problem("", reason)]) from error
    return checked_images(*arrays, source=str(path))


def _image_arrays(file: Any, path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise DatasetError(str(path), [Problem("", "is one array: must be .npz")])
    key = next((one for one in _LABEL_KEYS if one in file.files), None)
    if "images" not in file.files or key is None:
        found = ", ".join(file.files) or "nothing"
        reason = f"must hold the arrays images and labels, holds {found}"
        raise DatasetError(str(path), [Problem("", reason)])
    # As declared: the archive yields no byte beyond that, and none is inflated to find out.
    members = [] if file.zip is None else file.zip.infolist()
    declared = {one.filename: one.file_size for one in members}
    total = sum(declared.get(f"{name}.npy", 0) for name in ("images", key))
    if total > MOST_BYTES:
        reason = (
            f"images and {key} are {total} bytes when inflated, must be at most {MOST_BYTES}: "
            "they are held in memory; save fewer images"
        )
        raise DatasetError(str(path), [Problem("", reason)])
    return file["images"], file[key]


def checked_images(
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    source: str,
    names: tuple[str, ...] = (),
) -> Images:
    """Check shapes, types and labels.

    Raises
    ------
    DatasetError
        With every problem that there is.
    """
    if images.ndim == 3:
        images = images[..., None]
    problems = _image_problems(images)
    if images.ndim == 4:  # else nobody knows how many there are
        problems += _label_problems(labels, len(images), len(names))
    if problems:
        raise DatasetError(source, problems)
    return Images(
        images=images.astype(np.uint8, copy=False),
        labels=labels.astype(np.int64),
        names=names,
        source=source,
    )


def _image_problems(images: npt.NDArray[Any]) -> list[Problem]:
    problems = []
    if images.dtype != np.uint8:
        problems.append(Problem("images", f"are {images.dtype}, must be uint8 (0 to 255)"))
    if images.ndim != 4 or 0 in images.shape[1:]:
        shape = f"shape {images.shape}, must be (image, row, column, channel)"
        problems.append(Problem("images", shape))
    elif images.shape[3] > 4:
        shape = f"shape {images.shape}: {images.shape[3]} channels, must be 1 to 4, the last axis"
        problems.append(Problem("images", shape + _channels_first_hint(images)))
    elif not len(images):
        problems.append(Problem("images", "there is none"))
    return problems


def _channels_first_hint(images: npt.NDArray[Any]) -> str:
    if images.shape[1] > 4:
        return ""
    return " of (image, row, column, channel); channels first? save images.transpose(0, 2, 3, 1)"


def _label_problems(labels: npt.NDArray[Any], images: int, names: int) -> list[Problem]:
    problems = []
    if labels.shape != (images,):
        reason = f"shape {labels.shape}, must be ({images},): one for each image"
        problems.append(Problem("labels", reason))
    if labels.dtype.kind not in "iu":
        problems.append(Problem("labels", f"are {labels.dtype}, must be integers from 0"))
    elif labels.size:
        lowest, highest = int(labels.min()), int(labels.max())
        limit = names or _MOST_CLASSES
        if lowest < 0 or highest >= limit:
            reason = f"are {lowest} to {highest}, must be 0 to {limit - 1}"
            problems.append(Problem("labels", reason))
    return problems
