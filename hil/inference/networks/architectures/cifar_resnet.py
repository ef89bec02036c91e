"""Residual networks of 6n + 2 layers for images of 32 x 32, and the names their weights have.

Source: He et al., arXiv 1512.03385, section 4.2. The names are those of
github.com/akamaster/pytorch_resnet_cifar10 (Idelbayev 2018); those of sandialabs/cross-sim
(``res1.0``, ``classifier.2``, ``downsample``) are mapped onto them.
"""

import re
from collections.abc import Collection

import torch
from torch import nn
from torch.nn import functional

_WIDTHS = (16, 32, 64)
_FIRST_CONVOLUTION_SHORTCUT = "layer2.0.shortcut.0.weight"


class PaddedShortcut(nn.Module):
    """Shortcut without weights (option A): every second pixel, and zeros as new channels."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.before = new_channels // 2
        self.after = new_channels - self.before

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the smaller image with more channels."""
        return functional.pad(values[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, is_padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 1:
            self.shortcut: nn.Module = nn.Sequential()
        elif is_padded:
            self.shortcut = PaddedShortcut(outputs - inputs)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of both ways, rectified."""
        inner = functional.relu(self.bn1(self.conv1(values)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(values))


class CifarResNet(nn.Module):
    """Three stages of blocks, the mean of every channel, and one linear layer."""

    def __init__(self, blocks: int, *, channels: int, classes: int, is_padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        inputs = _WIDTHS[0]
        stages = []
        for outputs in _WIDTHS:
            strides = [1 if outputs == inputs else 2] + [1] * (blocks - 1)
            widths = [inputs] + [outputs] * (blocks - 1)
            stages.append(
                nn.Sequential(
                    *(
                        BasicBlock(width, outputs, stride, is_padded=is_padded)
                        for width, stride in zip(widths, strides, strict=True)
                    )
                )
            )
            inputs = outputs
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (image, class)."""
        values = functional.relu(self.bn1(self.conv1(values)))
        for stage in (self.layer1, self.layer2, self.layer3):
            values = stage(values)
        logits: torch.Tensor = self.linear(values.mean((2, 3)))
        return logits


def build_cifar_resnet(
    depth: int, *, channels: int, classes: int, keys: Collection[str]
) -> CifarResNet:
    """Make the network that the weights are for.

    Parameters
    ----------
    depth
        Layers, 6n + 2.
    channels
        Channels of an image.
    classes
        Number of logits.
    keys
        Names of the weights, of this module's form: they say which kind of shortcut it has.
    """
    is_padded = _FIRST_CONVOLUTION_SHORTCUT not in keys
    return CifarResNet((depth - 2) // 6, channels=channels, classes=classes, is_padded=is_padded)


def cifar_resnet_key(key: str) -> str:
    """Return the name that a weight has here.

    Examples
    --------
    >>> cifar_resnet_key("res2.0.downsample.1.weight")
    'layer2.0.shortcut.1.weight'
    """
    key = re.sub(r"^res(\d)\.", r"layer\1.", key)
    key = key.replace(".downsample.", ".shortcut.")
    return re.sub(r"^(classifier\.2|fc)\.", "linear.", key)
