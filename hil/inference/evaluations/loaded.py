"""The network and the images of a request, loaded and held against each other."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hil.core.errors import DatasetError, Problem
from hil.inference.evaluations.request import NetworkChoice
from hil.inference.failed_reads import names_failed_reads
from hil.inference.image_data.images import Images, Normalisation, load_images
from hil.inference.networks.batch_dependence import require_independent_images
from hil.inference.networks.network import load_network

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

_UNSCALED = Normalisation(mean=(0.0,), std=(1.0,))
_TRAINING_PARTS = ("data_batch_1", "data_batch_1.bin", "train.bin", "train")
"""What a folder with a training part has in it."""


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A network, images to judge, and images that calibrate."""

    network: "Network"
    """The network."""
    images: "torch.Tensor"
    """Images to judge, as the network takes them."""
    judged: Images
    """The same, with labels."""
    calibration_images: "torch.Tensor"
    """Images that calibrate."""
    identity: dict[str, str]
    """Hashes of all that was loaded."""
    notes: tuple[str, ...]
    """What was chosen because nobody said."""


def load_subject(choice: NetworkChoice) -> LoadedNetwork:
    """Load a network and its images.

    Raises
    ------
    ConfigError
        If the network cannot be mapped, does not take such images, mixes those of a batch, or
        torch is not installed.
    DatasetError
        If a file cannot be read, or the weights are another architecture's or not finite.
    """
    notes: list[str] = []
    everything = load_images(choice.data)
    judged = everything.first(choice.images or len(everything))
    calibrating = _calibration_images(choice, everything, notes)
    normalisation = choice.normalisation
    if normalisation is None:
        notes.append("pixels are given as 0 to 1: no --mean and --std were given")
        normalisation = _UNSCALED
    network = load_network(
        choice.model,
        choice.weights,
        image_shape=everything.image_shape,
        classes=everything.classes,
    )
    images = judged.tensor(normalisation)
    require_independent_images(network, images)
    return LoadedNetwork(
        network=network,
        images=images,
        judged=judged,
        calibration_images=calibrating.tensor(normalisation),
        identity={
            "model": choice.model,
            "weights_sha256": network.weights_sha256,
            "network_sha256": network.program_sha256,
            "images_sha256": images_digest(judged),
            "calibration_images_sha256": images_digest(calibrating),
            "mean": " ".join(map(str, normalisation.mean)),
            "std": " ".join(map(str, normalisation.std)),
        },
        notes=tuple(notes),
    )


def images_digest(images: Images) -> str:
    """Return the SHA-256 of the shape, the pixels and the labels (little-endian int64)."""
    digest = hashlib.sha256(" ".join(map(str, images.images.shape)).encode() + b"\n")
    digest.update(np.ascontiguousarray(images.images).data)
    digest.update(np.ascontiguousarray(images.labels, dtype="<i8").data)
    return digest.hexdigest()


def _calibration_images(choice: NetworkChoice, judged: Images, notes: list[str]) -> Images:
    path = choice.calibration_data or choice.data
    is_judged = choice.calibration_data is None and not _has_training_part(choice.data)
    if is_judged:
        found = judged
        notes.append(
            "ranges and cores are calibrated with the first of the judged images themselves; give "
            "others with --calibration-data"
        )
    else:
        found = load_images(path, split="train" if _has_training_part(path) else "test")
    if found.image_shape != judged.image_shape:
        channels, rows, columns = found.image_shape
        wanted = judged.image_shape
        message = (
            f"images of {rows} x {columns} pixels and {channels} channels, those to judge are "
            f"{wanted[1]} x {wanted[2]} with {wanted[0]}"
        )
        raise DatasetError(str(path), [Problem("images", message)])
    return found.first(choice.calibration_images)


def _has_training_part(path: Path) -> bool:
    with names_failed_reads(path):
        return any((path / name).exists() for name in _TRAINING_PARTS)
