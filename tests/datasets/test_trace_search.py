"""Ids and exported files are found among many runs, and held to what the runs have."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import example_steps as example
from hil.core.errors import ConfigError
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.exporter import Exporter, ExportRequest, make_files
from hil_datasets.export.recognised import BY_SUFFIX, read_exported
from hil_datasets.found_runs import find_runs
from hil_datasets.opened import open_source
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.trace.export import find_homes
from hil_datasets.trace.links import LinkState
from hil_datasets.trace.search import FoundId, read_ids
from hil_datasets.trace.walk import trace_column
from visited_run import COLD, HOT, OTHER_COLD, OTHER_HOT, write_visited_run

RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
CORRECTION_ID = "a8ee2d6a04ac6dfe3900f887f73d0214adb321ecb9d101dbbb39312f0f92c9b9"
COEFFICIENTS_ID = "d42002a0306fd5d389b9349fee5a8f9009d56dd095950e0e7014a448eb143be8"
SET_ID = "af78022f61f494a15bc77ebc117ee6491086cddfa68cf96612b55b0f07113272"
"""Computed from scratch in ``test_export_ids.py``."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with other numbers, and one of them packed, in folders of folders."""
    folder = tmp_path_factory.mktemp("lab")
    run = example.write_run(folder / "week_1" / "run", example.ONE)
    example.write_run(folder / "week_2" / "run", example.ONE, raw=example.RAW + np.uint16(1))
    (folder / "packed").mkdir()
    packed = folder / "packed" / "run.hil.h5"
    pack_run(open_source(run.path), packed, PackOptions(has_readouts=False))
    return folder


def found(lab: Path, prefix: str) -> list[FoundId]:
    return [each for run in find_runs([lab]) for each in read_ids(run.path).found(prefix)]


@pytest.mark.parametrize(
    ("what", "content_id"),
    [
        ("readouts", RAW_SHA256),
        ("correction", CORRECTION_ID),
        ("coefficients", COEFFICIENTS_ID),
        ("coefficient set", SET_ID),
    ],
)
def test_id_is_found_in_folder_and_packed_file_by_its_first_digits(
    lab: Path, what: str, content_id: str
) -> None:
    places = [
        (each.what, each.content_id, str(each.run.relative_to(lab)), each.steps)
        for each in found(lab, content_id[:8])
    ]
    assert places == [
        (what, content_id, "packed/run.hil.h5", (example.ONE,)),
        (what, content_id, "week_1/run", (example.ONE,)),
    ]


def test_campaign_is_found_by_its_hash_in_every_run(lab: Path) -> None:
    assert [each.what for each in found(lab, example.CAMPAIGN_SHA256)] == ["campaign"] * 3


