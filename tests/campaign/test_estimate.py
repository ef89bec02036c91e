"""What a plan says without a device: steps, bytes, room, and every reason against it."""

from dataclasses import replace
from pathlib import Path

import pytest

from command_line import PROJECT, campaign_file
from hil.campaign.config.load import Campaign, load_campaign
from hil.campaign.estimate.campaign_plan import MemoryNeed, check_plan, outline_plan
from hil.campaign.estimate.duration import estimate_time
from hil.campaign.estimate.history import RecordedPace
from hil.campaign.estimate.host import HostPace
from hil.campaign.estimate.probe import ProbedDevice
from hil.campaign.estimate.steps import outline_steps
from hil.campaign.estimate.storage import Room, StorageNeed, look_at_room, room_problems
from hil.campaign.plan import plan_campaign
from hil.core.errors import ConfigError
from hil.core.readout import ChipGeometry, ReadMode

REAL_LAYER = PROJECT.parent / "shared" / "data" / "resnet20_layer3_2_conv1_workload.npz"
NEEDS_LAYER = pytest.mark.skipif(
    not REAL_LAYER.exists(), reason="the workload of examples/resnet20_layer.toml is not here"
)
CHIP = ChipGeometry(cores=4, rows=256, columns=256, counter_bits=12, max_vectors=128)
HOST = HostPace(
    calibration_vector_s=0.001,
    fit_s=0.5,
    verification_vector_s=0.002,
    byte_s=1e-6,
    sync_s=0.01,
    layout_s=0.05,
)


def loaded(folder: Path, **parts: str) -> Campaign:
    return load_campaign(campaign_file(folder, **parts))


@pytest.mark.parametrize(
    "name", ["quickstart.toml", pytest.param("resnet20_layer.toml", marks=NEEDS_LAYER)]
)
def test_outlined_steps_are_those_that_a_run_takes(name: str) -> None:
    campaign = load_campaign(PROJECT / "examples" / name)
    size = replace(CHIP, cores=8, max_vectors=4096)
    outlined, problems = outline_steps(campaign, size)
    taken = plan_campaign(campaign, size)
    assert problems == []
    assert [(step.key, step.vectors, step.rows_used, step.columns_used) for step in outlined] == [
        (step.key, len(step.work.inputs), step.work.rows_used, step.work.columns_used)
        for step in taken
    ]


def test_every_reason_is_told_where_a_run_stops_at_the_first(tmp_path: Path) -> None:
    campaign = loaded(tmp_path, campaign="cores = [9, 1, 4]", rest="block = 129")
    plan = outline_plan(campaign, geometry=CHIP, folder=tmp_path / "run")
    assert [(problem.where, problem.message, problem.line) for problem in check_plan(plan)] == [
        ("campaign.cores[0]", "core 9 does not exist: the chip has cores 0 to 3", 5),
        ("campaign.cores[2]", "core 4 does not exist: the chip has cores 0 to 3", 5),
        ("vectors.block", "is 129: this device takes at most 128", 12),
    ]
    with pytest.raises(ConfigError, match="cores 0 to 3"):
        plan_campaign(campaign, CHIP)


@NEEDS_LAYER
def test_a_workload_that_needs_more_cores_is_refused_with_their_number() -> None:
    campaign = load_campaign(PROJECT / "examples" / "resnet20_layer.toml")
    _, problems = outline_steps(campaign, replace(CHIP, cores=2, max_vectors=4096))
    assert [problem.where for problem in problems] == ["campaign.workload"]
    assert "need 3 cores of 256 x 256: the campaign has 2" in problems[0].message


def test_a_disk_too_small_by_a_byte_is_refused(tmp_path: Path) -> None:
    need = StorageNeed(step_bytes=700, index_bytes=50, other_bytes=50, passing_bytes=200)
    room = Room(folder="runs/a", free_bytes=1020, problem="")
    assert room_problems(room, need) == []
    (problem,) = room_problems(replace(room, free_bytes=1019), need)
    assert str(problem) == "campaign.out: runs/a needs 1.02 kB: its disk has 1.02 kB free"


