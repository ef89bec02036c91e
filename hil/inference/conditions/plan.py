"""What is evaluated: under which conditions a network predicts."""

from dataclasses import dataclass, field

from hil.inference.computing.execution import SumArithmetic
from hil.inference.conditions.adabs import MOST_IMAGES
from hil.inference.conditions.outcome import Condition
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated."""

    corrections: tuple[CorrectionKind, ...]
    """In the order of the table."""
    ages_s: tuple[float, ...] = ()
    """Ages besides fresh, ascending."""
    treatments: tuple[Treatment, ...] = (Treatment.KEPT, Treatment.RECALIBRATED)
    """What is done about each of these ages, in the order of the table."""
    terms: CalibrationTerms = field(repr=False)
    """How cores are calibrated."""
    sums: SumArithmetic = SumArithmetic.INT8
    """How two tensors are added."""
    has_stored: bool = False
    """Whether the chip begins with the coefficients of a run, so that a fresh one is treated, too:
    what is kept then is older than the weights."""

    @property
    def first_calibration(self) -> float | None:
        """At which age the calibration is made that is kept, seconds; None if it was stored."""
        return None if self.has_stored else 0.0

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition, by age.

        Without a correction there is nothing to calibrate again.
        """
        treated = [one for one in self.treatments if one is not Treatment.KEPT]
        fresh = [Treatment.KEPT, *(treated if self.has_stored else ())]
        return tuple(
            Condition(correction=str(kind), age_s=age_s, treatment=treatment)
            for age_s in (0.0, *self.ages_s)
            for treatment in (self.treatments if age_s else fresh)
            for kind in self.corrections
            if treatment is not Treatment.RECALIBRATED or kind is not CorrectionKind.NONE
        )


def images_of(condition: Condition, *, judged: int, calibrating: int) -> int:
    """Return how many images a condition sends through the chip.

    Parameters
    ----------
    condition
        Which.
    judged
        Images to judge.
    calibrating
        Images that calibrate.
    """
    is_adapted = condition.treatment is Treatment.ADABS
    return judged + (min(calibrating, MOST_IMAGES) if is_adapted else 0)
