"""How long and how often a driver tries to finish an operation through faults of the link."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """When to go on, and when to give up.

    An operation that meets a fault ends, one way or the other, at most `deadline_s` after the fault
    was noticed; a fault is noticed at most the session's timeout after its request was sent.
    """

    attempts: int = 5
    """How often an operation may be begun, 1 <= attempts; 1 gives up at the first fault."""
    deadline_s: float = 20.0
    """Seconds from an operation's first fault until it is given up."""
    first_pause_s: float = 0.05
    """Seconds to wait after the link could not be made usable; the double each further time."""
    longest_pause_s: float = 1.0
    """Where the doubling ends."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts = {self.attempts}: must be at least 1")
        if not 0 < self.deadline_s < float("inf"):
            raise ValueError(f"deadline_s = {self.deadline_s}: must be above 0, and finite")
        if not 0 < self.first_pause_s <= self.longest_pause_s:
            raise ValueError(
                f"first_pause_s = {self.first_pause_s}, longest_pause_s = {self.longest_pause_s}: "
                "must be above 0, the first not above the longest"
            )


NO_RECOVERY = RecoveryPolicy(attempts=1)
"""Every fault is an error at once; the next operation resynchronises the link first."""
