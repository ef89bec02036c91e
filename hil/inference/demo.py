"""A network and images that need no download: scikit-learn's digits, and a small CNN for them.

The images are 8 x 8 grey levels of handwritten digits, part of scikit-learn itself. The network is
trained on the spot, in seconds, with a fixed seed, and is then evaluated like any other: from a
file of weights and a file of images. It judges by one mean for each channel, so that the gains of
single columns are seen: with means of quarters, a chip that nobody calibrated is right as often.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998; the test part, as scikit-learn's `load_digits` has it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.inference.libraries import load_library, load_torch
from hil_datasets.durable import finished_file, names_failed_writes

if TYPE_CHECKING:
    import torch

DEMO_MODEL = "hil.inference.demo:make_network"
"""The demo's network, as `load_network` takes it."""
_SEED = 20
_EPOCHS = 6
_BATCH = 64
_TEST_IMAGES = 500
_LARGEST_GREY = 16
"""White in the data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFiles:
    """What the demo made."""

    weights: Path
    """State dict of the network, safetensors."""
    images: Path
    """Images that it was not trained on, npz."""
    training_images: Path
    """Images that it was trained on, npz: for ranges and calibration."""


def make_network() -> "torch.nn.Module":
    """Return the network, with weights of no meaning: three convolutions and a linear layer."""
    from torch import nn  # noqa: PLC0415 - an extra, and slow to import

    layers: list[Any] = []
    for inputs, outputs, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 1)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def demo_files(folder: Path) -> DemoFiles:
    """Return the names of the demo's files in a folder."""
    return DemoFiles(
        weights=folder / "weights.safetensors",
        images=folder / "images.npz",
        training_images=folder / "training_images.npz",
    )


def write_demo(folder: Path) -> DemoFiles:
    """Train the network, and write it and the images into a folder.

    The same versions of the libraries on the same kind of machine give the same bytes.

    Raises
    ------
    DatasetError
        If a file cannot be written.
    """
    load_torch()
    images, labels = _digits()
    files = demo_files(folder)
    save_file = load_library(
        "safetensors.torch", purpose="the demo", package="safetensors"
    ).save_file
    with names_failed_writes(folder):
        folder.mkdir(exist_ok=True)
    trained = _train(images[_TEST_IMAGES:], labels[_TEST_IMAGES:])
    with names_failed_writes(files.weights), finished_file(files.weights) as part:
        save_file({name: value.contiguous() for name, value in trained.items()}, part)
    for path, chosen in (
        (files.images, slice(0, _TEST_IMAGES)),
        (files.training_images, slice(_TEST_IMAGES, None)),
    ):
        with names_failed_writes(path), finished_file(path) as part, part.open("wb") as file:
            np.savez(file, images=images[chosen], labels=labels[chosen])
    return files


def _digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return images (image, row, column, channel) and labels (image,), in an order of chance."""
    datasets = load_library("sklearn.datasets", purpose="the demo", package="scikit-learn")
    digits = datasets.load_digits()
    order = np.random.default_rng(_SEED).permutation(len(digits.target))
    grey = np.rint(digits.images[order] * (255 / _LARGEST_GREY)).astype(np.uint8)
    return grey[..., None], digits.target[order].astype(np.int64)


def _train(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> dict[str, "torch.Tensor"]:
    """Return the state dict after training on images normalised to mean 0.5, deviation 0.5."""
    import torch  # noqa: PLC0415 - an extra, and slow to import

    rng = np.random.default_rng(_SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = make_network()
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    wanted = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, weight_decay=1e-4)
    network.train()
    for _ in range(_EPOCHS):
        order: Any = torch.from_numpy(rng.permutation(len(labels)))
        for chosen in order.split(_BATCH):
            loss: Any = torch.nn.functional.cross_entropy(network(inputs[chosen]), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return dict(network.state_dict())
