"""The score interval of a difference of paired shares, which holds where few images differ."""

from math import sqrt

_STEPS = 60
"""Halvings: the ends are exact to the last bits."""


def score_interval(lost: int, gained: int, *, images: int, quantile: float) -> tuple[float, float]:
    """Return the ends of Tango's score interval of (lost - gained) / images.

    It is not empty where nothing differs: 40 images alike leave differences up to 8.8 % open.

    Parameters
    ----------
    lost, gained
        Images that only one of the two has right, and only the other.
    images
        All of them, at least one.
    quantile
        Of the normal distribution, 1.96 for 95 %.

    Source
    ------
    T. Tango, Statistics in Medicine 17 (1998) 891.

    Examples
    --------
    >>> [round(end, 3) for end in score_interval(0, 0, images=40, quantile=1.96)]
    [-0.088, 0.088]
    """
    observed = (lost - gained) / images

    def is_inside(difference: float) -> bool:
        variance = images * _variance(lost, gained, images, difference)
        return (lost - gained - images * difference) ** 2 <= quantile**2 * variance

    ends = []
    for outer in (-1.0, 1.0):
        near, far = observed, outer
        for _ in range(_STEPS):
            middle = (near + far) / 2
            near, far = (middle, far) if is_inside(middle) else (near, middle)
        ends.append(near)
    return ends[0], ends[1]


def _variance(lost: int, gained: int, images: int, difference: float) -> float:
    """Return the variance of one image's difference, most likely if the share is `difference`."""
    square = 2 * images
    linear = (2 * images - lost + gained) * difference - lost - gained
    constant = -gained * difference * (1 - difference)
    root = sqrt(max(0.0, linear**2 - 4 * square * constant))
    share_gained = (root - linear) / (2 * square)
    return max(0.0, 2 * share_gained + difference * (1 - difference))