def test_a_folder_with_something_in_it_or_inside_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").touch()
    assert look_at_room(tmp_path, 1).problem == "already holds a run"
    assert look_at_room(tmp_path / "b" / "c", 1).problem == f"lies inside the run {tmp_path}"
    (tmp_path / "journal.jsonl").rename(tmp_path / "notes")
    assert look_at_room(tmp_path, 1).problem == "is not empty"
    assert look_at_room(tmp_path / "notes" / "c", 1).problem == f"{tmp_path / 'notes'} is no folder"
    assert look_at_room(tmp_path / "b" / "c", 1 << 20).problem == ""
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_resumed_run_needs_room_for_what_is_left_in_its_own_folder(tmp_path: Path) -> None:
    campaign, folder = loaded(tmp_path, campaign="cores = [0, 1]"), tmp_path / "run"
    folder.mkdir()
    (folder / "journal.jsonl").touch()
    whole = outline_plan(campaign, geometry=CHIP, folder=folder)
    assert [problem.where for problem in check_plan(whole)] == ["campaign.out"]
    left = outline_plan(
        campaign, geometry=CHIP, folder=folder, finished=[step.key for step in whole.steps[:3]]
    )
    assert check_plan(left) == []
    assert [step.key.name for step in left.steps] == ["core01_four_phase"]
    assert whole.storage is not None
    assert left.storage is not None
    assert left.storage.step_bytes * 4 == whole.storage.step_bytes


def test_a_campaign_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    plan = outline_plan(loaded(tmp_path), geometry=CHIP, folder=tmp_path / "run")
    assert check_plan(plan) == []
    short = MemoryNeed(needed_bytes=2_000_000, available_bytes=1_999_999)
    (problem,) = check_plan(replace(plan, memory=short))
    assert problem.message.startswith("needs about 2 MB of memory, 2 MB can be had")


def test_time_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    campaign = loaded(
        tmp_path, campaign='cores = [0, 1]\nread_modes = ["one_phase"]', rest="block = 32"
    )
    steps, _ = outline_steps(campaign, CHIP)
    probed = ProbedDevice(
        latency_s=0.01,
        connect_s=1.0,
        bytes_per_s=None,
        program_s=3.0,
        block_s={ReadMode.ONE_PHASE: 0.37},
        block=32,
    )
    estimate = estimate_time(
        steps,
        CHIP,
        campaign.config,
        probed=probed,
        recorded=RecordedPace(),
        host=HOST,
        bytes_of_steps=1_000_000,
    )
    assert (estimate.reading_is, estimate.programming_is) == ("measured now", "measured now")
    assert estimate.program_s == pytest.approx(6.0)
    # 64 + 32 vectors in 3 blocks of 0.37 s, one more answer for the outputs, 12 small requests.
    assert estimate.read_s == pytest.approx(2 * (3 * 0.37 + 0.01 + 12 * 0.01))
    assert estimate.host_s == pytest.approx(
        2 * (0.064 + 0.064 + 0.5) + 1.0 + 2 * (5 * 0.01 + 3 * 0.05)
    )
    assert estimate.total_s == pytest.approx(1 + 6 + 2.48 + 2.656)


def test_a_rate_that_nobody_knows_makes_the_time_a_lower_bound(tmp_path: Path) -> None:
    campaign = loaded(tmp_path, campaign='read_modes = ["one_phase", "four_phase"]')
    steps, _ = outline_steps(campaign, CHIP)
    half = RecordedPace(vector_s={ReadMode.ONE_PHASE: 0.5}, program_s=1.0, steps=1)
    partly = estimate_time(
        steps, CHIP, campaign.config, probed=None, recorded=half, host=HOST, bytes_of_steps=0
    )
    assert partly.is_lower_bound
    assert partly.reading_is == "unknown"
    assert partly.read_s == pytest.approx(4 * 96 * 0.5)
    both = replace(half, vector_s=dict.fromkeys(ReadMode, 0.5))
    whole = estimate_time(
        steps, CHIP, campaign.config, probed=None, recorded=both, host=HOST, bytes_of_steps=0
    )
    assert not whole.is_lower_bound
    assert whole.read_s == pytest.approx(8 * 96 * 0.5)
