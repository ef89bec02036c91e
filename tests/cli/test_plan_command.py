"""`hil plan` as a process, held to what `hil run` then does, sends and stores."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command_line import QUICKSTART, Ended, campaign_file, hil, served_mock
from counting_proxy import counted_wire
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.entry import ProgrammingBegun
from hil_datasets.chip_book.library import book_of
from hil_datasets.chip_book.place import books_folder, user_data_folder
from hil_drivers.board_requests import BoardRequests
from hil_drivers.open_transport import open_transport
from hil_drivers.session import Session

SMALL = "cores = [1, 2]"
LIMITS = """
[limits]
programmings_per_core = 2
"""


@dataclass(frozen=True)
class PlannedAndRun:
    """A campaign that was planned, run and planned again on a served chip."""

    before: Any
    after: Any
    run: Path
    campaign: Path
    sent: int
    received: int
    programmings_after_plan: list[int]
    programmings_at_end: list[int]


def programmings(resource: str) -> list[int]:
    session = Session(open_transport(resource, timeout_s=10), timeout_s=10)
    try:
        requests = BoardRequests(session)
        return [requests.programmings(core).times for core in range(requests.geometry.cores)]
    finally:
        session.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlannedAndRun]:
    folder = tmp_path_factory.mktemp("plan")
    with served_mock("--seed", 7) as resource, counted_wire(resource) as wire:
        campaign = campaign_file(folder, resource=wire.resource, campaign=SMALL)
        run = folder / "run"
        before = planned(hil("plan", campaign, "--json"))
        after_plan = programmings(resource)
        wire.sent = wire.received = 0
        assert hil("run", campaign).code == 0
        sent, received = wire.sent, wire.received
        after = planned(hil("plan", campaign, "--json", "--out", folder / "next"))
        yield PlannedAndRun(
            before=before,
            after=after,
            run=run,
            campaign=campaign,
            sent=sent,
            received=received,
            programmings_after_plan=after_plan,
            programmings_at_end=programmings(resource),
        )


def planned(ended: Ended) -> Any:
    assert ended.code == 0, ended.stderr
    return ended.json


def test_a_plan_never_programs_the_chip(both: PlannedAndRun) -> None:
    assert both.programmings_after_plan == [0, 0, 0, 0]
    assert both.programmings_at_end == [0, 1, 1, 0]
    assert [(core["core"], core["planned"]) for core in both.before["wear"]] == [(1, 1), (2, 1)]


def test_bytes_on_the_link_are_those_that_a_run_moves(both: PlannedAndRun) -> None:
    traffic = both.before["traffic"]
    assert traffic["sent_bytes"] == pytest.approx(both.sent, rel=0.01)
    assert traffic["received_bytes"] == pytest.approx(both.received, rel=0.01)


def test_step_files_are_as_large_as_planned(both: PlannedAndRun) -> None:
    files = list((both.run / "steps").glob("*.h5"))
    assert len(files) == len(both.before["steps"]) == 4
    stored = sum(file.stat().st_size for file in files)
    assert both.before["storage"]["step_bytes"] == pytest.approx(stored, rel=0.02)


def test_the_whole_run_fits_what_was_planned_for_it(both: PlannedAndRun) -> None:
    storage = both.before["storage"]
    index = (both.run / "campaign.h5").stat().st_size
    assert storage["index_bytes"] == pytest.approx(index, rel=0.05)
    others = sum(
        file.stat().st_size
        for file in both.run.iterdir()
        if file.is_file() and file.name != "campaign.h5"
    )
    assert others <= storage["other_bytes"]


def test_a_chip_that_holds_nothing_has_no_known_rate(both: PlannedAndRun) -> None:
    assert both.before["time"]["reading_is"] == "unknown"
    assert both.before["time"]["is_lower_bound"]
    assert any("core 1 cannot be read" in unknown for unknown in both.before["unknowns"])


def test_a_chip_that_holds_weights_is_read(both: PlannedAndRun) -> None:
    assert both.after["time"]["reading_is"] == "measured now"
    # It is not programmed, but the run beside says how long that took.
    assert both.after["time"]["programming_is"] == "recorded in earlier runs"
    assert not both.after["time"]["is_lower_bound"]
    assert both.after["unknowns"] == []


def test_earlier_runs_of_the_same_serial_number_tell_the_rate(both: PlannedAndRun) -> None:
    beside = both.run.with_name("beside")
    with served_mock("--seed", 7) as same, served_mock("--seed", 8) as another:
        at = {
            what: planned(
                hil("plan", both.campaign, "--json", "--out", beside,
                    "--set", f"device.resource={resource}")
            )["time"]
            for what, resource in (("same", same), ("another", another))
        }  # fmt: skip
    assert at["same"]["reading_is"] == "recorded in earlier runs"
    assert not at["same"]["is_lower_bound"]
    assert at["another"]["reading_is"] == "unknown"


def test_without_a_device_a_run_of_the_same_resource_tells_the_rate(both: PlannedAndRun) -> None:
    replayed = planned(
        hil("plan", both.campaign, "--no-device", "--json", "--out", both.run.with_name("r"),
            "--set", f"device.resource=replay://{both.run}")
    )  # fmt: skip
    assert [step["name"] for step in replayed["steps"]] == [
        "core01_one_phase", "core01_four_phase", "core02_one_phase", "core02_four_phase",
    ]  # fmt: skip
    assert replayed["time"]["reading_is"] == "recorded in earlier runs"
    assert replayed["wear"] == []


def test_the_folder_of_a_run_is_refused(both: PlannedAndRun) -> None:
    ended = hil("plan", both.campaign, "--no-device")
    assert ended.code == 3
    assert f"{both.run} already holds a run" in ended.stderr


def test_a_step_that_was_not_recorded_is_refused(both: PlannedAndRun, tmp_path: Path) -> None:
    ended = hil(
        "plan", both.campaign, "--out", tmp_path / "r", "--set", "campaign.cores=[0, 2]",
        "--set", f"device.resource=replay://{both.run}",
    )  # fmt: skip
    assert ended.code == 3
    assert "step core00_one_phase was not recorded" in ended.stderr
    assert "step core02_one_phase" not in ended.stderr


def test_predicted_wall_time_is_near_the_measured_one(tmp_path: Path) -> None:
    predicted = planned(hil("plan", QUICKSTART, "--json", "--out", tmp_path / "run"))["time"]
    assert predicted["reading_is"] == predicted["programming_is"] == "measured now"
    began_s = time.monotonic()
    assert hil("run", QUICKSTART, "--out", tmp_path / "run").code == 0
    measured_s = time.monotonic() - began_s
    assert measured_s / 3 < predicted["total_s"] < 3 * measured_s


def test_the_truth_file_of_a_mock_is_left_to_the_run(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    campaign = campaign_file(tmp_path, resource=f"mock://quickstart?seed=3&truth={truth}")
    plan = planned(hil("plan", campaign, "--json"))
    assert plan["chip"]["serial"] == "quickstart-3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.toml"]


def test_every_reason_is_listed_and_ends_with_3(tmp_path: Path) -> None:
    profile = tmp_path / "huge.toml"
    profile.write_text('name = "huge"\n[array]\ncores = 1024\nrows = 4096\ncolumns = 4096\n')
    campaign = campaign_file(
        tmp_path,
        resource="mock://huge.toml",
        campaign=f"cores = {[*range(1024)]}",
        vectors="calibration = 10000000\nverification = 1000000\nblock = 4096",
    )
    ended = hil("plan", campaign, "--no-device", "--json")
    assert ended.code == 3
    keys = [problem["key"] for problem in ended.json["problems"]]
    assert keys == ["vectors.block", "campaign.out", "vectors"]
    for key in keys:
        assert f" {key}: " in ended.stderr


def test_wear_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMC_HIL_DATA", str(tmp_path / "data"))
    key = ChipKey(manufacturer="aimc-hil", model="mock-chip", serial="quickstart-0")
    book = book_of(key, books_folder(user_data_folder()))
    for _ in range(2):
        book.append(ProgrammingBegun(utc="t", campaign=1, core=1, digest="sha256:00"))
    campaign = campaign_file(tmp_path, campaign=SMALL, rest=LIMITS)
    ended = hil("plan", campaign)
    assert ended.code == 3
    assert "core 1: 1 more after 2 programmings" in ended.stderr
    assert "core 2: " not in ended.stderr
    assert "wear: core 1 programmed once, 3 in its life of at most 2" in ended.stdout


def test_without_a_device_nothing_is_opened_and_the_unknown_is_named(tmp_path: Path) -> None:
    campaign = campaign_file(tmp_path, resource="TCPIP0::127.0.0.1::1::SOCKET", campaign=SMALL)
    ended = hil("plan", campaign, "--no-device")
    assert ended.code == 0, ended.stderr
    assert "core02_four_phase" in ended.stdout
    assert "not known: size of the chip: only the device tells it" in ended.stdout
    assert hil("plan", campaign).code == 4


def test_setpoints_are_shown_with_their_limits(tmp_path: Path) -> None:
    chamber = """
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
query = "TEMP?"
set = "TEMP {value}"
unit = "C"
lower = 10
upper = 60
value = 45
settle = { tolerance = 0.5, timeout_s = 600 }
"""
    ended = hil("plan", campaign_file(tmp_path, rest=chamber), "--no-device")
    assert ended.code == 0, ended.stderr
    assert "set: chamber.temperature to 45 C, within its limits 10 to 60" in ended.stdout
    assert "instruments: up to 10 min 0 s more to settle" in ended.stdout


def test_total_of_a_long_plan_is_at_its_end_and_in_sight(tmp_path: Path) -> None:
    ended = hil("plan", campaign_file(tmp_path, resource="mock://hermes-like"), "--no-device")
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len([line for line in lines if line.startswith("core")]) == 12
    assert any(line.startswith("and 116 more, see --json") for line in lines)  # 64 cores, 2 modes
    assert len(lines) <= 45
    (total,) = [number for number, line in enumerate(lines) if line.startswith("wall time: ")]
    assert total >= len(lines) - 5
