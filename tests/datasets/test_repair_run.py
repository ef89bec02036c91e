"""What is left of a damaged run becomes a new one, which is whole; the original stays as it is."""

import struct
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
import visited_run
from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.integrity.repair import RepairReport, repair_run
from hil_datasets.integrity.salvaged_step import Conclude, SalvagedReadouts
from hil_datasets.integrity.superblock import lookup3, mend_head
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepConclusion
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter

UTC = "2026-01-03T00:00:00+00:00"


def conclude(
    readouts: SalvagedReadouts, writer: StepWriter, judged: StepConclusion | None
) -> StepConclusion:
    """Conclude what the example has concluded."""
    del readouts, writer, judged
    return replace(example.CONCLUSION, outputs=None)


def by_the_campaign(saved: RunDirectory) -> Conclude:
    """Return the above, which needs nothing of what was saved."""
    del saved
    return conclude


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def repaired(run: RunDirectory) -> RepairReport:
    before = content_of(run.path)
    report = repair_run(run.path, run.path.with_name("new"), conclude=by_the_campaign, utc=UTC)
    assert content_of(run.path) == before
    assert report.findings.findings == ()
    return report


def offset_of(path: Path, name: str) -> int:
    with h5py.File(path) as file:
        return int(file[name].id.get_offset())


def test_whole_run_is_copied_byte_for_byte(run: RunDirectory) -> None:
    report = repaired(run)
    assert (report.losses, report.lines_lost, report.files_lost) == ((), (), {})
    old, new = content_of(run.path), content_of(report.run)
    assert old.keys() == new.keys()
    # The index is made again: HDF5 leaves bytes in it that mean nothing.
    assert [name for name in old if old[name] != new[name]] in ([], ["campaign.h5"])


@pytest.mark.parametrize("counts_left", [5, 3])
def test_cut_off_step_keeps_its_first_vectors(run: RunDirectory, counts_left: int) -> None:
    path = run.step_path(example.ONE)
    with path.open("r+b") as file:
        file.truncate(offset_of(path, "raw") + counts_left * 2 * 3 * 2 + 1)
    (loss,) = repaired(run).losses
    assert (loss.step, loss.state, loss.proof) == ("core00_one_phase", "salvaged", "none")
    assert (loss.vectors, loss.vectors_lost) == (counts_left, 6 - counts_left)
    record = open_directory(run.path.with_name("new")).read_step(example.ONE)
    np.testing.assert_array_equal(record.raw, example.RAW[:counts_left])
    np.testing.assert_array_equal(record.inputs, example.INPUTS[:counts_left])
    np.testing.assert_array_equal(record.expected, example.EXPECTED[:counts_left])


