"""Evaluations of the demo's network, for tests: trained once, each in a folder of its own."""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from hil.cli import command_line  # noqa: E402 - after the skip
from hil.inference.demo import DemoFiles, demo_files, write_demo  # noqa: E402

SMALL_CHIP = """\
schema_version = 1
name = "small"
seed = 3
[array]
cores = {cores}
"""
"""Five cores are just enough for the demo's network."""
FEW = ("--images", "30", "--calibration-images", "64")


@cache
def trained_demo() -> DemoFiles:
    """Train the demo's network, once per process of pytest."""
    torch.set_num_threads(1)
    return write_demo(Path(tempfile.mkdtemp(prefix="hil-demo-")))


def demo_out(folder: Path, name: str = "out") -> Path:
    """Return an output folder that holds the trained demo already."""
    out = folder / name
    out.mkdir()
    shutil.copytree(trained_demo().weights.parent, out / "demo")
    return out


def small_chip(folder: Path, *, cores: int = 5) -> str:
    """Write the profile of a small chip; return its resource."""
    path = folder / f"chip{cores}.toml"
    path.write_text(SMALL_CHIP.format(cores=cores))
    return f"mock://{path}"


def evaluate(*arguments: object) -> Result:
    """Run `hil evaluate` in this process: torch is imported once."""
    return hil_here("evaluate", *arguments)


def hil_here(*arguments: object) -> Result:
    """Run `hil` in this process."""
    return CliRunner().invoke(command_line, [*map(str, arguments)])


def named_demo(folder: Path) -> tuple[object, ...]:
    """Return the options that name the demo's network and images as any other's."""
    files = demo_files(demo_out(folder, "files") / "demo")
    return (
        "--model", "hil.inference.demo:make_network", "--weights", files.weights,
        "--data", files.images, "--mean", 0.5, "--std", 0.5,
    )  # fmt: skip


def save_images(path: Path, *, side: int = 8, channels: int = 1, largest_label: int = 9) -> Path:
    """Write twelve grey images and labels."""
    images: npt.NDArray[np.uint8] = np.full((12, side, side, channels), 128, np.uint8)
    labels = np.arange(12) % 10
    labels[0] = largest_label
    np.savez(path, images=images, labels=labels)
    return path


def with_unsupported_layer() -> Any:
    """A network whose block holds a transposed convolution."""
    block = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 4, 3))
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), block, torch.nn.Flatten(), torch.nn.Linear(256, 10)
    )


class _LessTheMeanImage(torch.nn.Module):  # type: ignore[misc, name-defined] # torch is Any
    def forward(self, images: Any) -> Any:
        return images - images.mean(dim=0, keepdim=True)


def mixing_images() -> Any:
    """A network that takes the mean of the batch from every image."""
    torch.manual_seed(0)
    return torch.nn.Sequential(_LessTheMeanImage(), without_batch_norm())


def without_batch_norm() -> Any:
    """A linear layer on grey images of 8 x 8 pixels."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
