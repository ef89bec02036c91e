"""``hil data merge``, ``split`` and ``info`` as a user meets them."""

from pathlib import Path

import pytest

import example_steps as example
from command_line import hil


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE).path


def test_run_is_split_and_merged_again(run: Path, tmp_path: Path) -> None:
    split = hil("data", "split", run, "--by", "core", "--out", tmp_path / "parts", "--json")
    assert split.code == 0
    parts = [part["run"] for part in split.json["parts"]]
    assert [part["steps"] for part in split.json["parts"]] == [
        ["core00_one_phase"],
        ["core02_one_phase"],
    ]
    merged = hil("data", "merge", *parts, "--out", tmp_path / "again")
    assert (merged.code, merged.stdout) == (0, f"{tmp_path / 'again'}: 2 steps of 2 runs\n")
    for name in ("core00_one_phase.h5", "core02_one_phase.h5"):
        written = (tmp_path / "again" / "steps" / name).read_bytes()
        assert written == (run / "steps" / name).read_bytes()
    assert hil("data", "verify", tmp_path / "again").code == 0


def test_run_is_not_merged_with_itself(run: Path, tmp_path: Path) -> None:
    refused = hil("data", "merge", run, run, "--out", tmp_path / "out")
    assert refused.code == 5
    assert f"is the same run as {run}" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_info_tells_sizes_by_kind_and_ids(run: Path) -> None:
    told = hil("data", "info", run, "--json").json
    sizes = {name: path.stat().st_size for name, path in (
        ("index", run / "campaign.h5"), ("journal", run / "journal.jsonl"),
    )}  # fmt: skip
    assert {name: told["by_kind"][name]["bytes"] for name in sizes} == sizes
    steps = sum(path.stat().st_size for path in (run / "steps").iterdir())
    assert told["by_kind"]["step files"] == {"files": 2, "bytes": steps}
    assert (told["steps"], told["vectors"]) == ({"calibrate": 2}, 12)
    assert told["chip"] == "Acme AIMC-4x3, serial 42, firmware 1.0"


def test_info_takes_step_file_packed_file_and_index(run: Path, tmp_path: Path) -> None:
    step = hil("data", "info", run / "steps" / "core00_one_phase.h5", "--json").json
    assert step["raw_sha256"] == "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
    packed = tmp_path / "run.hil.h5"
    assert hil("data", "pack", run, "-o", packed, "--portable").code == 0
    told = hil("data", "info", packed, "--json").json
    # Of each step 12 + 24 + 72 + 72 bytes: weights, inputs, counts, expected.
    assert (told["kind"], told["readout_bytes"]) == ("packed file", 360)
    index = hil("data", "info", run / "campaign.h5", "--json").json
    assert (index["kind"], index["steps"]) == ("index", 2)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("info", "{run}/journal.jsonl"), 5, "is no finished packed file"),
        (("info", "{run}/none"), 5, "no such folder"),
        (("merge", "{run}", "--out", "x"), 5, "give at least two runs"),
        (("split", "{run}", "--out", "x"), 2, "Missing option '--by'"),
    ],
)
def test_wrong_command_is_refused(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    told = hil("data", *(word.format(run=run) for word in arguments), cwd=tmp_path)
    assert told.code == code
    assert words in told.stderr
    assert "Traceback" not in told.stderr
