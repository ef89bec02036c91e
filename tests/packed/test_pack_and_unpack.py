"""A packed run is the run: read by other libraries, read as a run, and made a folder again."""

import hashlib
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
import visited_run
from hil.core.errors import ConfigError, DatasetError
from hil.core.extras import MissingExtraError
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.packed.packed_run import open_packed
from hil_datasets.packed.trial import try_compressions
from hil_datasets.packed.unpack import unpack_run
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.run_source import NoReadoutsError, RunSource
from hil_datasets.step import StepKind

VERSION_1 = Path(__file__).parents[1] / "datasets" / "format_1"
STEP = f"/entry/steps/{example.ONE.name}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return example.write_run(tmp_path_factory.mktemp("packed") / "run", example.ONE, example.FOUR)


def packed_to(path: Path, run: RunSource, name: str = "none", *, has_readouts: bool = True) -> Path:
    pack_run(run, path, PackOptions(compression=COMPRESSIONS[name], has_readouts=has_readouts))
    return path


@pytest.mark.parametrize("name", list(COMPRESSIONS))
def test_plain_h5py_reads_what_was_measured(run: RunDirectory, tmp_path: Path, name: str) -> None:
    if not COMPRESSIONS[name].is_portable:
        pytest.importorskip("hdf5plugin", reason="the extra 'compress' is not installed")
    path = packed_to(tmp_path / "run.hil.h5", run, name)
    with h5py.File(path) as file:
        step = file[STEP]
        assert (step["raw"][...] == example.RAW).all()
        assert (step["inputs"][...] == example.INPUTS).all()
        assert (step["weights"][...] == example.WEIGHTS).all()
        assert (step["expected"][...] == example.EXPECTED).all()
        assert step["correction/a_p"][...].tolist() == [0.5, 0.25, 0.0]


def test_portable_choice_uses_the_filters_of_the_library_only(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    for name in ("none", "gzip"):
        path = packed_to(tmp_path / f"{name}.hil.h5", run, name)
        with h5py.File(path) as file:
            plan = file[STEP]["raw"].id.get_create_plist()
            numbers = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
        assert numbers == {"none": [], "gzip": [2, 1]}[name]


def test_files_of_the_run_are_in_it_byte_for_byte(run: RunDirectory, tmp_path: Path) -> None:
    path = packed_to(tmp_path / "run.hil.h5", run, "gzip")
    with h5py.File(path) as file:
        assert file["entry/files/campaign.toml"][...].tobytes() == example.CAMPAIGN
        journal = file["entry/files/journal.jsonl"][...].tobytes()
    assert journal == (run.path / "journal.jsonl").read_bytes()


def test_seal_is_the_hash_of_what_follows_it(run: RunDirectory, tmp_path: Path) -> None:
    content = packed_to(tmp_path / "run.hil.h5", run).read_bytes()
    sha256 = hashlib.sha256(content[512:]).hexdigest()
    assert content.startswith(f"hil-pack sha256 {sha256} crc32c ".encode())


@pytest.mark.parametrize("name", ["none", "gzip"])
def test_same_run_makes_the_same_bytes(run: RunDirectory, tmp_path: Path, name: str) -> None:
    first = packed_to(tmp_path / "first.hil.h5", run, name).read_bytes()
    second = packed_to(tmp_path / "second.hil.h5", run, name).read_bytes()
    again = packed_to(tmp_path / "again.hil.h5", open_packed(tmp_path / "first.hil.h5"), name)
    assert first == second == again.read_bytes()


def test_viewer_finds_its_first_plot_by_the_default_attributes(
    run: RunDirectory, tmp_path: Path
) -> None:
    with h5py.File(packed_to(tmp_path / "run.hil.h5", run)) as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], data.attrs["NX_class"]) == ("NXentry", "NXdata")
        assert data[data.attrs["signal"]].shape == (example.COLUMNS,)
        assert entry["title"].asstr()[()] == "Tiny"
        assert entry["start_time"].asstr()[()] == "2026-01-02T03:04:00+00:00"
        assert entry["end_time"].asstr()[()] == "2026-01-02T03:04:07+00:00"
        assert entry["experiment_identifier"].asstr()[()] == example.CAMPAIGN_SHA256
        assert entry["instrument/name"].asstr()[()] == "Acme AIMC-4x3 42"


