"""The two-sided cumulative sum: small changes that last are found soon, chance hardly ever.

Source: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954), 100-115; in the form of
D. C. Montgomery, "Introduction to Statistical Quality Control", 7th edition, section 9.1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CusumLimits:
    """How large a change is looked for, and how certain it has to be."""

    slack: float
    """What is taken off every score, in standard deviations: half the change to be found soon."""
    alarm: float
    """A sum beyond this, in standard deviations, is an alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cusum:
    """The sums after some checks."""

    upper: float = 0.0
    """Sum of what the scores had above the slack, since it was 0 last; 0 <= upper."""
    lower: float = 0.0
    """The same below; 0 <= lower."""
    upper_from: int = 0
    """Place of the check at which `upper` was 0 last: a change has come after it."""
    lower_from: int = 0
    """The same of `lower`."""

    def after(self, score: float, *, at: int, limits: CusumLimits) -> "Cusum":
        """Return the sums after another check.

        Parameters
        ----------
        score
            Deviation from what is expected, in standard deviations.
        at
            Place of the check, which ascends.
        limits
            What is looked for.

        Examples
        --------
        >>> limits = CusumLimits(slack=0.5, alarm=4.0)
        >>> quiet = Cusum().after(0.25, at=100, limits=limits)
        >>> quiet
        Cusum(upper=0.0, lower=0.0, upper_from=100, lower_from=100)
        >>> quiet.after(5.0, at=200, limits=limits).suspect_from(limits)
        100
        """
        upper = max(0.0, self.upper + score - limits.slack)
        lower = max(0.0, self.lower - score - limits.slack)
        return Cusum(
            upper=upper,
            lower=lower,
            upper_from=self.upper_from if upper > 0 else at,
            lower_from=self.lower_from if lower > 0 else at,
        )

    def suspect_from(self, limits: CusumLimits) -> int | None:
        """Return the place of the last check that was good; None if there is no alarm."""
        alarms = [
            began
            for total, began in ((self.upper, self.upper_from), (self.lower, self.lower_from))
            if total > limits.alarm
        ]
        return min(alarms) if alarms else None
