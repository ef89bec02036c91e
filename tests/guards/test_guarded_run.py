"""Every guard is provoked: the run pauses, clears, and ends with the bits of an undisturbed one."""

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from command_line import hil
from faulty_device import script
from guarded_runs import STEP, GuardedBench, Meddler, events_of, guarded_bench, known_answers
from hil.campaign.progress_file import read_progress
from hil.core.errors import SafetyLimitError
from hil_datasets.run_directory import RunDirectory
from hil_mock_device.faults.fault_script import FaultScript
from mock_bench import ServedBench, served_bench

TEMPERATURE = "every_s = 0.0\nchip_temperature_c = {lowest = 10.0, highest = 70.0}"
KNOWN_ANSWER = "[guards.known_answer]\nevery_vectors = 64"


def check_suspect(run: Path, *, first: int, vectors: int) -> None:
    """Check what the journal and the folder of the run say of the one alarm there was."""
    (suspect,) = events_of(run, "suspect")
    assert (suspect["step"], suspect["first_vector"], suspect["vectors"]) == (STEP, first, vectors)
    with np.load(run / suspect["file"]) as kept:
        assert kept["counts"].shape == (vectors, 2, 8)
        assert int(kept["first_vector"]) == first
        assert str(kept["reason"]) == suspect["reason"]
    names = [event["event"] for event in events_of(run, "suspect", "pause", "continue", "step")]
    assert names == ["suspect", "pause", "continue", "step"]


def heated(bench: GuardedBench, at: int) -> Meddler:
    return Meddler(
        at=at,
        provoke=lambda: bench.chip.set_temperature(80.0),
        clear=lambda: bench.chip.set_temperature(25.0),
    )


@pytest.mark.parametrize("at", [16, 208, 256], ids="block_{}".format)
def test_chip_too_hot_pauses_and_its_block_is_measured_again(tmp_path: Path, at: int) -> None:
    with guarded_bench(tmp_path, TEMPERATURE) as bench:
        meddler = heated(bench, at)
        run = bench.run("run", meddler)
        assert meddler.reasons == [
            "the chip is at 80 degrees Celsius: guards.chip_temperature_c allows 10 to 70"
        ]
        check_suspect(run, first=at - 16, vectors=16)
        bench.check_undisturbed(run)


def test_chip_is_safe_while_the_run_is_paused(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, TEMPERATURE) as bench:
        states: list[bool] = []
        meddler = heated(bench, 208)  # held-out vectors: the NMPU is on

        def look_and_clear() -> None:
            states.append(bench.served.device.firmware.settings.nmpu_is_on)
            bench.chip.set_temperature(25.0)

        meddler.clear = look_and_clear
        bench.run("run", meddler)
        assert states == [False]


def test_known_answers_find_a_change_of_gain_and_what_it_spoiled(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, "", rest=KNOWN_ANSWER) as bench:
        meddler = Meddler(
            at=80,
            provoke=lambda: bench.chip.set_temperature(45.0),
            clear=lambda: bench.chip.set_temperature(25.0),
        )
        run = bench.run("run", meddler)
        (reason,) = meddler.reasons
        assert "counts more for its known vectors than when the step began" in reason
        check_suspect(run, first=64, vectors=64)
        checks = known_answers(run)
        measured = [check for check in checks if not check["is_paused"]]
        assert [check["vector"] for check in measured][:4] == [0, 64, 128, 80]
        assert [check["is_alarm"] for check in measured][:4] == [False, False, True, False]
        assert measured[-1]["vector"] == 256
        bench.check_undisturbed(run)


def test_known_answers_change_no_result(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, "", rest=KNOWN_ANSWER) as bench:
        run = bench.run("run")
        assert [check["vector"] for check in known_answers(run)] == [0, 64, 128, 192, 256]
        (record,) = RunDirectory(run).read_steps()
        # What the chip itself counts for the vectors, with nothing between them.
        bench.chip.program(0, record.weights)
        counts = bench.chip.convert(0, record.key.read_mode, record.inputs)
        assert np.array_equal(record.raw, counts)


def test_link_with_too_many_faults_pauses(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, "faults_per_1000_vectors = 2") as bench:
        meddler = Meddler(
            at=64,
            provoke=lambda: bench.served.load(script("kind=flip,header=READ?,every=2")),
            clear=lambda: bench.served.load(FaultScript()),
        )
        run = bench.run("run", meddler)
        (reason,) = meddler.reasons
        assert reason.endswith(
            "faults of the link among the last 1000 vectors: guards.faults_per_1000_vectors is 2"
        )
        assert len(events_of(run, "continue")) == 1
        bench.check_undisturbed(run)


INSTRUMENT = """
[instruments.chamber]
resource = "{resource}"
[instruments.chamber.quantities.temperature]
query = "TEMP?"
unit = "degC"
[guards.readings."chamber.temperature"]
highest = 60.0
"""


def set_chamber(around: ServedBench, celsius: float) -> None:
    conversation = around.bench.conversations()["chamber"]()
    list(conversation.answers(f"TEMP:SETP {celsius}\nTEMP:STAT ON\n".encode()))
    around.time.advance(36_000.0)


