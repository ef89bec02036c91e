"""Conclusions that were changed in a sealed step file: whoever reads the run says so."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets import open_run
from hil_datasets.content_id import step_ids
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.packed.pack import pack_run
from hil_datasets.packed.packed_run import PackedRun
from hil_datasets.run_directory import open_directory
from hil_datasets.step import StepConclusion, StepKey
from hil_datasets.step_files.concluded import id_attributes
from hil_datasets.step_files.file import seal_step
from hil_datasets.step_files.reader import read_step
from hil_datasets.trace.links import LinkState
from hil_datasets.trace.walk import trace_column
from recorded_runs import command, measured_run

KEY = StepKey(0, ReadMode.FOUR_PHASE)
STEP = "steps/core00_four_phase.h5"
FORMAT_1 = Path(__file__).parent / "format_1"

Edit = Callable[[h5py.File, StepConclusion, str], None]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_run(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "run"))


def _add_to(path: str, place: tuple[int, ...], by: float) -> Edit:
    def edit(file: h5py.File, _: StepConclusion, __: str) -> None:
        file[path][place] = file[path][place] + by

    return edit


def _change_all_columns(file: h5py.File, _: StepConclusion, __: str) -> None:
    errors = json.loads(file["verification"].attrs["errors_all_columns"])
    file["verification"].attrs["errors_all_columns"] = json.dumps(errors | {"fp16": 0.001})


def _change_gain(file: h5py.File, conclusion: StepConclusion, raw_sha256: str) -> None:
    gains = conclusion.correction.a_p.copy()
    gains[3] *= 1.5
    file["correction/a_p"][...] = gains
    correction = replace(conclusion.correction, a_p=gains)
    _name_again(file, replace(conclusion, correction=correction), raw_sha256)


def _change_register(file: h5py.File, conclusion: StepConclusion, raw_sha256: str) -> None:
    offsets = conclusion.registers.offset.copy()
    offsets[3] += 1 if offsets[3] < 0 else -1
    file["coefficients/offset"][...] = offsets
    registers = replace(conclusion.registers, offset=offsets)
    _name_again(file, replace(conclusion, registers=registers), raw_sha256)


def _name_again(file: h5py.File, conclusion: StepConclusion, raw_sha256: str) -> None:
    for path, value in id_attributes(step_ids(conclusion, raw_sha256)).items():
        owner, _, name = path.rpartition("/")
        file[owner].attrs[name] = value if isinstance(value, str) else json.dumps(value)


EDITS = {
    "device outputs": _add_to("verification/outputs", (0, 0), -1),
    "error of a column": _add_to("verification/column_rms", (0, 2), 0.5),
    "FP16 error of a column": _add_to("verification/column_rms", (2, 2), 0.5),
    "errors of all columns": _change_all_columns,
    "correction and its id": _change_gain,
    "register and its id": _change_register,
    "quality": _add_to("quality/inl", (1,), 0.5),
    "flag": _add_to("coefficients/flags", (1,), 1),
}


def _edit(run: Path, edit: Edit) -> None:
    """Change a step file as somebody does who knows how it is sealed."""
    record = read_step(run / STEP)
    with h5py.File(run / STEP, "r+") as file:
        edit(file, record.conclusion, record.raw_sha256)
    seal_step(run / STEP)
    read_step(run / STEP)  # by itself the file is whole


def test_journal_has_the_hash_of_everything_that_was_concluded(measured: Path) -> None:
    digest = hashlib.sha256(b"hil conclusion 1\n")
    with h5py.File(measured / STEP) as file:
        nmpu = json.dumps(json.loads(file["coefficients"].attrs["nmpu"]), sort_keys=True)
        errors, of_all, mismatches = (
            json.dumps(json.loads(file["verification"].attrs[name]), sort_keys=True)
            for name in ("errors", "errors_all_columns", "nmpu_mismatches")
        )
        gain, lsb = (file["correction"].attrs[name] for name in ("global_gain", "output_lsb"))
        digest.update(
            f"coefficients/nmpu {nmpu}\n"
            f"correction/global_gain {float(gain).hex()}\n"
            f"correction/output_lsb {float(lsb).hex()}\n"
            f"verification/errors {errors}\n"
            f"verification/errors_all_columns {of_all}\n"
            f"verification/nmpu_mismatches {mismatches}\n".encode()
        )
        for path in sorted(
            f"{group}/{name}"
            for group in ("coefficients", "correction", "quality", "verification")
            for name, dataset in file[group].items()
            if not dataset.is_scale
        ):
            array = file[path][...]
            shape = " ".join(map(str, array.shape))
            digest.update(f"{path} {array.dtype.str} {shape}\n".encode() + array.tobytes())
    events = [json.loads(line) for line in (measured / "journal.jsonl").read_text().splitlines()]
    (event,) = (each for each in events if each.get("file") == STEP)
    assert event["concluded_sha256"] == digest.hexdigest()


def test_new_run_is_whole_and_leaves_nothing_to_be_said(measured: Path) -> None:
    found = verify_run(measured)
    assert (found.findings, found.notes) == ((), ())


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_conclusion_is_found_whoever_reads_it(run: Path, edit: Edit) -> None:
    _edit(run, edit)
    found = [(str(each.kind), each.path, each.where) for each in verify_run(run).findings]
    assert found == [("hash", STEP, "/")]
    said = "correction, coefficients, quality or verification was changed"
    with pytest.raises(DatasetError, match=said):
        open_directory(run).read_step(KEY)
    with pytest.raises(DatasetError, match=said):
        _ = open_run(run).steps[KEY].conclusion


def test_trace_of_an_edited_register_breaks_at_the_conclusions(run: Path) -> None:
    _edit(run, _change_register)
    links = trace_column(open_directory(run), KEY, 3).links
    assert [link.name for link in links if link.state is LinkState.BROKEN] == ["conclusions"]


def test_edited_conclusion_is_not_packed(run: Path, tmp_path: Path) -> None:
    _edit(run, _change_register)
    with pytest.raises(DatasetError, match="concluded_sha256"):
        pack_run(open_directory(run), tmp_path / "packed.hil.h5")


def test_repair_draws_an_edited_conclusion_again(run: Path, measured: Path, tmp_path: Path) -> None:
    _edit(run, _change_register)
    done = command("data", "repair", run, "--out", tmp_path / "repaired")
    assert done.code in {0, 1}, done.stderr
    due = read_step(measured / STEP).conclusion.registers
    assert read_step(tmp_path / "repaired" / STEP).conclusion.registers == due
    assert verify_run(tmp_path / "repaired").findings == ()


def test_hash_is_carried_into_packed_merged_split_and_fitted_runs(
    measured: Path, tmp_path: Path
) -> None:
    packed, parts = tmp_path / "packed.hil.h5", tmp_path / "parts"
    for arguments in (
        ("data", "pack", measured, "--output", packed, "--without-raw", "--compress", "none"),
        ("data", "split", measured, "--by", "mode", "--out", parts),
        ("data", "merge", parts / "one_phase", parts / "four_phase", "--out", tmp_path / "merged"),
        ("calibrate", "fit", measured, "--out", tmp_path / "again.hil.h5", "--robust"),
    ):
        done = command(*arguments)
        assert done.code == 0, done.stderr
    for made in (packed, parts / "four_phase", tmp_path / "merged", tmp_path / "again.hil.h5"):
        found = verify_run(made)
        assert (found.findings, [each for each in found.notes if "hold" in each]) == ((), []), made
    again = PackedRun(tmp_path / "again.hil.h5")
    hashes = [event["concluded_sha256"] for event in again.events() if event["event"] == "step"]
    assert len(hashes) == len(set(hashes)) == len(again.finished_steps())


def test_older_journal_is_said_not_to_hold_the_conclusions() -> None:
    found = verify_run(FORMAT_1)
    assert found.findings == ()
    (note,) = found.notes
    assert note.startswith("journal.jsonl: does not hold the conclusions of 3 of 3 steps")
    links = {link.name: link for link in trace_column(open_directory(FORMAT_1), KEY, 1).links}
    assert links["conclusions"].state is LinkState.UNCHECKED
    assert links["conclusions"].reason == "the journal does not hold the conclusions"


def test_hash_that_is_none_is_refused(run: Path) -> None:
    journal = run / "journal.jsonl"
    text = journal.read_text()
    assert text.count('"concluded_sha256": "') == 9
    journal.write_text(text.replace('"concluded_sha256": "', '"concluded_sha256": "x', 1))
    with pytest.raises(DatasetError, match=r"concluded_sha256: is 'x.*must be a SHA-256"):
        open_directory(run).events()