def test_set_of_one_visit_is_found_beside_that_of_the_newest(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run")
    steps = {
        keys: collect_coefficients("run", [run.read_step(key) for key in keys]).coefficients_id
        for keys in ((COLD, OTHER_COLD), (HOT, OTHER_HOT))
    }
    for keys, content_id in steps.items():
        sets = list(read_ids(run.path).found(content_id))
        assert [(each.what, each.steps) for each in sets] == [("coefficient set", keys)]


def test_run_that_cannot_be_read_is_told_and_the_others_are_searched(tmp_path: Path) -> None:
    whole = example.write_run(tmp_path / "whole", example.ONE)
    torn = example.write_run(tmp_path / "torn", example.ONE)
    torn.step_path(example.ONE).write_bytes(b"nothing")
    runs = {run.path.name: read_ids(run.path) for run in find_runs([tmp_path])}
    assert "core00_one_phase.h5" in runs["torn"].damage[0]
    assert runs["whole"].damage == ()
    assert [each.run for each in runs["whole"].found(COEFFICIENTS_ID)] == [whole.path]


def exported_to(folder: Path, run: Path, suffix: str, exporter: Exporter) -> Path:
    coefficients = collect_coefficients("run", open_source(run).read_steps())
    request = ExportRequest(file_name=f"chip{suffix}")
    for name, content in make_files(exporter, coefficients, request).items():
        (folder / name).write_bytes(content)
    return folder / f"chip{suffix}"


@pytest.mark.parametrize(("suffix", "exporter"), BY_SUFFIX.items(), ids=list(BY_SUFFIX))
def test_exported_file_of_every_format_leads_to_its_step(
    lab: Path, tmp_path: Path, suffix: str, exporter: Exporter
) -> None:
    path = exported_to(tmp_path, lab / "week_2" / "run", suffix, exporter)
    (home,) = find_homes(read_exported(path), [read_ids(run.path) for run in find_runs([lab])])
    assert (home.name, home.state) == ("core00_one_phase", LinkState.OK)
    assert home.steps == ((lab / "week_2" / "run", example.ONE),)


def json_of(run: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = exported_to(tmp_path, run, ".json", BY_SUFFIX[".json"])
    return path, json.loads(path.read_bytes())


def home_of(path: Path, document: dict[str, Any], *runs: Path) -> Any:
    path.write_text(json.dumps(document))
    exported: ExportedSet = read_exported(path)
    (home,) = find_homes(exported, [read_ids(run) for run in runs])
    return home


@pytest.mark.parametrize(
    ("tile", "reason"),
    [
        ({"offset": [-3, 6, 0]}, "its registers differ from the step's, first in column 1"),
        ({"shift": 2}, "shift is 2: the step has 1"),
        ({"output_lsb": 8.25}, "output_lsb is 8.25: the step has 8.5"),
        ({"correction_id": "0" * 64}, f"correction_id is {'0' * 64}: the step has {CORRECTION_ID}"),
        ({"raw_sha256": "0" * 64}, f"raw_sha256 is {'0' * 64}: the step has {RAW_SHA256}"),
    ],
    ids=["registers", "shift", "output_lsb", "correction", "readouts"],
)
def test_file_that_was_changed_since_it_was_exported_is_found_out(
    lab: Path, tmp_path: Path, tile: dict[str, Any], reason: str
) -> None:
    run = lab / "week_1" / "run"
    path, document = json_of(run, tmp_path)
    document["cores"][0].update(tile)
    home = home_of(path, document, run)
    assert (home.state, home.reason) == (LinkState.BROKEN, reason)


def test_file_whose_tile_was_given_another_core_is_refused(lab: Path, tmp_path: Path) -> None:
    path, document = json_of(lab / "week_1" / "run", tmp_path)
    document["cores"][0]["core"] = 5
    with pytest.raises(ConfigError, match="a tile was changed or taken out"):
        home_of(path, document, lab / "week_1" / "run")


def test_file_of_another_chip_is_found_out(lab: Path, tmp_path: Path) -> None:
    path, document = json_of(lab / "week_1" / "run", tmp_path)
    document["source"]["chip"]["serial"] = "43"
    home = home_of(path, document, lab / "week_1" / "run")
    assert home.state is LinkState.BROKEN
    assert "serial 43" in home.reason


def test_file_that_no_run_knows_is_found_out(lab: Path, tmp_path: Path) -> None:
    path, document = json_of(lab / "week_1" / "run", tmp_path)
    home = home_of(path, document, lab / "week_2" / "run")
    assert (home.state, home.reason, home.steps) == ("broken", "none of the runs has it", ())


def test_file_from_before_there_were_ids_is_found_by_its_readouts(
    lab: Path, tmp_path: Path
) -> None:
    run = lab / "week_1" / "run"
    path, document = json_of(run, tmp_path)
    del document["coefficients_id"]
    for tile in document["cores"]:
        del tile["coefficients_id"], tile["correction_id"]
    home = home_of(path, document, run)
    assert home.state is LinkState.OK
    assert "no id of its own" in home.reason
    assert home.steps == ((run, example.ONE),)


def test_file_that_no_format_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ConfigError, match=r"is no exported file by its name: that ends in"):
        read_exported(tmp_path / "x.txt")
    (tmp_path / "x.bin").write_bytes(b"1")
    with pytest.raises(ConfigError, match=r"x\.bin\.json: no such file"):
        read_exported(tmp_path / "x.bin")


def test_packed_run_without_readouts_says_which_links_it_cannot_check(lab: Path) -> None:
    found = trace_column(open_source(lab / "packed" / "run.hil.h5"), example.ONE, 0)
    links = {link.name: link for link in found.links}
    assert found.is_whole
    assert links["coefficients"].content_id == COEFFICIENTS_ID
    assert links["readouts"].state is LinkState.UNCHECKED
    assert links["readouts"].content_id == RAW_SHA256
    assert links["campaign"].state is LinkState.OK


def test_packed_run_with_readouts_is_checked_down_to_the_counts(lab: Path, tmp_path: Path) -> None:
    path = tmp_path / "whole.hil.h5"
    pack_run(open_source(lab / "week_1" / "run"), path)
    links = {link.name: link for link in trace_column(open_source(path), example.ONE, 0).links}
    assert links["readouts"].state is LinkState.OK
    assert links["blocks"].state is LinkState.OK
    counts = [block["counts_p"] for block in (links["blocks"].facts or {})["blocks"]]
    assert counts == [[100, 130], [140, 150]]


def test_two_refits_of_the_same_readouts_have_one_raw_id_and_two_others(tmp_path: Path) -> None:
    one = example.write_run(tmp_path / "one", example.ONE)
    conclusion = replace(
        example.CONCLUSION, correction=replace(example.CONCLUSION.correction, b=np.ones(3))
    )
    other = example.write_run(tmp_path / "other", example.ONE, conclusion=conclusion)
    runs = [read_ids(run.path) for run in (one, other)]
    assert [each.run for run in runs for each in run.found(RAW_SHA256)] == [one.path, other.path]
    assert [each.run for run in runs for each in run.found(COEFFICIENTS_ID)] == [one.path]
