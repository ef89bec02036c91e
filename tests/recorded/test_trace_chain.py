"""``hil data trace`` through every run that coefficients went through, back to the raw counts."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from foreign_recordings import HEAD, convert, counts_of, inputs_of, write_csv, write_weights
from recorded_runs import command

MAPPING = HEAD.format(form="counts") + (
    '[vectors]\nverification = 32\n[steps]\ncore = 0\nread_mode = "one_phase"\n[counts]\n'
    'rule = "pair"\nfiles = "counts.csv"\ncolumns = ["p{column}", "n{column}"]\n[inputs]\n'
    'files = "counts.csv"\ncolumns = ["x{row}"]\n[weights]\nfiles = "weights.csv"\n'
    'columns = ["w{column}"]\n'
)
ONE = ("--core", 0, "--column", 3, "--read-mode", "one_phase")


def write_recording(folder: Path) -> list[Path]:
    """Write the counts and weights that the mapping is of."""
    rows = [
        (*x, *counts.T.reshape(-1))
        for x, counts in zip(inputs_of(96), counts_of(inputs_of(96)), strict=True)
    ]
    header = ["x1", "x2", "x3", "x4", "p0", "n0", "p1", "n1", "p2", "n2"]
    return [
        write_csv(folder / "counts.csv", header, rows),
        write_weights(folder / "weights.csv"),
    ]


@pytest.fixture(scope="module")
def refit(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refit") / "again.hil.h5"
    assert command("calibrate", "fit", run, "--out", path, "--set", "nmpu.scale_frac=5").code == 0
    return path


def links_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {link["name"]: link for link in document["links"]}


def test_what_was_fitted_again_leads_to_the_counts_of_the_run(run: Path, refit: Path) -> None:
    done = command("data", "trace", refit, *ONE, "--among", run.parent, "--json")
    assert done.code == 0
    found = done.json
    of_run = command("data", "trace", run, *ONE, "--json").json
    again = links_of(found)["fitted again"]
    assert again["content_id"] == links_of(of_run)["coefficients"]["content_id"]
    assert again["facts"]["set"] == ["nmpu.scale_frac=5"]
    (parent,) = found["made_from"]
    assert parent["run"] == str(run)
    blocks = links_of(parent)["blocks"]
    assert blocks["state"] == "ok"
    assert (blocks["facts"]["blocks"][0]["first_vector"], len(blocks["facts"]["blocks"])) == (0, 12)
    assert found["sought"] is None


def test_a_trace_that_needs_another_run_says_which_and_how_to_name_it(refit: Path) -> None:
    done = command("data", "trace", refit, *ONE)
    raw = links_of(command("data", "trace", refit, *ONE, "--json").json)["readouts"]["content_id"]
    assert done.code == 0
    assert done.stdout.splitlines()[-3:] == [
        f"the way goes on in a run with the readouts {raw}",
        "  which is none of those given: say with --among FOLDER where to look for it",
        "every link that can be checked holds",
    ]


def test_what_was_fitted_again_tells_when_the_core_was_programmed(refit: Path) -> None:
    link = links_of(command("data", "trace", refit, *ONE, "--json").json)["programming"]
    assert link["content_id"].startswith("sha256:")


def test_a_replay_names_its_run_and_leads_to_it(run: Path, tmp_path: Path) -> None:
    replay = tmp_path / "replay"
    assert command("replay", run, "--out", replay, "--quiet").code == 0
    alone = command("data", "trace", replay, *ONE, "--json").json
    assert links_of(alone)["replayed"]["facts"]["run"] == str(run)
    assert alone["sought"]["run"] == str(run)
    assert alone["made_from"] == []
    (parent,) = command("data", "trace", replay, *ONE, "--among", run, "--json").json["made_from"]
    assert parent["run"] == str(run)


def test_a_broken_link_of_the_run_behind_ends_with_1(
    run: Path, refit: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    damaged = copy / "steps" / "core00_one_phase.h5"
    with h5py.File(damaged) as file:
        place = file["raw"].id.get_offset() + file.userblock_size
    content = bytearray(damaged.read_bytes())
    content[place] ^= 1
    damaged.write_bytes(content)
    done = command("data", "trace", refit, *ONE, "--among", copy)
    assert done.code == 1
    assert done.stdout.splitlines()[-1] == f"broken: readouts, file {damaged}"


def test_what_was_packed_without_readouts_names_whole_blocks_and_leads_to_them(
    run: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "small.hil.h5"
    assert command("data", "pack", run, "-o", packed, "--without-raw").code == 0
    found = command("data", "trace", packed, *ONE, "--among", run, "--json").json
    blocks = links_of(found)["blocks"]["facts"]["blocks"]
    # 128 and 64 vectors in blocks of 16.
    assert [(each["first_vector"], each["last_vector"]) for each in blocks[-2:]] == [
        (160, 175),
        (176, 191),
    ]
    assert found["made_from"][0]["run"] == str(run)
    shown = command("data", "trace", packed, *ONE).stdout
    assert "        vectors 176 to 191, " in shown


def test_the_unit_of_every_coefficient_is_told(run: Path) -> None:
    lines = command("data", "trace", run, *ONE).stdout.splitlines()
    assert lines[2].startswith("  a_p  held ")
    assert " LSB/count; held in products: " in lines[2]
    assert lines[2].endswith(" products/count")
    assert lines[4].endswith(" products")
    assert lines[5].startswith("  LSB: one output code, ")
    assert lines[5].endswith(" products (input code * weight code)")


def test_a_converted_run_leads_to_its_mapping_and_the_files_it_was_made_of(tmp_path: Path) -> None:
    files, mapping = write_recording(tmp_path), MAPPING
    convert(tmp_path, mapping, *files)
    trace = ("data", "trace", tmp_path / "run", "--core", 0, "--column", 1, "--json")
    links = links_of(command(*trace).json)
    assert links["mapping"]["state"] == "ok"
    assert links["mapping"]["content_id"] == hashlib.sha256(mapping.encode()).hexdigest()
    assert links["recording"]["state"] == "unchecked"
    assert links["recording"]["facts"]["files"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    held = command(*trace, "--among", tmp_path)
    assert links_of(held.json)["recording"]["state"] == "ok"
    files[0].write_text(files[0].read_text() + "\n")
    changed = command(*trace, "--among", tmp_path)
    assert changed.code == 1
    assert "counts.csv has the SHA-256" in links_of(changed.json)["recording"]["reason"]
    packed = tmp_path / "packed.hil.h5"
    assert command("data", "pack", tmp_path / "run", "-o", packed).code == 0
    assert (
        command("data", "split", tmp_path / "run", "--by", "core", "--out", tmp_path / "parts").code
        == 0
    )
    for other in (packed, tmp_path / "parts" / "core00"):
        found = command("data", "trace", other, *trace[3:]).json
        assert links_of(found)["mapping"]["state"] == "ok"


def test_an_export_that_several_runs_have_made_is_no_silent_guess(
    run: Path, tmp_path: Path
) -> None:
    exported = tmp_path / "chip.json"
    assert command("export", run, "--format", "json", "-o", exported).code == 0
    shutil.copytree(run, tmp_path / "copy")
    both = ("data", "trace", run, tmp_path / "copy", "--export", exported)
    assert command(*both).stdout.count("core00_one_phase\n") == 2
    refused = command(*both, *ONE)
    assert refused.code == 3
    assert f"is in 2 runs: {run}: core00_one_phase; {tmp_path / 'copy'}: core00_one_phase" in (
        refused.stderr
    )
    assert "give the one that is meant as PATHS" in refused.stderr
    assert f"hil data trace {run} --export ..." in refused.stderr
    assert command("data", "trace", run, "--export", exported, *ONE).code == 0


def test_a_file_beside_an_export_is_refused_with_the_one_to_give(run: Path, tmp_path: Path) -> None:
    for format_name, name, beside in (
        ("bin", "chip.bin", "chip.bin.json"),
        ("readmemh", "chip.mem", "chip.svh"),
    ):
        path = tmp_path / name
        assert command("export", run, "--format", format_name, "-o", path).code == 0
        refused = command("data", "trace", run, "--export", tmp_path / beside)
        assert refused.code == 3
        assert f"of {name}: give that file" in refused.stderr
        assert command("data", "trace", run, "--export", path).code == 0


def test_ids_may_have_a_prefix_and_be_given_twice(run: Path) -> None:
    of_run = links_of(command("data", "trace", run, *ONE, "--json").json)
    raw, campaign = of_run["readouts"]["content_id"], of_run["campaign"]["content_id"]
    ids = ("--id", f"sha256:{raw}", "--id", raw, "--id", raw[:12].upper(), "--id", campaign)
    done = command("data", "trace", run, *ids, "--json")
    assert done.code == 0
    assert [(each["what"], each["id"]) for each in done.json["found"]] == [
        ("readouts", raw),
        ("campaign", campaign),
    ]
    missing = command("data", "trace", run, "--id", raw, "--id", "0123456789")
    assert missing.code == 1
    assert missing.stdout.splitlines()[-1].endswith("has an id that begins with 0123456789")
    assert json.loads(done.stdout)["missing"] == []


def test_runs_of_two_mappings_that_were_merged_keep_both(tmp_path: Path) -> None:
    mappings = {mode: MAPPING.replace("one_phase", mode) for mode in ("one_phase", "four_phase")}
    for mode, mapping in mappings.items():
        (tmp_path / mode).mkdir()
        convert(tmp_path / mode, mapping, *write_recording(tmp_path / mode))
    runs = [tmp_path / mode / "run" for mode in mappings]
    assert command("data", "merge", *runs, "--out", tmp_path / "both").code == 0
    found = {
        mode: links_of(
            command(
                "data", "trace", tmp_path / "both", "--core", 0, "--column", 0, "--read-mode", mode,
                "--json",
            ).json
        )["mapping"]
        for mode in mappings
    }  # fmt: skip
    for mode, mapping in mappings.items():
        due = hashlib.sha256(mapping.encode()).hexdigest()
        assert (found[mode]["state"], found[mode]["content_id"]) == ("ok", due)
    assert {link["facts"]["file"] for link in found.values()} == {"mapping.toml", "mapping.2.toml"}