def test_packed_run_is_read_like_the_folder(tmp_path: Path) -> None:
    folder = visited_run.write_visited_run(tmp_path / "run")
    packed = open_packed(packed_to(tmp_path / "run.hil.h5", folder))
    assert packed.events() == folder.events()
    assert packed.read_campaign() == example.CAMPAIGN
    assert packed.finished_steps() == list(visited_run.KEYS)
    assert packed.skipped_steps() == {visited_run.NOT_NEEDED: visited_run.REASON}
    for key in visited_run.KEYS:
        assert packed.read_facts(key).ids == folder.read_facts(key).ids
        assert packed.read_step(key).raw_sha256 == folder.read_step(key).raw_sha256
        assert (packed.readouts(key).raw == folder.readouts(key).raw).all()
    kinds = [record.key for record in packed.read_steps(kinds=[StepKind.PROBE])]
    assert kinds == [visited_run.PROBE]


def test_readouts_of_a_packed_run_cannot_be_written(run: RunDirectory, tmp_path: Path) -> None:
    packed = open_packed(packed_to(tmp_path / "run.hil.h5", run))
    with pytest.raises(ValueError, match="read-only"):
        packed.readouts(example.ONE).raw[0, 0, 0] = 1


def test_step_that_was_never_taken_is_an_error(run: RunDirectory, tmp_path: Path) -> None:
    packed = open_packed(packed_to(tmp_path / "run.hil.h5", run))
    with pytest.raises(DatasetError, match="no finished step core02_one_phase"):
        packed.read_step(example.OTHER_CORE)


@pytest.mark.parametrize("name", ["none", "gzip"])
def test_unpacked_run_is_whole_and_the_same(run: RunDirectory, tmp_path: Path, name: str) -> None:
    packed = open_packed(packed_to(tmp_path / "run.hil.h5", run, name))
    unpacked = unpack_run(packed, tmp_path / "unpacked")
    assert verify_run(unpacked.path).findings == ()
    for file in ("campaign.toml", "journal.jsonl"):
        assert (unpacked.path / file).read_bytes() == (run.path / file).read_bytes()
    for key in (example.ONE, example.FOUR):
        assert unpacked.read_facts(key).ids == run.read_facts(key).ids
        assert (unpacked.read_step(key).raw == example.RAW).all()


def test_run_of_version_1_is_packed_and_unpacked(tmp_path: Path) -> None:
    run = open_directory(VERSION_1)
    path = packed_to(tmp_path / "old.hil.h5", run, "gzip")
    assert verify_run(path).findings == ()
    unpacked = unpack_run(open_packed(path), tmp_path / "unpacked")
    assert verify_run(unpacked.path).findings == ()
    journal = (VERSION_1 / "journal.jsonl").read_text().splitlines()
    hashes = [json.loads(line).get("raw_sha256") for line in journal if '"step"' in line]
    found = [unpacked.read_step(key).raw_sha256 for key in unpacked.finished_steps()]
    assert found == [sha256 for sha256 in hashes if sha256]


class TestWithoutReadouts:
    @pytest.fixture
    def path(self, run: RunDirectory, tmp_path: Path) -> Path:
        return packed_to(tmp_path / "facts.hil.h5", run, has_readouts=False)

    def test_no_readout_is_in_the_file(self, path: Path) -> None:
        with h5py.File(path) as file:
            assert {"raw", "inputs", "weights", "expected"}.isdisjoint(file[STEP])
            assert file.attrs["has_readouts"] == 0
        assert example.RAW.tobytes() not in path.read_bytes()

    def test_hashes_ids_and_conclusions_stay(self, path: Path, run: RunDirectory) -> None:
        packed = open_packed(path)
        facts, wanted = packed.read_facts(example.ONE), run.read_facts(example.ONE)
        assert (facts.raw_sha256, facts.ids) == (wanted.raw_sha256, wanted.ids)
        assert facts.conclusion.correction.a_p.tolist() == [0.5, 0.25, 0.0]

    def test_is_whole_and_says_that_readouts_cannot_be_compared(self, path: Path) -> None:
        found = verify_run(path)
        assert found.findings == ()
        assert found.notes == ("packed without readouts: they cannot be compared",)

    def test_readouts_cannot_be_asked_for(self, path: Path, tmp_path: Path) -> None:
        packed = open_packed(path)
        for asks in (
            lambda: packed.readouts(example.ONE),
            lambda: packed.read_step(example.ONE),
            lambda: unpack_run(packed, tmp_path / "unpacked"),
            lambda: packed_to(tmp_path / "full.hil.h5", packed),
        ):
            with pytest.raises(NoReadoutsError, match="was packed without its readouts"):
                asks()
        assert not (tmp_path / "unpacked").exists()
        assert not (tmp_path / "full.hil.h5").exists()


