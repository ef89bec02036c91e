"""Read noise of the cells, of the kind 1/f: it grows with the logarithm of the age.

At the age t a cell differs by ``g * Q(g) * sqrt(ln((t + tr) / (2 * tr)))`` rms from what it holds
on average. The logarithm is shared out over components, each a decade slower than the one before
and drawn anew as often as its time constant passes. So little changes in a short time and more in a
long one, as with 1/f noise, and what a cell shows follows from its age alone, whatever the steps in
which time passed.

Source of the amplitude: the HERMES noise model of aihwkit (docs/reference/mock-profile.md). Source
of the components: the sum of random values that are renewed at slower and slower rates, R. F. Voss
and J. Clarke, J. Acoust. Soc. Am. 63, 258 (1978).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hil_mock_device.crossbar import LARGEST_CODE, FloatMatrix
from hil_mock_device.profile import ReadNoiseProfile

_CONDUCTANCE = (0.0, 0.02, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 1.0)
_AMPLITUDE = {
    1: (0.0400, 0.0343, 0.0272, 0.0218, 0.0179, 0.0206, 0.0217, 0.0184, 0.0168),
    2: (0.0400, 0.0389, 0.0282, 0.0200, 0.0150, 0.0159, 0.0167, 0.0153, 0.0123),
}
"""Q at `_CONDUCTANCE`, by devices per cell."""

_DECADE = np.log(10.0)


def amplitudes(weights: npt.NDArray[np.int8], *, devices_per_cell: int) -> FloatMatrix:
    """Return Q of every cell, shape (row, column), for wanted weight codes (row, column)."""
    wanted = np.abs(weights.astype(np.float64)) / LARGEST_CODE
    return np.asarray(np.interp(wanted, _CONDUCTANCE, _AMPLITUDE[devices_per_cell]))


def component_shares(age_s: float, profile: ReadNoiseProfile) -> list[tuple[float, int]]:
    """Return the share of each component of the logarithm, and how often it was drawn anew.

    The sum of the shares is ``ln((t + tr) / (2 * tr))``; the component k holds its value for
    ``2 * tr * 10**(k + 1)``.
    """
    whole = np.log((age_s + profile.read_s) / (2 * profile.read_s))
    shares = []
    constant_s = 20 * profile.read_s
    while whole > 0:
        shares.append((float(min(whole, _DECADE)), int(age_s // constant_s)))
        whole -= _DECADE
        constant_s *= 10
    return shares


def relative_noise(
    shape: tuple[int, int],
    profile: ReadNoiseProfile,
    *,
    age_s: float,
    rng: Callable[[int, int], np.random.Generator],
) -> FloatMatrix:
    """Return the noise of every cell at an age, in units of ``g * Q``.

    Parameters
    ----------
    shape
        Rows and columns.
    profile
        Factor and time of one reading.
    age_s
        Time since programming.
    rng
        Gives the randomness of a component when it was drawn for the n-th time.
    """
    noise = np.zeros(shape)
    for component, (share, times) in enumerate(component_shares(age_s, profile)):
        noise += np.sqrt(share) * rng(component, times).standard_normal(shape)
    return profile.factor * noise
