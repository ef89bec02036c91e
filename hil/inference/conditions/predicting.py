"""From logits to classes, a few images at a time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.inference.conditions.observing import EvaluationObserver

if TYPE_CHECKING:
    import torch

BATCH = 64
"""Images between two signs of progress."""

Predictions = npt.NDArray[np.int64]
"""Classes, shape (image,)."""


def predict_classes(
    images: "torch.Tensor",
    logits: Callable[["torch.Tensor", int], "torch.Tensor"],
    observer: EvaluationObserver,
    *,
    condition: str,
) -> Predictions:
    """Return the class with the largest logit of every image.

    Parameters
    ----------
    images
        As the network takes them.
    logits
        Computes (image, class) from some of the images, and the number of the first of them.
    observer
        Is told of every batch.
    condition
        What errors call the way it is computed.

    Raises
    ------
    ConfigError
        If a logit is not a number.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    found = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            found.append(classes_of(logits(part, first), condition=condition, first=first))
            observer.on_images(len(part))
    return np.concatenate(found)


def classes_of(logits: "torch.Tensor", *, condition: str, first: int = 0) -> Predictions:
    """Return the class with the largest logit of every image.

    Parameters
    ----------
    logits
        Shape (image, class).
    condition
        What errors call the way they were computed.
    first
        Number of the first of the images.

    Raises
    ------
    ConfigError
        If a logit is not a number: no class is the largest then.
    """
    wrong = logits.isnan().any(dim=1)
    if wrong.any():
        image = first + int(wrong.nonzero()[0])
        message = (
            f"the logits of image {image} are not numbers (NaN): the network divides by zero, or "
            "its values leave the range of float32"
        )
        raise ConfigError("network", [Problem(condition, message)])
    return np.asarray(logits.argmax(dim=1).cpu().numpy(), dtype=np.int64)
