"""The small residual network of nine layers that CIFAR-10 is often trained with in minutes.

Source: D. Page, "How to train your ResNet", part 1 (2018), in the form of the Jovian
tutorial "ResNet9 on CIFAR-10", whose names the weights have.
"""

import re

import torch
from torch import nn


def _convolution(inputs: int, outputs: int, *, is_pooled: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.MaxPool2d(2)) if is_pooled else nn.Sequential(*layers)


class ResNet9(nn.Module):
    """Eight convolutions, two pairs of them with a shortcut, and one linear layer."""

    def __init__(self, *, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, 64, is_pooled=False)
        self.conv2 = _convolution(64, 128, is_pooled=True)
        self.res1 = nn.Sequential(*(_convolution(128, 128, is_pooled=False) for _ in range(2)))
        self.conv3 = _convolution(128, 256, is_pooled=True)
        self.conv4 = _convolution(256, 512, is_pooled=True)
        self.res2 = nn.Sequential(*(_convolution(512, 512, is_pooled=False) for _ in range(2)))
        self.classifier = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, classes))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (image, class)."""
        values = self.conv2(self.conv1(values))
        values = self.res1(values) + values
        values = self.conv4(self.conv3(values))
        values = self.res2(values) + values
        logits: torch.Tensor = self.classifier(values)
        return logits


def resnet9_key(key: str) -> str:
    """Return the name that a weight has here: with dropout, the linear layer is one further."""
    return re.sub(r"^classifier\.3\.", "classifier.2.", key)
