"""`open_run`: lazy, typed, the same numbers as in the files, and safe to show in a notebook."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
import hil_datasets
import visited_run
from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets import open_run
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.opened_step import OpenedStep
from hil_datasets.step import StepKind
from hil_datasets.storage_facts import storage_facts

RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example.write_run(tmp_path / "run", example.ONE, example.FOUR, example.OTHER_CORE).path


def test_readouts_are_those_that_were_written_and_cannot_be_changed(folder: Path) -> None:
    step = open_run(folder).cores[2]["one_phase"]
    for found, written in (
        (step.raw, example.RAW),
        (step.inputs, example.INPUTS),
        (step.weights, example.WEIGHTS),
        (step.expected, example.EXPECTED),
    ):
        assert found.dtype == written.dtype
        assert np.array_equal(found, written)
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0


def test_corrections_and_registers_are_those_that_were_written(folder: Path) -> None:
    step = open_run(folder).step(0, "four_phase")
    assert step.corrections.a_p.tolist() == [0.5, 0.25, 0.0]
    assert step.coefficients.offset.tolist() == [-3, 5, 0]
    assert step.errors == {"uncorrected": 0.5, "float": 0.125, "fp16": 0.1875, "nmpu": 0.25}
    assert step.quality is not None
    assert step.quality.inl.tolist() == [0.25, 0.5, 9.0]
    assert [each.name for each in step.conditions] == ["chamber.temperature", "supply.current"]
    assert step.timing is not None
    assert step.timing.ended_s.tolist() == [1.0, 4.5]
    assert (step.origin.temperature_c, step.conclusion.output_lsb) == (25.5, 8.5)
    assert step.record().raw_sha256 == step.ids.raw == RAW_SHA256


def test_run_says_what_its_journal_says(folder: Path) -> None:
    run = open_run(str(folder))
    assert (run.title, run.status, len(run)) == ("Tiny", "complete", 3)
    assert run.chip == example.CHIP
    assert run.campaign["campaign"] == {"title": "Tiny"}
    names = ["core00_four_phase", "core00_one_phase", "core02_one_phase"]
    assert [step.name for step in run] == names


def test_opening_reads_the_journal_and_no_step(folder: Path) -> None:
    for path in (folder / "steps").iterdir():
        path.write_bytes(b"nonsense")
    run = open_run(folder)
    assert list(run.cores) == [0, 2]
    with pytest.raises(DatasetError, match="no finished step file"):
        _ = run.cores[0]["one_phase"].raw
    with pytest.raises(DatasetError, match="no finished step file"):
        _ = run.cores[0]["one_phase"].corrections


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_damaged_count_is_not_handed_out_and_what_is_whole_is(folder: Path) -> None:
    path = folder / "steps" / "core00_one_phase.h5"
    flipped(path, path.read_bytes().index(example.RAW.tobytes()))
    step = open_run(folder).cores[0]["one_phase"]
    with pytest.raises(DatasetError, match="do not match their CRC-32C of raw"):
        _ = step.raw
    assert np.array_equal(step.expected, example.EXPECTED)
    assert step.corrections.a_p.tolist() == [0.5, 0.25, 0.0]
    with pytest.raises(DatasetError, match="do not match their SHA-256"):
        step.record()


def test_damage_outside_the_readouts_keeps_everything_back(folder: Path) -> None:
    path = folder / "steps" / "core00_one_phase.h5"
    flipped(path, path.read_bytes().index(example.CONCLUSION.correction.a_p.tobytes()))
    step = open_run(folder).cores[0]["one_phase"]
    for look in (lambda: step.raw, lambda: step.corrections):
        with pytest.raises(DatasetError, match="do not match their CRC-32C"):
            look()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"part raw ", b"part row "),
        (b"\nrest ", b"\nbest "),
        (b"part raw ", b"part raw 9"),
    ],
    ids=["name", "rest", "place"],
)
def test_damaged_seal_keeps_everything_back(folder: Path, old: bytes, new: bytes) -> None:
    path = folder / "steps" / "core00_one_phase.h5"
    content = path.read_bytes()
    assert old in content[:512]
    path.write_bytes(content[:512].replace(old, new)[:512] + content[512:])
    with pytest.raises(DatasetError, match="core00_one_phase"):
        _ = open_run(folder).cores[0]["one_phase"].raw


def test_cores_hold_the_newest_calibration_and_steps_hold_all(tmp_path: Path) -> None:
    run = open_run(visited_run.write_visited_run(tmp_path / "run").path)
    assert run.cores[0]["one_phase"].key == visited_run.HOT
    assert set(run.steps) == set(visited_run.KEYS)
    probe = run.step(0, "one_phase", visit=2, kind="probe")
    assert probe.key.kind is StepKind.PROBE
    # It judges the calibration of visit 1: the chain of ids is that one's, its readouts are not.
    assert probe.ids.raw == run.cores[0]["one_phase"].facts.raw_sha256
    assert probe.facts.raw_sha256 != probe.ids.raw


def test_step_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_run(folder).step(2, "four_phase", visit=3)
    assert str(caught.value) == (
        f"{folder}: has no finished step of core 2, four_phase, visit 3, calibrate; "
        "of this core there are core02_one_phase"
    )


@pytest.mark.parametrize("name", ["nothing", "file.h5"])
def test_what_is_no_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DatasetError, match=name):
        open_run(tmp_path / name)


def test_dataset_of_a_step_has_named_axes_units_and_coordinates(folder: Path) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    dataset = open_run(folder).cores[0]["four_phase"].to_xarray()
    assert dataset["raw"].dims == ("vector", "polarity", "column")
    assert dataset["raw"].attrs["units"] == "count"
    assert dataset["raw"].sel(polarity="N", vector=3, column=1).item() == 31
    assert dataset["correction_a_p"].sel(column=1).item() == 0.25
    assert dataset["verification_outputs"].sel(verification_vector=5, column=0).item() == 127
    assert dataset["verification_column_rms"].sel(correction_name="nmpu").values.tolist() == [
        1.75,
        2.75,
        3.75,
    ]
    assert (dataset.attrs["core"], dataset.attrs["read_mode"]) == (0, "four_phase")
    assert dataset.attrs["raw_id"] == RAW_SHA256
    assert "raw" not in open_run(folder).cores[0]["four_phase"].to_xarray(readouts=False)


def test_dataset_of_a_run_is_a_table_with_nothing_where_there_is_no_calibration(
    folder: Path,
) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    dataset = open_run(folder).to_xarray()
    assert dict(dataset.sizes) == {"core": 2, "read_mode": 2, "column": 3, "correction_name": 4}
    assert dataset["correction_b"].sel(core=2, read_mode="one_phase").values.tolist() == [
        -1.5,
        2.5,
        0.0,
    ]
    assert np.isnan(dataset["correction_b"].sel(core=2, read_mode="four_phase").values).all()
    assert dataset["output_lsb"].sel(core=0, read_mode="four_phase").item() == 8.5


def test_dataset_of_a_run_carries_the_ids_of_what_is_in_it(folder: Path) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    run = open_run(folder)
    dataset = run.to_xarray()
    there = dataset.sel(core=0, read_mode="four_phase")
    assert there.raw_id.item() == RAW_SHA256
    with h5py.File(folder / "steps" / "core00_four_phase.h5") as file:
        assert there.correction_id.item() == file["correction"].attrs["id"]
        assert there.coefficients_id.item() == file["coefficients"].attrs["id"]
    assert there.step.item() == "core00_four_phase"
    assert dataset.raw_id.sel(core=2, read_mode="four_phase").item() == ""
    assert dataset.attrs["campaign_sha256"] == example.CAMPAIGN_SHA256
    assert dataset.attrs["title"] == "Tiny"
    assert dataset.attrs["set_id"] == storage_facts(folder)["coefficients_id"]
    dataset.to_netcdf(folder / "tables.nc", engine="h5netcdf")


def test_core_is_found_by_its_number_as_text_and_a_step_by_its_name(folder: Path) -> None:
    run = open_run(folder)
    assert run.cores["2"]["one_phase"] is run.cores[2]["one_phase"]  # type: ignore[index]
    assert run.steps["core02_one_phase"] is run.cores[2]["one_phase"]  # type: ignore[index]


def test_core_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    run = open_run(folder)
    with pytest.raises(KeyError, match="no calibration of core 9: there are 0, 2"):
        run.cores[9]
    message = "no calibration of core 2 in the read mode four_phase: there are one_phase"
    with pytest.raises(KeyError, match=message):
        run.cores[2]["four_phase"]
    assert run.cores.get(9) is None
    assert 9 not in run.cores


def test_run_is_opened_with_a_with_statement(folder: Path) -> None:
    with open_run(folder) as run:
        raw = run.cores[0]["one_phase"].raw
    assert np.array_equal(raw, example.RAW)


def test_dataset_without_xarray_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ValueError, match=r"pip install 'aimc-hil\[xarray\]'"):
        open_run(folder).to_xarray()


def test_notebook_shows_a_title_as_text_and_not_as_markup(tmp_path: Path) -> None:
    origin = replace(example.ORIGIN, chip=replace(example.CHIP, serial="<script>x</script>"))
    run = open_run(example.write_run(tmp_path / "a<b", example.ONE, origin=origin).path)
    step = run.cores[0][ReadMode.ONE_PHASE]
    for shown in (run._repr_html_(), step._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;" in shown
    assert "NMPU error 25.00 %" not in run._repr_html_()  # this journal stores no errors
    assert "nmpu 25.00 %" in step._repr_html_()
    assert RAW_SHA256 in step._repr_html_()


def test_importing_the_package_imports_no_hdf5() -> None:
    code = "import sys, hil_datasets; assert 'h5py' not in sys.modules; hil_datasets.open_run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hil_datasets.nonsense


ANY_READOUTS = ("raw", "weights", "inputs", "expected")


@pytest.mark.parametrize("what", ANY_READOUTS)
def test_file_of_another_core_in_its_place_is_not_handed_out(folder: Path, what: str) -> None:
    steps = folder / "steps"
    shutil.copy(steps / "core02_one_phase.h5", steps / "core00_one_phase.h5")
    with pytest.raises(DatasetError, match="holds step core02_one_phase"):
        getattr(open_run(folder).cores[0]["one_phase"], what)


@pytest.mark.parametrize("what", ANY_READOUTS)
def test_file_of_another_run_in_its_place_is_not_handed_out(folder: Path, what: str) -> None:
    other = example.RAW.copy()
    other[0, 0, 0] = 1
    example.write_step(folder / "steps" / "core00_one_phase.h5", raw=other)
    with pytest.raises(DatasetError, match="belongs to another run: its raw_sha256 is"):
        getattr(open_run(folder).cores[0]["one_phase"], what)


def test_errors_that_the_journal_does_not_tell_are_not_handed_out(folder: Path) -> None:
    tell_errors(folder, {"uncorrected": 0.5, "float": 0.125, "fp16": 0.1875, "nmpu": 0.0625})
    message = "attribute errors: that of nmpu is 0.25, the journal's 0.0625"

    def step() -> OpenedStep:
        return open_run(folder).cores[0]["one_phase"]

    for look in (lambda: step().errors, lambda: step().raw, lambda: step().record()):
        with pytest.raises(DatasetError, match=message):
            look()
    assert [(each.kind, each.path, each.message) for each in verify_run(folder).findings] == [
        ("hash", "steps/core00_one_phase.h5", message)
    ]


def test_errors_that_the_journal_tells_as_well_are_handed_out(folder: Path) -> None:
    tell_errors(folder, dict(example.ERRORS))
    assert open_run(folder).cores[0]["one_phase"].errors["nmpu"] == 0.25
    assert verify_run(folder).findings == ()


def tell_errors(folder: Path, errors: dict[str, float]) -> None:
    """Let the journal tell errors of the step of core 0, read in one phase."""
    journal = folder / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in lines:
        if (event["event"], event.get("core"), event.get("read_mode")) == ("step", 0, "one_phase"):
            event["errors"] = errors
    journal.write_text("".join(json.dumps(event) + "\n" for event in lines))
