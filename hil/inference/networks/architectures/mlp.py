"""Linear layers with ReLU between them; how many and how wide, its weights say."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn


class Mlp(nn.Module):
    """Linear layers with ReLU between them, of the pixels of an image in one row."""

    def __init__(self, widths: Sequence[int], *, has_bias: Sequence[bool]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs, bias=bias)
            for inputs, outputs, bias in zip(widths[:-1], widths[1:], has_bias, strict=True)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (image, class)."""
        values = values.flatten(1)
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        logits: torch.Tensor = self.layers[-1](values)
        return logits


def build_mlp(weights: Mapping[str, torch.Tensor], *, inputs: int, classes: int) -> Mlp:
    """Make the network that the weights are for.

    Parameters
    ----------
    weights
        Tensors by the names of this module.
    inputs
        Pixels of an image, all channels together: the first layer must take as many.
    classes
        Number of logits: the last layer must give as many.
    """
    matrices = [value for key, value in weights.items() if key.endswith(".weight")]
    hidden = [len(value) if value.ndim else 1 for value in matrices[:-1]]  # no matrix: told later
    has_bias = [f"layers.{place}.bias" in weights for place in range(max(len(matrices), 1))]
    return Mlp([inputs, *hidden, classes], has_bias=has_bias)


def mlp_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return the name that each weight has here, in the order of the file.

    Examples
    --------
    >>> mlp_keys(["fc1.weight", "fc1.bias", "out.weight"])
    {'fc1.weight': 'layers.0.weight', 'fc1.bias': 'layers.0.bias', 'out.weight': 'layers.1.weight'}
    """
    owners = list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
    return {
        key: f"layers.{owners.index(key.rpartition('.')[0])}.{key.rpartition('.')[2]}"
        for key in keys
    }
