"""From a coefficient back to raw counts and conditions: every link is checked, every break told."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

import example_steps as example
from hil.core.errors import ConfigError, DatasetError
from hil.core.readout import ReadMode
from hil_datasets.opened import open_source
from hil_datasets.run_directory import open_directory
from hil_datasets.step import StepKey, StepKind
from hil_datasets.trace.links import ColumnTrace, LinkState, TraceLink
from hil_datasets.trace.walk import trace_column
from visited_run import HOT, PROBE, write_visited_run

FORMAT_1 = Path(__file__).parent / "format_1"
RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
CORRECTION_ID = "a8ee2d6a04ac6dfe3900f887f73d0214adb321ecb9d101dbbb39312f0f92c9b9"
COEFFICIENTS_ID = "d42002a0306fd5d389b9349fee5a8f9009d56dd095950e0e7014a448eb143be8"
"""Computed from scratch in ``test_export_ids.py``."""


def traced(folder: Path, key: StepKey = example.ONE, column: int = 0) -> ColumnTrace:
    return trace_column(open_source(folder), key, column)


def link_of(found: ColumnTrace, name: str) -> TraceLink:
    (link,) = (link for link in found.links if link.name == name)
    return link


def broken(found: ColumnTrace) -> list[str]:
    return [link.name for link in found.links if link.state is LinkState.BROKEN]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return example.write_run(tmp_path / "run", example.ONE).path


def edit_journal(run: Path, event: str, **changes: Any) -> None:
    """Change keys of every event of a kind."""
    path = run / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["event"] == event:
            line.update(changes)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_ids_lead_from_registers_to_correction_to_readouts(run: Path) -> None:
    found = traced(run)
    assert broken(found) == []
    chain = [
        (link.name, link.state, link.content_id, (link.facts or {}).get("parents"))
        for link in found.links[:4]
        if link.name != "conclusions"
    ]
    assert chain == [
        ("coefficients", "ok", COEFFICIENTS_ID, [CORRECTION_ID]),
        ("correction", "ok", CORRECTION_ID, [RAW_SHA256]),
        ("readouts", "ok", RAW_SHA256, None),
    ]


def test_registers_of_a_column_are_told_with_what_they_are_worth(run: Path) -> None:
    values = traced(run, column=0).values
    assert values is not None
    # 128 / 2**(7 + 1) output LSB a count, -3 / 2**1; an output LSB is 8.5 product units.
    assert values["codes"] == {"scale_p": 128, "scale_n": 128, "offset": -3, "swap": 0, "shift": 1}
    assert values["held"] == {"a_p": 0.5, "a_n": 0.5, "b": -1.5}
    assert values["fitted"] == {"a_p": 0.5, "a_n": 0.5, "b": -1.5}
    assert values["standard_errors"] == {"a_p": 0.01, "a_n": 0.03, "b": 0.05}
    assert values["product"] == {"a_p": 4.25, "a_n": 4.25, "b": -12.75}
    assert values["errors"] == {"uncorrected": 4.0, "float": 1.0, "fp16": 1.5, "nmpu": 1.75}
    assert (values["residual_rms"], values["r_squared"], values["flags"]) == (0.7, 0.99, [])


def test_column_that_swaps_holds_negative_gains(run: Path) -> None:
    values = traced(run, column=1).values
    assert values is not None
    # P and N change places: 96 and 64 of 256.
    assert values["held"] == {"a_p": -0.375, "a_n": -0.25, "b": 2.5}
    assert values["flags"] == ["negative_gain"]
    assert values["quality"]["effective_bits"] is None  # infinite


def test_blocks_are_told_with_times_faults_and_the_counts_of_the_column(run: Path) -> None:
    link = link_of(traced(run, column=2), "blocks")
    assert link.state is LinkState.OK
    assert link.facts is not None
    first, second = link.facts["blocks"]
    assert (first["first_vector"], first["last_vector"]) == (0, 3)
    assert (second["first_vector"], second["last_vector"]) == (4, 5)
    assert (second["began_s"], second["ended_s"]) == (1.25, 4.5)
    assert [fault["kind"] for fault in second["faults"]] == ["timeout", "link_lost"]
    assert second["faults"][1]["recovered_s"] is None
    assert (first["counts_p"], first["counts_n"]) == ([102, 132], [2, 32])
    assert (second["counts_p"], second["counts_n"]) == ([142, 4095], [0, 42])
    for block, vectors in ((first, slice(0, 4)), (second, slice(4, 6))):
        counts = example.RAW[vectors].astype("<u2").tobytes()
        assert block["crc32c"] == f"{google_crc32c.value(counts):08x}"


def test_conditions_chip_and_software_are_told(run: Path) -> None:
    found = traced(run)
    conditions = link_of(found, "conditions").facts
    assert conditions is not None
    assert (conditions["chip_temperature_c"], conditions["age_s"]) == (25.5, 60.5)
    chamber, supply = conditions["instruments"]
    assert (chamber["setpoint"], chamber["at_start"], chamber["at_end"]) == (45.0, 44.5, 45.25)
    assert (supply["instrument"], supply["setpoint"], supply["unit"]) == ("supply", None, "A")
    chip = link_of(found, "chip")
    assert chip.state is LinkState.UNCHECKED  # this journal does not say who the chip is
    assert chip.facts is not None
    assert (chip.facts["serial"], chip.facts["firmware"]) == ("42", "1.0")
    software = link_of(found, "software").facts
    assert software is not None
    assert software["host"] == "bench-1"


def test_step_file_and_campaign_file_are_hashed_again(run: Path) -> None:
    found = traced(run)
    file = link_of(found, "file")
    sealed = (run / "steps" / "core00_one_phase.h5").read_bytes()[512:]
    assert (file.state, file.content_id) == ("ok", hashlib.sha256(sealed).hexdigest())
    campaign = link_of(found, "campaign")
    assert (campaign.state, campaign.content_id) == ("ok", example.CAMPAIGN_SHA256)


def test_changed_campaign_file_is_a_broken_link(run: Path) -> None:
    (run / "campaign.toml").write_bytes(b"other")
    found = traced(run)
    assert broken(found) == ["campaign"]
    assert hashlib.sha256(b"other").hexdigest() in link_of(found, "campaign").reason


def test_missing_campaign_file_is_a_broken_link(run: Path) -> None:
    (run / "campaign.toml").unlink()
    assert "no such file" in link_of(traced(run), "campaign").reason


def test_journal_that_tells_of_other_readouts_is_a_broken_link(run: Path) -> None:
    edit_journal(run, "step", raw_sha256="0" * 64)
    found = traced(run)
    assert broken(found) == ["readouts"]
    assert link_of(found, "readouts").reason == f"the journal says {'0' * 64}"


def test_journal_with_another_campaign_is_a_broken_link(run: Path) -> None:
    edit_journal(run, "start", campaign_sha256="1" * 64)
    found = traced(run)
    assert broken(found) == ["campaign"]
    assert example.CAMPAIGN_SHA256 in link_of(found, "campaign").reason


def test_journal_of_another_chip_is_a_broken_link(run: Path) -> None:
    identity = {"manufacturer": "Acme", "model": "AIMC-4x3", "serial": "43", "firmware": "1.0"}
    edit_journal(run, "start", identity=identity)
    found = traced(run)
    assert broken(found) == ["chip"]
    assert "serial 43" in link_of(found, "chip").reason


def test_damaged_step_file_breaks_what_it_holds_and_nothing_else(run: Path) -> None:
    path = run / "steps" / "core00_one_phase.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = traced(run)
    assert broken(found) == ["file"]
    file = link_of(found, "file")
    assert "is damaged" in file.reason
    assert (file.facts or {})["file"] == str(path)
    assert link_of(found, "coefficients").reason == (
        "cannot be read: its file is damaged or missing"
    )
    assert link_of(found, "campaign").state is LinkState.OK
    assert found.values is None


def test_damaged_readouts_leave_the_coefficients_whole(run: Path) -> None:
    path = run / "steps" / "core00_one_phase.h5"
    content = bytearray(path.read_bytes())
    place = content.find(example.RAW.astype("<u2").tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    found = traced(run)
    assert broken(found) == ["readouts", "file"]
    assert link_of(found, "coefficients").content_id == COEFFICIENTS_ID
    assert found.values is not None


def test_missing_step_file_is_named(run: Path) -> None:
    path = run / "steps" / "core00_one_phase.h5"
    path.unlink()
    found = traced(run)
    assert broken(found) == ["file"]
    assert "no such file" in link_of(found, "file").reason.lower()
    assert (link_of(found, "file").facts or {})["file"] == str(path)


def test_step_file_of_another_step_is_a_broken_link(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.FOUR).path
    shutil.copy(run / "steps" / "core00_four_phase.h5", run / "steps" / "core00_one_phase.h5")
    assert "holds step core00_four_phase" in link_of(traced(run), "file").reason


def test_probe_leads_to_the_calibration_that_it_judges(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    hot = traced(run.path, HOT)
    probe = traced(run.path, PROBE)
    judged = link_of(probe, "judged calibration")
    assert judged.state is LinkState.OK
    assert judged.facts == {"step": HOT.name, "raw_sha256": link_of(hot, "readouts").content_id}
    # It carries the very correction; only its own readouts are others.
    assert link_of(probe, "correction").content_id == link_of(hot, "correction").content_id
    assert link_of(probe, "readouts").content_id != link_of(hot, "readouts").content_id
    assert broken(probe) == []


def test_probe_of_a_calibration_with_another_correction_is_found_out(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    raw = open_source(run.path).read_step(HOT).raw
    other = replace(example.CONCLUSION, r_squared=example.CONCLUSION.r_squared)
    correction = replace(other.correction, b=other.correction.b + 1)
    run.step_path(HOT).unlink()
    example.write_step(
        run.step_path(HOT),
        HOT,
        raw=raw,
        conclusion=replace(other, correction=correction),
    )
    found = traced(run.path, PROBE)
    assert broken(found) == ["judged calibration"]
    assert f"the correction of {HOT.name} is" in link_of(found, "judged calibration").reason


def test_probe_of_a_calibration_that_is_not_there_is_found_out(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    path = run.path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(
            line
            for line in lines
            if not ('"visit": 1' in line and '"core": 0' in line and '"step"' in line)
        )
    )
    found = traced(run.path, PROBE)
    assert link_of(found, "judged calibration").reason == (
        f"this run has no finished step {HOT.name}"
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run of format 1, as the version before wrote it."""
    return Path(shutil.copytree(FORMAT_1, tmp_path / "old"))


