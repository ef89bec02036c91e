"""From logits to classes, a few images at a time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.inference.observing import EvaluationObserver

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
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    found = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            found.append(logits(part, first).argmax(dim=1).cpu().numpy())
            observer.on_images(len(part))
    return np.concatenate(found).astype(np.int64)