def test_reading_beyond_its_limit_pauses(tmp_path: Path) -> None:
    with served_bench() as around:
        rest = INSTRUMENT.format(resource=around.chamber)
        with guarded_bench(tmp_path, "every_s = 0.0", rest=rest) as bench:
            meddler = Meddler(
                at=96,
                provoke=partial(set_chamber, around, 80.0),
                clear=partial(set_chamber, around, 25.0),
            )
            run = bench.run("run", meddler)
            (reason,) = meddler.reasons
            assert reason.startswith("chamber.temperature is ")
            assert reason.endswith(" degC: guards.readings allows at most 60")
            check_suspect(run, first=80, vectors=16)
            check_told(run)


def check_told(run: Path) -> None:
    """Check what `hil info` says of the alarm: the conditions are those of the good readouts."""
    said, told = hil("info", run), hil("info", run, "--json").json
    assert "guards: 1 alarm" in said.stdout
    (alarm,) = told["alarms"]
    assert (alarm["vectors"], alarm["file"]) == (16, "suspect/core00_four_phase-80-16.npz")
    assert alarm["readings"]["chamber.temperature"] == pytest.approx(80.0, abs=1.0)
    assert alarm["is_over"]
    (condition,) = told["conditions"]
    assert condition["highest"] < 60


def test_full_disk_pauses_and_nothing_is_measured_again(tmp_path: Path) -> None:
    mib = 1 << 20
    file = tmp_path / "large"
    status = os.statvfs(tmp_path)
    free_mib = status.f_bavail * status.f_frsize / mib

    def fill() -> None:
        with file.open("wb") as large:
            os.posix_fallocate(large.fileno(), 0, 512 * mib)

    with guarded_bench(tmp_path, f"every_s = 0.0\ndisk_free_mib = {free_mib - 256}") as bench:
        meddler = Meddler(at=96, provoke=fill, clear=file.unlink)
        run = bench.run("run", meddler)
        (reason,) = meddler.reasons
        assert f"MiB are free on the disk of {run}: guards.disk_free_mib is" in reason
        assert [event["event"] for event in events_of(run, "suspect", "pause", "continue")] == [
            "pause",
            "continue",
        ]
        bench.check_undisturbed(run)


def test_run_that_takes_too_long_stops_and_can_be_resumed(tmp_path: Path) -> None:
    late_s = [0.0]
    with guarded_bench(tmp_path, "every_s = 0.0\nlongest_s = 1000.0") as bench:
        meddler = Meddler(at=96, provoke=lambda: late_s.__setitem__(0, 2000.0))
        with pytest.raises(SafetyLimitError, match=r"guards\.longest_s is 1000"):
            bench.run("run", meddler, monotonic=lambda: time.monotonic() + late_s[0])
        run = tmp_path / "run"
        (stop,) = events_of(run, "stop")
        assert "core00_four_phase goes on at vector 96" in stop["reason"]
        bench.resume(run)
        bench.check_undisturbed(run)


@pytest.mark.parametrize("wait_s", ["0.0", "0.3"])
def test_what_does_not_clear_stops_the_run_which_goes_on_later(tmp_path: Path, wait_s: str) -> None:
    with guarded_bench(tmp_path, f"{TEMPERATURE}\nwait_s = {wait_s}") as bench:
        meddler = heated(bench, 96)
        meddler.clears_at_pause = -1
        with pytest.raises(SafetyLimitError, match="the chip is at 80 degrees"):
            bench.run("run", meddler)
        run = tmp_path / "run"
        (stop,) = events_of(run, "stop")
        assert stop["status"] == "failed"
        assert stop["reason"].startswith("a guard has stopped the run: the chip is at 80 degrees")
        assert "core00_four_phase goes on at vector 80" in stop["reason"]
        progress = read_progress(run)
        assert progress is not None
        assert progress.progress.vectors_done == 80  # those that are suspect were never read
        bench.chip.set_temperature(25.0)
        bench.resume(run)
        bench.check_undisturbed(run)


def test_chip_that_stays_changed_begins_its_step_anew_when_resumed(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, "wait_s = 0.3\nevery_s = 0.1", rest=KNOWN_ANSWER) as bench:
        meddler = Meddler(at=80, provoke=lambda: bench.chip.set_temperature(45.0))
        with pytest.raises(SafetyLimitError, match=r"it did not clear within 0\.3 s"):
            bench.run("run", meddler)
        run = tmp_path / "run"
        (stop,) = events_of(run, "stop")
        assert "core00_four_phase goes on at vector 0" in stop["reason"]
        bench.resume(run)  # at 45 degrees, to which its new reference belongs
        assert events_of(run, "stop")[-1]["status"] == "complete"
        bench.check_undisturbed(run)  # at 45 degrees as well


def test_step_with_one_alarm_after_the_other_stops(tmp_path: Path) -> None:
    with guarded_bench(tmp_path, f"{TEMPERATURE}\nrepeats = 2") as bench:

        class Again(Meddler):
            def hear(self, event: object) -> None:
                super().hear(event)  # type: ignore[arg-type]
                if type(event).__name__ == "VectorsRead":
                    bench.chip.set_temperature(80.0)
                if type(event).__name__ == "RunPaused":
                    bench.chip.set_temperature(25.0)

        meddler = Again()
        with pytest.raises(SafetyLimitError, match="alarm 3 in this step"):
            bench.run("run", meddler)
        assert len(meddler.reasons) == 3
        folder = tmp_path / "run" / "suspect"
        assert sorted(path.name for path in folder.iterdir()) == [
            "core00_four_phase-0-16-2.npz",
            "core00_four_phase-0-16-3.npz",
            "core00_four_phase-0-16.npz",
        ]
