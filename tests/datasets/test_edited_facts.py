"""What a sealed step file says of itself, changed: whoever reads the run says so."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets import open_run
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.packed.packed_run import PackedRun
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step_files.file import seal_step
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.trace.links import LinkState
from hil_datasets.trace.walk import trace_column
from recorded_runs import command, measured_run

STEP = "steps/core00_one_phase.h5"
SAID = "what it says of chip, tile, counters, circumstance, conditions or software was changed"

Edit = Callable[[h5py.File], None]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return example.write_run(tmp_path / "run", example.ONE)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_run(tmp_path_factory.mktemp("measured"))


def _attribute(group: str, name: str, value: str | float) -> Edit:
    def edit(file: h5py.File) -> None:
        assert file[group].attrs[name] != value
        file[group].attrs[name] = value

    return edit


def _value(path: str, value: float) -> Edit:
    def edit(file: h5py.File) -> None:
        assert file[path][0] != value
        file[path][0] = value

    return edit


EDITS: dict[str, Edit] = {
    "counter_bits": _attribute("/", "counter_bits", 13),
    "columns_used": _attribute("/", "columns_used", 2),
    "rows_used": _attribute("/", "rows_used", 3),
    "first_row": _attribute("/", "first_row", 4),
    "first_column": _attribute("/", "first_column", 3),
    "temperature_c": _attribute("/", "temperature_c", 85.0),
    "seed": _attribute("/", "seed", 8),
    "measured_utc": _attribute("/", "measured_utc", "2020-01-01T00:00:00+00:00"),
    "chip": _attribute("/", "chip", json.dumps(dict(zip(
        ("manufacturer", "model", "serial", "firmware"),
        ("Acme", "AIMC-4x3", "43", "1.0"),
        strict=True,
    )))),
    "age_s": _attribute("circumstance", "age_s", 1e9),
    "commit": _attribute("provenance", "commit", "f" * 40),
    "unit": _attribute("conditions", "units", json.dumps(["K", "A"])),
    "setpoint": _value("conditions/setpoint", 85.0),
    "reading": _value("conditions/at_end", 85.0),
}  # fmt: skip


def _edit(run: RunDirectory, edit: Edit) -> None:
    """Change a step file as somebody does who knows how it is sealed."""
    with h5py.File(run.path / STEP, "r+") as file:
        edit(file)
    seal_step(run.path / STEP)
    read_step(run.path / STEP)  # by itself the file is whole


def test_journal_has_the_hash_of_what_a_step_says_of_itself(measured: Path) -> None:
    step = measured / "steps/core00_one_phase_probe.h5"
    lines = ["hil facts 1"]
    with h5py.File(step) as file:
        for path, kind in sorted(_KINDS.items()):
            group, _, name = path.rpartition("/")
            value = file[f"/{group}"].attrs[name]
            text = _AS_HASHED[kind](value)
            lines.append(f"{path} {text}")
        assert "conditions" not in file
    wanted = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    events = [json.loads(line) for line in (measured / "journal.jsonl").read_text().splitlines()]
    (event,) = (each for each in events if each.get("file") == "steps/core00_one_phase_probe.h5")
    assert event["facts_sha256"] == wanted


_AS_HASHED: dict[str, Callable[[Any], str]] = {
    "real": lambda value: float(value).hex(),
    "integer": lambda value: str(int(value)),
    "text": json.dumps,
    "JSON": lambda value: json.dumps(json.loads(value), sort_keys=True),
}
_KINDS = {
    **dict.fromkeys(
        (
            "core",
            "counter_bits",
            "seed",
            "calibration_vectors",
            "verification_vectors",
            "rows_used",
            "columns_used",
            "first_row",
            "first_column",
            "circumstance/visit",
        ),
        "integer",
    ),
    **dict.fromkeys(("temperature_c", "circumstance/age_s"), "real"),
    **dict.fromkeys(
        (
            "chip",
            "software",
            "circumstance/correction_of",
            "provenance/packages",
            "provenance/instruments",
        ),
        "JSON",
    ),
    **dict.fromkeys(
        (
            "read_mode",
            "title",
            "campaign_sha256",
            "resource",
            "measured_utc",
            "host",
            "circumstance/kind",
            "provenance/campaign",
            "provenance/resolved_sha256",
            "provenance/commit",
        ),
        "text",
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_fact_is_found_whoever_reads_it(run: RunDirectory, edit: Edit) -> None:
    _edit(run, edit)
    run.index_path.unlink()  # which would show it as well
    found = [each for each in verify_run(run.path).findings if each.path == STEP]
    assert ("hash", SAID) in [(str(each.kind), each.message.partition(":")[0]) for each in found]
    with pytest.raises(DatasetError, match=SAID):
        open_directory(run.path).read_step(example.ONE)
    with pytest.raises(DatasetError, match=SAID):
        _ = open_run(run.path).steps[example.ONE].origin


@pytest.mark.parametrize("edit", ["counter_bits", "columns_used", "seed"])
def test_edited_fact_is_not_packed(run: RunDirectory, tmp_path: Path, edit: str) -> None:
    _edit(run, EDITS[edit])
    with pytest.raises(DatasetError, match=SAID):
        pack_run(open_directory(run.path), tmp_path / "packed.hil.h5")


def test_trace_of_an_edited_fact_breaks_at_the_conclusions(run: RunDirectory) -> None:
    _edit(run, EDITS["counter_bits"])
    links = {link.name: link for link in trace_column(run, example.ONE, 1).links}
    assert links["conclusions"].state is LinkState.BROKEN
    assert links["conclusions"].reason.startswith(SAID)


def test_repair_says_that_a_fact_was_changed(measured: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    done = command("data", "split", measured, "--by", "mode", "--out", tmp_path / "parts")
    assert done.code == 0, done.stderr
    (tmp_path / "parts/one_phase").rename(run.path)
    _edit(run, EDITS["temperature_c"])
    done = command("data", "repair", run.path, "--out", tmp_path / "repaired")
    assert done.code == 0, done.stdout + done.stderr
    words = "what its file said of chip, tile, counters, circumstance, conditions or software"
    assert words in done.stdout
    found = verify_run(tmp_path / "repaired")
    assert any(words in note for note in found.notes)


def test_hash_is_carried_into_packed_unpacked_merged_split_fitted_and_replayed_runs(
    measured: Path, tmp_path: Path
) -> None:
    packed, parts = tmp_path / "packed.hil.h5", tmp_path / "parts"
    for arguments in (
        ("data", "pack", measured, "--output", packed, "--compress", "none"),
        ("data", "unpack", packed, "--out", tmp_path / "unpacked"),
        ("data", "split", measured, "--by", "mode", "--out", parts),
        ("data", "merge", parts / "one_phase", parts / "four_phase", "--out", tmp_path / "merged"),
        ("calibrate", "fit", measured, "--out", tmp_path / "again.hil.h5", "--robust"),
        ("replay", measured, "--out", tmp_path / "replayed", "--quiet"),
    ):
        done = command(*arguments)
        assert done.code == 0, done.stderr
    made = ("packed.hil.h5", "unpacked", "parts/one_phase", "merged", "again.hil.h5", "replayed")
    for name in made:
        found = verify_run(tmp_path / name)
        assert (found.findings, [each for each in found.notes if "hold" in each]) == ((), []), name
        lines = [event for event in open_run(tmp_path / name).journal if event["event"] == "step"]
        assert all(len(event["facts_sha256"]) == 64 for event in lines), name
    was, now = (
        {event["file"]: event["facts_sha256"] for event in events if event["event"] == "step"}
        for events in (open_run(measured).journal, PackedRun(packed).events())
    )
    assert was == now


def test_edited_fact_of_a_packed_run_without_readouts_is_found(
    run: RunDirectory, tmp_path: Path
) -> None:
    path = tmp_path / "packed.hil.h5"
    pack_run(run, path, PackOptions(has_readouts=False))
    from hil_datasets.packed.layout import PACK_FORMAT  # noqa: PLC0415
    from hil_datasets.seal import seal_file  # noqa: PLC0415

    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        (place,) = (name for name in names if name.endswith("/core00_one_phase"))
        file[place].attrs["counter_bits"] = np.int64(9)
    seal_file(path, form=PACK_FORMAT)
    assert any(SAID in each.message for each in verify_run(path).findings)
    with pytest.raises(DatasetError, match=SAID):
        PackedRun(path).read_facts(example.ONE)


def test_journal_without_the_hash_is_read_and_said_to_be_older(run: RunDirectory) -> None:
    events = [json.loads(line) for line in run.journal_path.read_text().splitlines()]
    older = [{key: event[key] for key in event if key != "facts_sha256"} for event in events]
    run.journal_path.write_text("".join(json.dumps(event) + "\n" for event in older))
    assert len(list(run.read_steps())) == 1
    (note,) = verify_run(run.path).notes
    assert note.startswith("journal.jsonl: does not hold what 1 of 1 steps say of chip, tile")


def test_what_a_later_version_says_besides_leaves_the_hash_of_an_earlier_step() -> None:
    bare = replace(example.ORIGIN, provenance=None)
    digest = facts_sha256(example.ONE, bare, ())
    assert digest != facts_sha256(example.ONE, example.ORIGIN, ())
    assert digest != facts_sha256(example.ONE, bare, example.CONDITIONS)
