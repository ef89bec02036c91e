"""Comparing what was predicted for the same images: accuracies, paired differences, agreement.

An accuracy on a thousand images is uncertain by about a point. The difference between two
corrections is much less so where both judged the same images with the same noise: only the images
on which they disagree count.
"""

from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.inference.conditions.score_interval import score_interval

CONFIDENCE = 0.95
"""Of every interval here."""
_Z = 1.959963984540054
"""Quantile of the normal distribution at (1 + CONFIDENCE) / 2."""
_RESAMPLINGS = 10_000
"""Bootstrap resamplings: the ends of the interval move by a few percent of its width from seed to
seed."""
_FEW = 10
"""Images judged differently, below which they cannot be resampled: of none, there is nothing to
draw."""

Labels = npt.NDArray[np.int64]
"""Classes, shape (image,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of images, and the interval that it is known to."""

    value: float
    """0 to 1."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    images: int
    """Out of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """What one way of computing loses against another on the same images."""

    lost: int
    """Images that only the reference has right."""
    gained: int
    """Images that only the candidate has right."""
    drop: float
    """Accuracy of the reference less that of the candidate: a share, negative if it is better."""
    low: float
    """Lower end of its 95 % interval: by the paired bootstrap, or Tango's score interval where
    fewer than ten images are lost or gained."""
    high: float
    """Upper end."""
    p_value: float
    """Exact McNemar: how often `lost` and `gained` are so unequal if neither is better."""
    agreement: float
    """Share of images with the same prediction, right or wrong."""


def accuracy(predictions: Labels, labels: Labels) -> Share:
    """Return the share of images that were predicted right, with Wilson's score interval.

    Parameters
    ----------
    predictions, labels
        Classes, shape (image,).

    Raises
    ------
    ConfigError
        If there are no images, or not as many labels as predictions.

    Source
    ------
    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    _require_same_images(predictions, labels)
    images = len(labels)
    value = float(np.mean(predictions == labels))
    widened = 1 + _Z**2 / images
    middle = (value + _Z**2 / (2 * images)) / widened
    half = _Z * sqrt(value * (1 - value) / images + _Z**2 / (4 * images**2)) / widened
    return Share(
        value=value,
        low=min(max(middle - half, 0.0), value),
        high=max(min(middle + half, 1.0), value),
        images=images,
    )


def compare_paired(
    candidate: Labels, reference: Labels, labels: Labels, *, seed: int
) -> PairedDifference:
    """Compare two predictions of the same images.

    Parameters
    ----------
    candidate, reference
        What each predicted, shape (image,).
    labels
        What is right, shape (image,).
    seed
        Of the bootstrap.

    Raises
    ------
    ConfigError
        If there are no images, or not as many of each.
    """
    _require_same_images(candidate, labels)
    _require_same_images(reference, labels)
    is_right, was_right = candidate == labels, reference == labels
    lost = int(np.sum(was_right & ~is_right))
    gained = int(np.sum(is_right & ~was_right))
    low, high = (
        score_interval(lost, gained, images=len(labels), quantile=_Z)
        if lost + gained < _FEW
        else _bootstrap(lost, gained, images=len(labels), seed=seed)
    )
    return PairedDifference(
        lost=lost,
        gained=gained,
        drop=(lost - gained) / len(labels),
        low=low,
        high=high,
        p_value=mcnemar_exact(lost, gained),
        agreement=float(np.mean(candidate == reference)),
    )


def mcnemar_exact(lost: int, gained: int) -> float:
    """Return the two-sided p value of McNemar's test, from the binomial distribution itself.

    Examples
    --------
    >>> mcnemar_exact(5, 0)
    0.0625

    Source
    ------
    Q. McNemar, Psychometrika 12 (1947) 153; exact form: twice the smaller tail at one half.
    """
    both = lost + gained
    tail = sum(comb(both, count) for count in range(min(lost, gained) + 1))
    # Integers to the end: their quotient is right however many images there are.
    return min(1.0, 2 * tail / 2**both) if lost != gained else 1.0


def _bootstrap(lost: int, gained: int, *, images: int, seed: int) -> tuple[float, float]:
    # Images differ only in being lost, gained or neither, so drawing `images` of them with
    # replacement is drawing three numbers.
    shares = np.array([lost, gained, images - lost - gained]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=_RESAMPLINGS)
    drops = (drawn[:, 0] - drawn[:, 1]) / images
    low, high = np.quantile(drops, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _require_same_images(predictions: Labels, labels: Labels) -> None:
    if predictions.shape != labels.shape or labels.ndim != 1 or not len(labels):
        message = (
            f"{predictions.shape} predictions and {labels.shape} labels: one of each for every "
            "image, and at least one image"
        )
        raise ConfigError("images", [Problem("", message)])
