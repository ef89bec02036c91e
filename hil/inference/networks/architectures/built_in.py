"""The built-in architectures, by name."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hil.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    import torch

_RESNET = re.compile(r"resnet(14|20|32|44|56)")
BUILT_IN = ("resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet9", "mlp")
"""Names that `load_network` knows."""
_CIFAR = (32, 32)
"""Rows and columns of the images that the residual networks are defined for."""


def build(
    name: str,
    weights: "Mapping[str, torch.Tensor]",
    *,
    image_shape: tuple[int, int, int],
) -> "tuple[Any, dict[str, torch.Tensor]]":
    """Make a built-in network that weights are for.

    Parameters
    ----------
    name
        One of `BUILT_IN`.
    weights
        Tensors by name, as the file has them.
    image_shape
        (channel, row, column).

    Returns
    -------
    A `torch.nn.Module` with as many logits as the weights have, and the weights under the names it
    has for them; not yet inserted.

    Raises
    ------
    ConfigError
        If it is for images of another size.
    """
    from hil.inference.networks.architectures.cifar_resnet import (  # noqa: PLC0415 - imports torch
        build_cifar_resnet,
        cifar_resnet_key,
    )
    from hil.inference.networks.architectures.mlp import build_mlp, mlp_keys  # noqa: PLC0415
    from hil.inference.networks.architectures.resnet9 import ResNet9, resnet9_key  # noqa: PLC0415

    channels = image_shape[0]
    count = _last_outputs(weights)
    if name == "mlp":
        names = mlp_keys(list(weights))
        renamed = {names[key]: value for key, value in weights.items()}
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        return build_mlp(renamed, inputs=pixels, classes=count), renamed
    if name == "resnet9":
        renamed = {resnet9_key(key): value for key, value in weights.items()}
        return ResNet9(channels=channels, classes=count), renamed
    match = _RESNET.fullmatch(name)
    if match is None:
        raise ValueError(f"no built-in architecture {name!r}")
    if image_shape[1:] != _CIFAR:
        reason = (
            f"is for images of {_CIFAR[0]} x {_CIFAR[1]} pixels, these have {image_shape[1]} x "
            f"{image_shape[2]}: it would take them, and say nothing of meaning; give those it was "
            "trained with, or a network of your own as FILE.py:factory"
        )
        raise ConfigError(name, [Problem("", reason)])
    renamed = {cifar_resnet_key(key): value for key, value in weights.items()}
    module = build_cifar_resnet(int(match[1]), channels=channels, classes=count, keys=renamed)
    return module, renamed


def _last_outputs(weights: "Mapping[str, torch.Tensor]") -> int:
    """Return the outputs of the last matrix; 10 where there is none, and names will not fit."""
    matrices = [value for value in weights.values() if value.ndim == 2]
    return len(matrices[-1]) if matrices else 10
