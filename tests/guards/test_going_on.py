"""A paused run goes on when nothing is wrong for long enough, and is looked at closely then."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from guarded_runs import Meddler, events_of, guarded_bench, known_answers
from hil.campaign.guards.limit_guards import GuardedValue
from hil.campaign.guards.probation import ClearTime, Probation
from hil.campaign.pause_tally import CurrentPause
from hil.campaign.process_identity import ProcessTable
from hil.campaign.progress_file import ProgressFile, read_progress
from hil.campaign.run_events import PauseSeen, RunContinued, RunPaused, RunStarted
from hil.campaign.run_tally import RunTally
from hil.campaign.runner import utc_now
from hil.core.errors import SafetyLimitError
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import ArrayProfile, CounterProfile, MockProfile

PROFILE = MockProfile(
    name="swinging",
    seed=5,
    array=ArrayProfile(cores=2, rows=32, columns=8),
    counter=CounterProfile(full_scale_products=70_000.0),
)
KNOWN_ANSWER = "[guards.known_answer]\nevery_vectors = 64"


class SwingingChip(ChipModel):
    """Takes on the next of some temperatures with each multiplication."""

    temperatures_c: tuple[float, ...] = ()

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        if self.temperatures_c:
            self.set_temperature(self.temperatures_c[0])
            self.temperatures_c = self.temperatures_c[1:]
        return super().convert(core, read_mode, inputs)


class CoolingChip(ChipModel):
    """Shows the next of some temperatures with each look."""

    shown_c: Iterator[float] | None = None

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        shown = super().temperature_c(core, read_mode)
        return shown if self.shown_c is None else next(self.shown_c)


def heated(chip: SwingingChip, *then: float) -> Meddler:
    """Return who heats the chip after 80 vectors; `then` is how it is from the pause on."""
    return Meddler(
        at=80,
        provoke=lambda: chip.set_temperature(45.0),
        clear=lambda: setattr(chip, "temperatures_c", then),
    )


def test_chip_that_swings_through_its_old_state_keeps_the_run_paused(tmp_path: Path) -> None:
    chip = SwingingChip(PROFILE)
    with guarded_bench(
        tmp_path, "clear_s = 0.4\nevery_s = 0.1", rest=KNOWN_ANSWER, chip=chip
    ) as it:
        run = it.run("run", heated(chip, 35.0, 25.0, 15.0, 20.0, 25.0))
        paused = [check for check in known_answers(run) if check["is_paused"]]
        assert [check["is_alarm"] for check in paused][:5] == [True, False, True, True, False]
        assert len(paused) >= 4 + 5  # 0.4 s with 0.1 s between two looks
        assert not any(check["is_alarm"] for check in paused[4:])
        assert [event["vectors"] for event in events_of(run, "suspect")] == [64]
        it.check_undisturbed(run)


def test_first_block_after_a_pause_is_checked_and_read_again_if_it_is_off(tmp_path: Path) -> None:
    chip = SwingingChip(PROFILE)
    with guarded_bench(
        tmp_path, "clear_s = 0.0\nevery_s = 0.1", rest=KNOWN_ANSWER, chip=chip
    ) as it:
        # Two looks by which it may go on, the block, its check, and all that follows.
        meddler = heated(chip, 25.0, 25.0, 20.0, 20.0, 25.0)
        run = it.run("run", meddler)
        found = [(event["first_vector"], event["vectors"]) for event in events_of(run, "suspect")]
        assert found == [(64, 64), (64, 16)]
        assert meddler.reasons[1].startswith("the first check after the run went on: ")
        it.check_undisturbed(run)


def test_after_a_pause_every_block_is_checked_for_as_long_as_it_had_to_be_clear(
    tmp_path: Path,
) -> None:
    chip = SwingingChip(PROFILE)
    with guarded_bench(
        tmp_path, "clear_s = 2.0\nevery_s = 0.1", rest=KNOWN_ANSWER, chip=chip
    ) as it:
        run = it.run("run", heated(chip, 25.0))
        checks = [check["vector"] for check in known_answers(run) if not check["is_paused"]]
        assert checks[:7] == [0, 64, 128, 80, 96, 112, 128]


def test_temperature_guard_does_not_go_on_while_the_chip_still_cools(tmp_path: Path) -> None:
    guards = "clear_s = 0.2\nevery_s = 0.0\nwait_s = 0.5\nchip_temperature_c = {highest = 50.0}"
    chip = CoolingChip(PROFILE)
    with guarded_bench(tmp_path, guards, chip=chip) as bench:
        celsius = iter(np.arange(48.0, -100.0, -0.7))
        meddler = Meddler(at=96, provoke=lambda: chip.set_temperature(80.0))
        meddler.clear = lambda: setattr(chip, "shown_c", celsius)
        with pytest.raises(SafetyLimitError, match="and still moves, by -"):
            bench.run("run", meddler)


def test_alarm_names_everything_that_is_wrong(tmp_path: Path) -> None:
    chip = SwingingChip(PROFILE)
    guards = "clear_s = 0.0\nevery_s = 100.0\nchip_temperature_c = {highest = 40.0}"
    with guarded_bench(tmp_path, guards, rest=KNOWN_ANSWER, chip=chip) as bench:
        meddler = heated(chip)
        meddler.clear = lambda: chip.set_temperature(25.0)
        bench.run("run", meddler)
        (reason,) = meddler.reasons
        assert "counts more for its known vectors than when the step began" in reason
        assert reason.endswith(
            "; the chip is at 45 degrees Celsius: guards.chip_temperature_c allows at most 40"
        )


def test_what_was_read_on_the_way_to_a_limit_is_suspect_too(tmp_path: Path) -> None:
    chip = SwingingChip(PROFILE)
    guards = "clear_s = 0.0\nevery_s = 0.0\nchip_temperature_c = {highest = 40.0}"
    with guarded_bench(tmp_path, guards, rest=KNOWN_ANSWER, chip=chip) as bench:
        # After 80 vectors two blocks are read at 32 degrees, which the limit allows, one at 48.
        meddler = Meddler(
            at=80,
            provoke=lambda: setattr(chip, "temperatures_c", (32.0, 32.0, 48.0)),
            clear=lambda: chip.set_temperature(25.0),
        )
        run = bench.run("run", meddler)
        found = [(event["first_vector"], event["vectors"]) for event in events_of(run, "suspect")]
        assert found == [(64, 64)]
        bench.check_undisturbed(run)


def test_pause_is_told_in_the_progress_file(tmp_path: Path) -> None:
    now_s = [0.0]
    tally = RunTally(clock=lambda: now_s[0])
    tally.hear(RunPaused(reason="hot"))
    now_s[0] = 70.0
    tally.hear(PauseSeen(found="the chip is at 61", left_s=530.0))
    now_s[0] = 75.0
    pause = tally.progress().pause
    assert pause == CurrentPause(for_s=75.0, found="the chip is at 61", left_s=525.0)
    tally.hear(RunContinued())
    assert tally.progress().pause is None


def test_progress_file_is_written_while_the_run_is_paused(tmp_path: Path) -> None:
    now_s = [0.0]
    file = ProgressFile(writer=ProcessTable().own(), now=utc_now, clock=lambda: now_s[0])
    file.hear(RunStarted(run=tmp_path, title="", chip="", steps=()))
    file.hear(RunPaused(reason="hot"))
    now_s[0] = 60.0
    file.tick()
    now_s[0] = 66.0
    file.tick()
    stored = read_progress(tmp_path)
    assert stored is not None
    assert stored.progress.pause == CurrentPause(for_s=66.0, found="", left_s=None)


def value(number: float) -> dict[str, GuardedValue]:
    return {"x": GuardedValue(shown=f"x is {number:g}", value=number, may_move=1.0)}


def test_clear_time_begins_anew_with_what_is_wrong() -> None:
    clear = ClearTime(needed_s=10.0)
    clear.note(0.0, value(25.0))
    clear.note(9.0, value(25.0))
    assert not clear.is_long_enough
    clear.restart()
    clear.note(12.0, value(25.0))
    assert not clear.is_long_enough
    clear.note(22.0, value(25.0))
    assert clear.is_long_enough


def test_what_moves_is_not_at_rest_until_the_time_holds_no_movement() -> None:
    clear = ClearTime(needed_s=4.0)
    for second, number in enumerate((30.0, 28.0, 27.0, 26.0, 25.5)):
        clear.note(float(second), value(number))
    assert clear.is_long_enough
    # 30 and 28 before, 26 and 25.5 after: 29 and 25.75
    assert clear.moving() == "x is 25.5 and still moves, by -3.2 in 2 s"
    for second in (5, 6, 7):
        clear.note(float(second), value(25.5))
    assert clear.moving() == ""


def test_probation_ends_with_its_time() -> None:
    probation = Probation()
    assert not probation.holds(0.0)
    probation.until_s = 5.0
    assert probation.holds(4.9)
    assert not probation.holds(5.0)
