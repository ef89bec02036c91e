"""How the chip of a run ages: by published drift, for a run has measured it at one age.

Each cell decays as ``G(t) = G(t0) * (t / t0)**-nu``. The law does not hold down to t = 0: t0 is the
age of an array whose programming has just ended, 300 s for two devices per cell (the HERMES noise
model of aihwkit, docs/reference/mock-profile.md; the mock chip has the same). So a core that was
read s seconds after it was programmed was t0 + s old, and later outputs fall by the powers of
``(t0 + s + later) / (t0 + s)``. Taken for t0, s itself would make one hour a ratio of thousands for
a core that was read at once.
"""

import math

from hil.inference.age_words import three_digits
from hil_mock_device.profile import DriftProfile

DRIFT = DriftProfile()
"""Published exponents, and t0."""


def fresh_age_s(since_programming_s: float) -> float:
    """Return the age t at which a run has measured its cores.

    Parameters
    ----------
    since_programming_s
        How long before they were programmed, seconds, 0 or more; NaN, not known, counts as 0.

    Returns
    -------
    Seconds, never below t0.
    """
    return DRIFT.reference_s + (0.0 if math.isnan(since_programming_s) else since_programming_s)


def drift_note(since_programming_s: float) -> str:
    """Return which law, exponents and t0 the chip of a run ages by; parameter as above."""
    found = (
        "when it read its cores is not in the run, so they count as just programmed"
        if math.isnan(since_programming_s)
        else f"it read its cores {three_digits(since_programming_s)} after programming"
    )
    return (
        f"drift is not measured by the run but published: G(t) = G(t0) * (t / t0)^-nu, t0 = "
        f"{DRIFT.reference_s:g} s, nu of the HERMES noise model of aihwkit, drawn for each cell; "
        f"{found}: fresh is t = {fresh_age_s(since_programming_s):.6g} s"
    )