def test_facts_are_read_and_readouts_refused_where_the_filters_are_missing(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hdf5plugin", reason="the extra 'compress' is not installed")
    # Counts of the tiny chip do not shrink by this; the filter is there all the same.
    packed = open_packed(packed_to(tmp_path / "run.hil.h5", run, "bitshuffle-lz4"))
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    assert packed.read_facts(example.ONE).conclusion.output_lsb == 8.5
    with pytest.raises(MissingExtraError, match=r"pip install 'aimc-hil\[compress\]'"):
        packed.read_step(example.ONE)
    trial = try_compressions([np.zeros(10, np.int8)])
    assert [one.compression.name for one in trial.tried] == ["none", "gzip"]


def test_nothing_that_exists_is_replaced_unasked(run: RunDirectory, tmp_path: Path) -> None:
    path = tmp_path / "mine.hil.h5"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists; use --force"):
        packed_to(path, run)
    assert path.read_text() == "mine"
    pack_run(run, path, PackOptions(may_replace=True))
    assert open_packed(path).finished_steps() == [example.ONE, example.FOUR]
    assert [file.name for file in tmp_path.iterdir()] == ["mine.hil.h5"]


def test_damaged_step_is_not_packed(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    step = run.step_path(example.ONE)
    content = bytearray(step.read_bytes())
    content[-1] ^= 1
    step.write_bytes(content)
    with pytest.raises(DatasetError, match="is damaged"):
        packed_to(tmp_path / "run.hil.h5", run)
    assert not (tmp_path / "run.hil.h5").exists()


def test_files_that_are_none_of_a_run_are_left_out_and_told(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    (run.path / "notes.txt").write_text("of mine")
    (run.path / "steps" / "core01_one_phase.h5.part").write_bytes(b"half")
    report = pack_run(run, tmp_path / "run.hil.h5")
    assert report.left_out == ("notes.txt", "steps/core01_one_phase.h5.part")
    assert open_packed(report.path).file_names() == ["campaign.toml", "journal.jsonl"]


def test_suspect_readouts_are_packed_unless_readouts_are_left_out(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    (run.path / "suspect").mkdir()
    name = "suspect/core00_one_phase-0-4.npz"
    np.savez(
        run.path / name,
        counts=example.RAW[:4],
        expected=example.EXPECTED[:4],
        first_vector=0,
        reason="known answers",
    )
    packed = open_packed(packed_to(tmp_path / "all.hil.h5", run))
    unpacked = unpack_run(packed, tmp_path / "unpacked")
    assert (unpacked.path / name).read_bytes() == (run.path / name).read_bytes()
    facts = packed_to(tmp_path / "facts.hil.h5", run, has_readouts=False)
    assert name not in open_packed(facts).file_names()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no finished packed file"), (b"hil-step sha256 00", "no finished packed file")],
    ids=["empty", "a step's"],
)
def test_what_is_no_packed_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other.hil.h5"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        open_packed(path)


def test_file_that_changes_while_it_is_read_is_compared_again(
    run: RunDirectory, tmp_path: Path
) -> None:
    path = packed_to(tmp_path / "run.hil.h5", run)
    packed = open_packed(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is damaged"):
        packed.read_facts(example.ONE)
