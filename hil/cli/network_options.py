"""Options that name a network and its images, the same for every command that judges one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OF_THE_DEMO = ("model", "weights", "data", "calibration_data", "mean", "std")
"""What the demo brings along."""


def numbers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Read numbers with commas between them; a click callback."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} must be numbers, as 0.485,0.456,0.406") from None


def network_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options; all are None, and `demo` is False, where they are left out."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--std", callback=numbers, metavar="S1,S2,S3",
                     help="What every channel is divided by, in units of full white."),
        click.option("--mean", callback=numbers, metavar="M1,M2,M3",
                     help="What is taken from every channel, in units of full white."),
        click.option("--calibration-images", type=click.IntRange(min=1),
                     help="How many images calibrate; 256 if left out."),
        click.option("--images", type=click.IntRange(min=1),
                     help="How many images are judged, from the first; all if left out."),
        click.option("--calibration-data", type=path,
                     help="Images that calibrate: as --data; its training part if left out."),
        click.option("--data", type=path,
                     help="Labelled images: .npz, CIFAR folder, or a folder for each class."),
        click.option("--weights", type=path, help="File of weights: torch.save or safetensors."),
        click.option("--model", metavar="M",
                     help="resnet20 and the like, package.module:factory, FILE.py:factory, or a "
                     ".pt2 file."),
        click.option("--demo", is_flag=True,
                     help="A small network that is trained on the spot, and its images."),
    ):  # fmt: skip
        function = option(function)
    return function


def refuse_beside_demo(given: Mapping[str, Any]) -> None:
    """Refuse an option that the demo answers itself.

    Raises
    ------
    ConfigError
        With the first such option.
    """
    for name in OF_THE_DEMO:
        if given.get(name) is not None:
            option = "--" + name.replace("_", "-")
            message = "and --demo exclude each other: the demo has its own network and images"
            raise ConfigError(option, [Problem("", message)])
