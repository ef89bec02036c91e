"""A paused run, seen from another terminal, killed, and gone on with."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from command_line import hil, start_hil
from guarded_runs import events_of, guarded_bench
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_events import RunState
from hil.campaign.run_status import read_status
from hil.campaign.runner import utc_now
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import ArrayProfile, CounterProfile, MockProfile

PROFILE = MockProfile(
    name="heating",
    seed=5,
    array=ArrayProfile(cores=2, rows=32, columns=8),
    counter=CounterProfile(full_scale_products=70_000.0),
)


class HeatingChip(ChipModel):
    """Is 80 degrees hot from one multiplication on."""

    heats_at = -1
    conversions = 0

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        self.conversions += 1
        if self.conversions == self.heats_at:
            self.set_temperature(80.0)
        return super().convert(core, read_mode, inputs)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def state_of(run: Path) -> RunState:
    return read_status(run, now=utc_now(), table=ProcessTable()).state


GUARDS = "every_s = 0.0\nchip_temperature_c = {highest = 70.0}"
KNOWN_ANSWER = "[guards.known_answer]\nevery_vectors = 64"


def test_run_killed_while_it_is_paused_goes_on_before_what_was_suspect(tmp_path: Path) -> None:
    chip = HeatingChip(PROFILE)
    with guarded_bench(tmp_path, GUARDS, rest=KNOWN_ANSWER, chip=chip) as bench:
        chip.heats_at = 8  # the reference, four blocks, a check, and two blocks
        run = tmp_path / "run"
        process = start_hil("run", bench.campaign)
        wait_until(lambda: bool(events_of(run, "pause")))
        wait_until(lambda: state_of(run) is RunState.PAUSED)
        said = hil("status", run).stdout
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert "(the chip is at 80 degrees Celsius: guards.chip_temperature_c allows" in said
        assert "known     answers ALARM, +" in said
        assert "pause     for " in said
        chip.heats_at = -1
        chip.set_temperature(25.0)
        bench.resume(run)
        (suspect,) = events_of(run, "suspect")
        assert suspect["vectors"] == 32  # since the last check of the known answers
        bench.check_undisturbed(run)


def test_paused_run_can_be_stopped(tmp_path: Path) -> None:
    chip = HeatingChip(PROFILE)
    chip.heats_at = 3
    with guarded_bench(tmp_path, GUARDS, chip=chip) as bench:
        run = tmp_path / "run"
        process = start_hil("run", bench.campaign)
        wait_until(lambda: bool(events_of(run, "pause")))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert events_of(run, "stop")[-1]["reason"] == "SIGINT"
