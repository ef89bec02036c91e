"""Runs of one chip become one, and one becomes several: the same step files, byte for byte."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import example_steps as example
from hil.core.errors import ConfigError, DatasetError
from hil_datasets.calibration_choice import CalibrationChoice, choose_calibrations
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.index import write_index
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.joining.merging import merge_runs
from hil_datasets.joining.splitting import SplitBy, split_run
from hil_datasets.run_directory import RunDirectory, create_run, open_directory
from hil_datasets.step import StepKey
from hil_datasets.trace.walk import trace_column
from visited_run import COLD, HOT, OTHER_COLD, OTHER_HOT, write_visited_run

UTC = "2026-02-03T04:05:06+00:00"
IDENTITY = {"manufacturer": "Acme", "model": "AIMC-4x3", "serial": "42", "firmware": "1.0"}


def write_part(
    folder: Path,
    *keys: StepKey,
    campaign: bytes = example.CAMPAIGN,
    utc: str = "2026-01-02T03:04:00+00:00",
    start: dict[str, Any] | None = None,
    status: str = "complete",
    **step: Any,
) -> RunDirectory:
    """Write a run with its own campaign file."""
    run = create_run(folder, campaign)
    sha256 = hashlib.sha256(campaign).hexdigest()
    origin = replace(step.pop("origin", example.ORIGIN), campaign_sha256=sha256)
    run.journal.append(
        "start", utc=utc, campaign_sha256=sha256, planned=[key.name for key in keys],
        identity=IDENTITY, **(start or {}),
    )  # fmt: skip
    for key in keys:
        raw_sha256 = example.write_step(run.step_path(key), key, origin=origin, **step)
        run.journal.append(
            "step", utc=utc, core=key.core, read_mode=str(key.read_mode), raw_sha256=raw_sha256
        )
    write_index(run, keys)
    run.journal.append("stop", utc=utc, status=status, failed=[], faults={"timeout": 2})
    return run


def files_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "steps").iterdir())}


def findings(run: Path) -> list[str]:
    return [str(finding) for finding in verify_run(run).findings]


def journal_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


@pytest.fixture
def parts(tmp_path: Path) -> tuple[RunDirectory, RunDirectory]:
    """The later run is named first, has its own campaign file, and another core."""
    later = write_part(
        tmp_path / "later",
        example.OTHER_CORE,
        campaign=b"schema_version = 1\n# the other cores\n",
        utc="2026-01-03T00:00:00+00:00",
    )
    return later, write_part(tmp_path / "earlier", example.ONE, example.FOUR)


@pytest.fixture
def merged(parts: tuple[RunDirectory, RunDirectory], tmp_path: Path) -> Path:
    merge_runs([run.path for run in parts], tmp_path / "merged", utc=UTC)
    return tmp_path / "merged"


def test_merged_run_has_the_step_files_of_all_byte_for_byte(
    parts: tuple[RunDirectory, RunDirectory], merged: Path
) -> None:
    assert files_of(merged) == files_of(parts[0].path) | files_of(parts[1].path)
    assert findings(merged) == []


def test_campaign_files_are_kept_under_numbered_names(
    parts: tuple[RunDirectory, RunDirectory], merged: Path
) -> None:
    assert (merged / "campaign.toml").read_bytes() == example.CAMPAIGN
    assert (merged / "campaign.2.toml").read_bytes() == parts[0].read_campaign()
    beginnings = [
        (event["event"], event.get("config"), event["planned"])
        for event in journal_of(merged)
        if event["event"] in {"start", "resume"}
    ]
    names = ["core00_one_phase", "core00_four_phase", "core02_one_phase"]
    assert beginnings == [("start", None, names[:2]), ("resume", "campaign.2", names)]


def test_merge_event_names_the_sources_by_the_hashes_of_their_journals(
    parts: tuple[RunDirectory, RunDirectory], merged: Path
) -> None:
    *_, merge, stop = journal_of(merged)
    later, earlier = (hashlib.sha256(run.journal_path.read_bytes()).hexdigest() for run in parts)
    assert merge == {
        "event": "merge",
        "utc": UTC,
        "sources": [
            {"journal_sha256": earlier, "steps": ["core00_one_phase", "core00_four_phase"]},
            {"journal_sha256": later, "steps": ["core02_one_phase"]},
        ],
    }
    assert (stop["event"], stop["status"], stop["faults"]) == ("stop", "complete", {"timeout": 4})


def test_coefficient_of_a_merged_run_leads_to_its_own_campaign_file_and_source(
    parts: tuple[RunDirectory, RunDirectory], merged: Path
) -> None:
    found = trace_column(open_directory(merged), example.OTHER_CORE, 0)
    assert found.is_whole
    links = {link.name: link.facts or {} for link in found.links}
    assert links["campaign"]["file"] == "campaign.2.toml"
    events = links["journal"]["events"]
    assert events[-1]["journal_sha256"] == (
        hashlib.sha256(parts[0].journal_path.read_bytes()).hexdigest()
    )


def test_calibrations_of_a_merged_run_are_chosen_as_of_any(merged: Path) -> None:
    chosen = choose_calibrations(open_directory(merged), CalibrationChoice())
    assert chosen.keys == (example.FOUR, example.ONE, example.OTHER_CORE)


def test_export_of_a_merged_run_names_every_campaign_file(
    parts: tuple[RunDirectory, RunDirectory], merged: Path
) -> None:
    hashes = sorted(hashlib.sha256(run.read_campaign()).hexdigest() for run in parts)
    records = list(open_directory(merged).read_steps())
    assert collect_coefficients("run", records, campaigns=hashes).campaign_sha256 == ",".join(
        hashes
    )
    with pytest.raises(DatasetError, match="differ in campaign"):
        collect_coefficients("run", records)
    with pytest.raises(DatasetError, match="differ in campaign"):
        collect_coefficients("run", records, campaigns=hashes[:1])


def test_order_of_the_sources_makes_no_difference(
    parts: tuple[RunDirectory, RunDirectory], merged: Path, tmp_path: Path
) -> None:
    merge_runs([run.path for run in reversed(parts)], tmp_path / "again", utc=UTC)
    for path in sorted(merged.rglob("*")):
        if path.is_file() and path.name != "campaign.h5":
            other = tmp_path / "again" / path.relative_to(merged)
            assert other.read_bytes() == path.read_bytes(), path.name


def test_every_reason_against_a_merge_is_told_at_once(tmp_path: Path) -> None:
    write_part(tmp_path / "a", example.ONE)
    other_chip = replace(example.ORIGIN, chip=replace(example.CHIP, serial="43"))
    write_part(
        tmp_path / "b",
        example.ONE,
        example.OTHER_CORE,
        utc="2026-01-03T00:00:00+00:00",
        start={"geometry": {"rows": 4, "columns": 3}},
        status="interrupted",
        origin=other_chip,
        conclusion=example.with_nmpu(in_bits=12),
    )
    write_part(
        tmp_path / "c", example.FOUR, utc="2026-01-04T00:00:00+00:00",
        start={"geometry": {"rows": 4, "columns": 5}},
    )  # fmt: skip
    with pytest.raises(DatasetError) as caught:
        merge_runs([tmp_path / name for name in "abc"], tmp_path / "out", utc=UTC)
    told = [f"{Path(problem.where).name}: {problem.message}" for problem in caught.value.problems]
    for reason in (
        "b: has not come to its end: hil resume",
        "b: has core00_one_phase as ",
        "b: chip: manufacturer Acme, model AIMC-4x3, serial 42 and manufacturer Acme, ",
        "b: NMPU format: acc_bits 12, ",
        "c: geometry (columns): 3 and 5; ",
    ):
        assert any(line.startswith(reason) for line in told), (reason, told)
    assert not (tmp_path / "out").exists()


def test_visits_that_mean_different_settings_are_refused(tmp_path: Path) -> None:
    for number, (name, key, celsius) in enumerate(
        (("a", example.ONE, 20.0), ("b", example.OTHER_CORE, 40.0))
    ):
        visits = [{"settings": {"chamber.temperature": celsius}, "kinds": ["calibrate"]}]
        utc = f"2026-01-0{number + 1}T00:00:00+00:00"
        write_part(tmp_path / name, key, utc=utc, start={"visits": visits})
    with pytest.raises(DatasetError, match=r"visit 0 is chamber.temperature=40; in .* it is .*=20"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", utc=UTC)


def test_other_calibration_options_are_refused(tmp_path: Path) -> None:
    for name, key, share in (("a", example.ONE, 0.1), ("b", example.OTHER_CORE, 0.2)):
        run = write_part(tmp_path / name, key)
        document = {"calibration": {"saturated_share": share}}
        (run.path / "campaign.resolved.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="calibration options"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", utc=UTC)


def test_damaged_step_is_not_merged(
    parts: tuple[RunDirectory, RunDirectory], tmp_path: Path
) -> None:
    path = parts[0].step_path(example.OTHER_CORE)
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(DatasetError, match="core02_one_phase"):
        merge_runs([run.path for run in parts], tmp_path / "out", utc=UTC)


def test_folder_that_holds_something_is_left_alone(
    parts: tuple[RunDirectory, RunDirectory], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        merge_runs([run.path for run in parts], tmp_path / "out", utc=UTC)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def below(folder: Path) -> Iterator[str]:
    yield from sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (SplitBy.CORE, ["core00", "core02"]),
        (SplitBy.MODE, ["four_phase", "one_phase"]),
    ],
)
def test_split_and_merged_again_has_the_same_step_files(
    merged: Path, tmp_path: Path, by: SplitBy, names: list[str]
) -> None:
    made = split_run(merged, by, tmp_path / "split", utc=UTC)
    assert list(below(tmp_path / "split")) == names == [part.run.name for part in made]
    for part in made:
        assert findings(part.run) == []
    merge_runs([part.run for part in made], tmp_path / "again", utc=UTC)
    assert files_of(tmp_path / "again") == files_of(merged)
    assert findings(tmp_path / "again") == []
    assert (tmp_path / "again" / "campaign.2.toml").read_bytes() != example.CAMPAIGN


def test_part_tells_which_run_it_comes_from(merged: Path, tmp_path: Path) -> None:
    split_run(merged, SplitBy.CORE, tmp_path / "split", utc=UTC)
    *_, split, stop = journal_of(tmp_path / "split" / "core02")
    assert split == {
        "event": "split",
        "utc": UTC,
        "by": "core",
        "part": "core02",
        "steps": ["core02_one_phase"],
        "journal_sha256": hashlib.sha256((merged / "journal.jsonl").read_bytes()).hexdigest(),
    }
    assert stop["status"] == "complete"


def test_run_with_visits_is_split_by_core_with_its_probes_and_skips(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    split_run(run.path, SplitBy.CORE, tmp_path / "split", utc=UTC)
    first, second = (tmp_path / "split" / name for name in ("core00", "core02"))
    assert findings(first) == findings(second) == []
    assert len(open_directory(first).finished_steps()) == 3
    assert list(open_directory(first).skipped_steps().values()) == [
        "error 0.125 of the probe is within the limit 0.13"
    ]
    assert open_directory(second).skipped_steps() == {}


def test_step_that_judges_another_part_is_a_reason_against_a_split(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    with pytest.raises(
        DatasetError,
        match="core00_one_phase_visit02_probe: judges the calibration core00_one_phase_visit01, "
        "which would be in another part, visit01",
    ):
        split_run(run.path, SplitBy.VISIT, tmp_path / "split", utc=UTC)
    assert not (tmp_path / "split").exists()


def test_split_by_visit_keeps_visits_apart(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run", [COLD, OTHER_COLD, HOT, OTHER_HOT])
    cold, hot = split_run(run.path, SplitBy.VISIT, tmp_path / "split", utc=UTC)
    assert (cold.steps, hot.steps) == ((COLD, OTHER_COLD), (HOT, OTHER_HOT))
    assert findings(hot.run) == []


def test_folder_with_anything_in_it_gets_no_parts(merged: Path, tmp_path: Path) -> None:
    (tmp_path / "split" / "core02").mkdir(parents=True)
    with pytest.raises(ConfigError, match="split: is not empty; choose another folder"):
        split_run(merged, SplitBy.CORE, tmp_path / "split", utc=UTC)
    assert list(below(tmp_path / "split")) == ["core02"]


@pytest.mark.parametrize("file", ["../campaign.toml", "suspect/../../x", "suspect/none.npz"])
def test_journal_that_names_a_file_elsewhere_copies_nothing(
    parts: tuple[RunDirectory, RunDirectory], tmp_path: Path, file: str
) -> None:
    run = parts[0]
    stop = run.journal_path.read_text().splitlines()[-1]
    event = {"event": "suspect", "utc": UTC, "step": "core02_one_phase", "file": file}
    run.journal_path.write_text(
        run.journal_path.read_text().replace(stop, f"{json.dumps(event)}\n{stop}")
    )
    with pytest.raises(DatasetError, match="is no file of suspect readouts"):
        merge_runs([each.path for each in parts], tmp_path / "out", utc=UTC)
    with pytest.raises(DatasetError, match="is no file of suspect readouts"):
        split_run(run.path, SplitBy.CORE, tmp_path / "split", utc=UTC)
    assert not (tmp_path / "x").exists()
