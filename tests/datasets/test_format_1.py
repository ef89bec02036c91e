"""A run made by the version before goes on as it was: read, verified, exported, resumed."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from command_line import hil
from hil.core.readout import ReadMode
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.reader import read_facts

FORMAT_1 = Path(__file__).parent / "format_1"
CORE = StepKey(0, ReadMode.FOUR_PHASE)
STEP = "steps/core00_four_phase.h5"
LAST = "core00_four_phase_visit01_probe"
SCALE_P = [0, 145, 139, 150, 121, 122]
OFFSET = [0, 1, -10, 8, 2, 9]
A_P_ERROR_OF_COLUMN_1 = 0.0279209755273467
RAW_SHA256 = "5a713564f00e49ebd475141a382ba9e15c43def30a7f60a555888703dd32bb16"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    return open_directory(tmp_path / "run")


@pytest.fixture(scope="module")
def record() -> StepRecord:
    return open_directory(FORMAT_1).read_step(CORE)


def test_the_fixture_is_of_format_1() -> None:
    with h5py.File(FORMAT_1 / STEP) as file:
        assert file.attrs["format_version"] == 1
        assert file["coefficients/scale_p"][...].tolist() == SCALE_P
        assert file["correction/a_p_se"][1] == pytest.approx(A_P_ERROR_OF_COLUMN_1, rel=1e-6)
        assert "entry" not in file


def test_its_codes_and_standard_errors_are_read(record: StepRecord) -> None:
    assert record.conclusion.registers.scale_p.tolist() == SCALE_P
    assert record.conclusion.registers.offset.tolist() == OFFSET
    assert record.conclusion.a_p_se[1] == pytest.approx(A_P_ERROR_OF_COLUMN_1, rel=1e-6)


def test_what_it_does_not_say_is_not_known(record: StepRecord) -> None:
    assert record.origin.provenance is None
    assert record.timing is not None
    assert record.timing.blocks is None


def test_its_facts_have_ids_all_the_same() -> None:
    facts = read_facts(FORMAT_1 / STEP)
    assert facts.ids.raw == RAW_SHA256
    assert len({facts.ids.raw, facts.ids.correction, facts.ids.coefficients}) == 3


def test_it_is_whole_and_its_index_is_what_it_was() -> None:
    found = verify_run(FORMAT_1)
    assert found.findings == ()
    # Its journal is from before the conclusions were in one.
    assert ["does not hold the conclusions" in note for note in found.notes] == [True]


def test_wrong_count_in_it_is_found(run: RunDirectory) -> None:
    with h5py.File(run.path / STEP) as file:
        place = file["raw"].id.get_offset()
    content = bytearray((run.path / STEP).read_bytes())
    content[place] ^= 1
    (run.path / STEP).write_bytes(content)
    assert {(str(each.kind), each.where) for each in verify_run(run.path).findings} == {
        ("checksum", "/"),
        ("hash", "/raw"),
    }


def test_its_codes_are_exported(run: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "coefficients.json"
    assert hil("export", run.path, "--format", "json", "-o", out).code == 0
    (tile,) = json.loads(out.read_text())["cores"]
    assert tile["scale_p"] == SCALE_P
    assert tile["offset"] == OFFSET


def test_resumed_run_has_steps_of_both_formats(run: RunDirectory, tmp_path: Path) -> None:
    kept = [
        line
        for line in run.journal_path.read_text().splitlines(keepends=True)
        if json.loads(line)["event"] != "stop" and f"{LAST}.h5" not in line
    ]
    began = json.dumps(str(tmp_path / "campaign.toml"))
    kept[0] = kept[0].replace('"/home/lab/campaign.toml"', began)
    run.journal_path.write_text("".join(kept))
    (run.path / "steps" / f"{LAST}.h5").unlink()
    profile = 'name = "quickstart"\n[array]\ncores = 2\nrows = 8\ncolumns = 6\n'
    (tmp_path / "tiny.toml").write_text(profile)
    ended = hil("resume", run.path, "--quiet", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert verify_run(run.path).findings == ()
    with h5py.File(run.path / STEP) as old, h5py.File(run.path / f"steps/{LAST}.h5") as new:
        assert (old.attrs["format_version"], new.attrs["format_version"]) == (1, 2)
        assert json.loads(new["correction"].attrs["parents"]) == [RAW_SHA256]
    # The same noise, so the same readouts as in the run that nobody interrupted.
    with h5py.File(FORMAT_1 / f"steps/{LAST}.h5") as was:
        assert was.attrs["raw_sha256"] == run.read_step(run.finished_steps()[-1]).raw_sha256


def test_replay_of_it_is_of_format_2_with_what_is_known(run: RunDirectory, tmp_path: Path) -> None:
    ended = hil("replay", run.path, "--out", tmp_path / "again", "--quiet")
    assert (ended.code, ended.stderr) == (0, "")
    with h5py.File(tmp_path / "again" / STEP) as file:
        assert file.attrs["format_version"] == 2
        assert file.attrs["raw_sha256"] == RAW_SHA256
        assert file["timing/sequence"][...].tolist() == [-1, -1, -1]
    assert verify_run(tmp_path / "again").findings == ()


def test_replay_of_it_keeps_ids_times_and_conditions_and_is_traced_to_it(
    run: RunDirectory, tmp_path: Path
) -> None:
    new = tmp_path / "again"
    assert hil("replay", run.path, "--out", new, "--quiet").code == 0
    old, again = run.read_facts(CORE), open_directory(new).read_facts(CORE)
    assert again.ids == old.ids
    assert old.timing is not None
    assert again.timing is not None
    assert again.timing.began_utc == "2026-11-23T08:34:40.358673+00:00"
    assert again.timing.first_vector.tolist() == [0, 32, 48]
    assert again.timing.began_s.tolist() == old.timing.began_s.tolist()
    assert [(each.name, each.setpoint) for each in again.conditions] == [
        ("chamber.temperature", 20.0)
    ]
    way = hil("data", "trace", new, "--core", 0, "--column", 1, "--among", run.path, "--json")
    assert way.code == 0
    (parent,) = way.json["made_from"]
    assert parent["run"] == str(run.path)
