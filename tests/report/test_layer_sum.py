"""When the partial sums of a layer may be added up."""

from collections.abc import Sequence

import pytest

from hil.core.readout import ReadMode
from hil.report.layer_sum import is_layer_whole
from hil_datasets.step import StepKey, StepKind

PLANNED = (
    "core00_one_phase",
    "core01_one_phase",
    "core00_one_phase_visit01_probe",
    "core00_one_phase_visit01",
)


def key(core: int, visit: int = 0, kind: StepKind = StepKind.CALIBRATE) -> StepKey:
    return StepKey(core, ReadMode.ONE_PHASE, visit=visit, kind=kind)


@pytest.mark.parametrize(
    ("planned", "finished", "visit", "is_whole"),
    [
        pytest.param(PLANNED, [key(0), key(1)], 0, True, id="all of the visit"),
        pytest.param(PLANNED, [key(0)], 0, False, id="one is lost"),
        pytest.param(PLANNED, [key(0, 1)], 1, True, id="a later visit"),
        pytest.param(
            PLANNED, [key(0, 1, StepKind.PROBE)], 1, False, id="a probe is no calibration"
        ),
        pytest.param((), [key(0)], 0, False, id="nobody knows the plan"),
        pytest.param(PLANNED, [], None, False, id="nothing was calibrated"),
    ],
)
def test_layer_is_whole_once_every_planned_calibration_of_the_visit_is_finished(
    planned: Sequence[str], finished: list[StepKey], visit: int | None, is_whole: bool
) -> None:
    assert is_layer_whole(planned, finished, visit) is is_whole
