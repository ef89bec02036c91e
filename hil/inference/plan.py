"""What is evaluated: under which conditions a network predicts."""

from dataclasses import dataclass, field

from hil.inference.adabs import MOST_IMAGES
from hil.inference.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.execution import SumArithmetic
from hil.inference.outcome import Condition
from hil.inference.treatment import Treatment


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

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition, by age.

        Without a correction there is nothing to calibrate again.
        """
        fresh = [Condition(correction=str(kind)) for kind in self.corrections]
        aged = [
            Condition(correction=str(kind), age_s=age_s, treatment=treatment)
            for age_s in self.ages_s
            for treatment in self.treatments
            for kind in self.corrections
            if treatment is not Treatment.RECALIBRATED or kind is not CorrectionKind.NONE
        ]
        return (*fresh, *aged)


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