OLD = StepKey(0, ReadMode.FOUR_PHASE)


def test_run_of_format_1_is_traced_and_says_what_it_does_not_have(old: Path) -> None:
    found = traced(old, OLD)
    assert broken(found) == []
    assert "of format 1" in link_of(found, "blocks").reason
    states = {link.name: str(link.state) for link in found.links}
    assert states["chip"] == states["programming"] == states["resolved campaign"] == "ok"
    programming = link_of(found, "programming")
    assert programming.content_id.startswith("sha256:a1cfeb637418")
    assert (programming.facts or {})["bench_s"] == 120.0


def test_other_weights_than_were_programmed_are_found_out(old: Path) -> None:
    edit_journal(old, "program", weights="sha256:" + "7" * 64)
    found = traced(old, OLD)
    assert broken(found) == ["programming"]
    assert "sha256:a1cfeb637418" in link_of(found, "programming").reason


def test_journal_tells_what_happened_to_the_step_and_to_no_other(run: Path) -> None:
    journal = open_directory(run).journal
    for step, kind in (("core00_one_phase", "timeout"), ("core09_one_phase", "link_lost")):
        journal.append(
            "fault", utc="2026-01-02T03:04:08+00:00", step=step, kind=kind, request="READ?",
            detail="", recovered_s=float("nan"),
        )  # fmt: skip
    events = (link_of(traced(run), "journal").facts or {})["events"]
    assert [event["event"] for event in events] == ["step", "fault"]
    assert events[1]["kind"] == "timeout"
    assert events[1]["recovered_s"] is None


def test_column_that_the_step_does_not_have_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="column 3: core00_one_phase has columns 0 to 2"):
        traced(run, column=3)


def test_step_that_the_run_does_not_have_is_refused(run: Path) -> None:
    with pytest.raises(DatasetError, match="no finished step core00_one_phase_verify"):
        traced(run, replace(example.ONE, kind=StepKind.VERIFY))