def test_blocks_of_a_step_whose_end_was_damaged_keep_their_times(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    content = bytearray(path.read_bytes())
    content[offset_of(path, "quality/inl") + 7] ^= 1
    path.write_bytes(content)
    (loss,) = repaired(run).losses
    assert (loss.proof, loss.vectors_lost) == ("raw_sha256", 0)
    record = open_directory(run.path.with_name("new")).read_step(example.ONE)
    assert record.timing is not None
    assert record.timing.blocks is not None
    assert record.timing.ended_s.tolist() == [1.0, 4.5]
    assert record.timing.blocks.sequence.tolist() == [0, 1]
    # Restored, and what it was: the second one with a fault of the link and overflow.
    assert record.timing.blocks.quality.tolist() == [8, 13]


def test_step_without_its_end_is_proven_by_its_content_hash(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    path.write_bytes(path.read_bytes()[:-64])
    (loss,) = repaired(run).losses
    assert (loss.proof, loss.vectors, loss.vectors_lost) == ("raw_sha256", 6, 0)
    assert loss.raw_sha256 == loss.was_raw_sha256


UNPROVEN = "its readouts are all there and do not match raw_sha256"


def test_step_with_a_wrong_count_is_lost_and_its_block_is_named(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    content = bytearray(path.read_bytes())
    content[offset_of(path, "raw")] ^= 1
    path.write_bytes(content)
    (loss,) = repaired(run).losses
    assert (loss.state, loss.lost) == (
        "lost",
        (f"{UNPROVEN}: vectors 0 to 3 do not match their CRC-32C",),
    )
    assert open_directory(run.path.with_name("new")).finished_steps() == [example.OTHER_CORE]


def test_part_keeps_what_its_check_sum_proves(run: RunDirectory) -> None:
    layout = StepLayout(blocks=(0, 2, 4), keeps_outputs=False, config_sha256="c0")
    final = run.step_path(example.FOUR)
    with StepWriter(
        final, key=example.FOUR, origin=example.ORIGIN, weights=example.WEIGHTS, layout=layout
    ) as writer:
        for first in (0, 2):
            block = slice(first, first + 2)
            writer.write_block(
                first,
                inputs=example.INPUTS[block],
                counts=example.RAW[block],
                expected=example.EXPECTED[block],
                times=(first + 0.5, first + 1.0),
            )
    (loss,) = repaired(run).losses
    assert (loss.step, loss.proof, loss.vectors, loss.vectors_lost) == (
        "core00_four_phase",
        "crc",
        4,
        2,
    )


def test_torn_journal_and_missing_index_are_made_again(run: RunDirectory) -> None:
    run.index_path.unlink()
    lines = run.journal_path.read_bytes().splitlines(keepends=True)
    run.journal_path.write_bytes(b"".join([lines[0], lines[1], b"\x00" * 40 + b"\n", b'{"event']))
    report = repaired(run)
    assert report.lines_lost == (3, 4)
    assert [(loss.step, loss.state) for loss in report.losses] == [("core02_one_phase", "found")]
    new = open_directory(report.run)
    assert new.finished_steps() == [example.ONE, example.OTHER_CORE]
    assert new.index_path.is_file()


def test_run_without_a_journal_is_found_in_its_steps(run: RunDirectory) -> None:
    run.journal_path.unlink()
    report = repaired(run)
    assert open_directory(report.run).finished_steps() == [example.ONE, example.OTHER_CORE]


def test_losses_stand_in_the_journal(run: RunDirectory) -> None:
    run.step_path(example.ONE).unlink()
    events = open_directory(repaired(run).run).events()
    assert [event["event"] for event in events] == ["start", "step", "stop", "repair", "stop"]
    assert events[3]["lost"] == ["its file is missing"]
    assert (events[3]["step"], events[3]["state"]) == ("core00_one_phase", "lost")
    assert (events[4]["status"], events[4]["failed"]) == ("incomplete", ["core00_one_phase"])


def test_changed_campaign_is_not_kept(run: RunDirectory) -> None:
    run.campaign_path.write_bytes(b"other")
    report = repaired(run)
    assert report.files_lost == {"campaign.toml": "was changed since the run"}
    assert not (report.run / "campaign.toml").exists()


def test_judged_step_without_its_calibration_stays_as_it_is(tmp_path: Path) -> None:
    run = visited_run.write_visited_run(tmp_path / "run")
    run.step_path(visited_run.HOT).unlink()
    report = repaired(run)
    assert [loss.step for loss in report.losses] == [visited_run.HOT.name]
    assert visited_run.PROBE in open_directory(report.run).finished_steps()


def test_folder_that_holds_something_is_refused(run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match="already holds a run"):
        repair_run(run.path, run.path, conclude=by_the_campaign, utc=UTC)


def test_repair_that_fails_leaves_no_folder(run: RunDirectory) -> None:
    def fail(_: RunDirectory) -> Conclude:
        raise DatasetError("disk", [Problem("", "is full")])

    with pytest.raises(DatasetError, match="is full"):
        repair_run(run.path, run.path.with_name("new"), conclude=fail, utc=UTC)
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]


def test_reader_that_does_not_start_is_no_damage(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "h5py.py").write_text("raise ImportError('half installed')")
    monkeypatch.syspath_prepend(tmp_path / "broken")
    new = run.path.with_name("new")
    with pytest.raises(DatasetError, match="does not start"):
        repair_run(run.path, new, conclude=by_the_campaign, utc=UTC)
    assert not new.exists()


def test_folder_of_runs_is_refused_with_their_names(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds nothing of a run; below it is the run .*/run: "):
        repair_run(tmp_path, tmp_path / "new", conclude=by_the_campaign, utc=UTC)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds nothing of a run"):
        repair_run(tmp_path, tmp_path / "new", conclude=by_the_campaign, utc=UTC)


def swmr_file(path: Path) -> bytes:
    """Return a file as a writer in SWMR mode leaves it that is killed."""
    with h5py.File(path, "w", libver="latest") as file:
        file["raw"] = np.arange(6, dtype="u2")
    content = bytearray(path.read_bytes())
    content[11] = 0b101  # open for writing, by a writer in SWMR mode
    content[44:48] = struct.pack("<I", lookup3(bytes(content[:44])))
    return bytes(content)


def test_marks_of_a_killed_swmr_writer_are_cleared(tmp_path: Path) -> None:
    path = tmp_path / "swmr.h5"
    marked = swmr_file(path)
    path.write_bytes(marked)
    with pytest.raises(OSError, match="file is already open for write"):
        h5py.File(path, "r")
    head = mend_head(marked, file_bytes=len(marked))
    assert head.was_marked
    path.write_bytes(head.content)
    with h5py.File(path, "r") as file:
        assert file["raw"][...].tolist() == [0, 1, 2, 3, 4, 5]
