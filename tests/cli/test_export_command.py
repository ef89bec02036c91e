"""`hil export` as a user runs it: every format, checked against the readouts it was made from."""

import json
from pathlib import Path

import pytest

import example_steps as example
from command_line import campaign_file, hil
from hil_datasets.run_directory import RunDirectory

EXAMPLE_MAP = Path(__file__).parents[2] / "examples" / "register_map.toml"
ALL = [
    "coefficients.aihwkit.json", "coefficients.bin", "coefficients.bin.json", "coefficients.csv",
    "coefficients.h", "coefficients.h5", "coefficients.hex", "coefficients.hex.json",
    "coefficients.json", "coefficients.mem", "coefficients.npz", "coefficients.svh",
    "coefficients.yaml",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    path = campaign_file(folder, campaign="cores = [1]")
    ended = hil("run", path, "--quiet")
    assert ended.code == 0, ended.stderr
    return folder / "run"


def test_all_formats_are_written_and_pass_their_checks(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("intelhex", reason="needs intelhex (extra exporters)")
    pytest.importorskip("yaml", reason="needs PyYAML (extra exporters)")
    ended = hil("export", run, "--all", "-o", tmp_path / "all", "--name", "left")
    assert ended.code == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ALL
    assert "aihwkit: has one scale per column where the NMPU has two" in ended.stderr
    assert "#define LEFT_TILES 2" in (tmp_path / "all" / "coefficients.h").read_text()
    again = hil("export", run, "--all", "-o", tmp_path / "all")
    assert again.code == 3
    assert "exists; use --force to replace it" in again.stderr
    assert "#define LEFT_TILES 2" in (tmp_path / "all" / "coefficients.h").read_text()


def test_what_was_written_is_told_in_json(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.csv"
    ended = hil(
        "export", run, "--format", "csv", "--out", out, "--read-mode", "one_phase", "--json"
    )
    assert ended.code == 0, ended.stderr
    told = ended.json
    assert told["files"] == {"csv": [str(out)]}
    (one,) = told["calibrations"]
    assert (one["core"], one["step"], one["visit"]) == (1, "core01_one_phase", 0)
    assert {row.split(",")[12] for row in out.read_text().splitlines()[1:]} == {
        one["coefficients_id"]
    }


def test_every_file_names_the_readouts_it_was_made_from(run: Path, tmp_path: Path) -> None:
    hil("export", run, "--all", "-o", tmp_path)
    document = json.loads((tmp_path / "coefficients.json").read_text())
    hashes = [tile["raw_sha256"] for tile in document["cores"]]
    origin = json.loads((tmp_path / "coefficients.bin.json").read_text())["coefficients_id"]
    for name in ALL:
        content = (tmp_path / name).read_bytes()
        if name.endswith(".hex"):
            content = content.replace(b"\n", b"")
            lines = [line[8:-2] for line in content.split(b":") if line]
            assert origin.upper().encode() in b"".join(lines)
        elif name.endswith(".bin"):
            assert content.startswith(bytes.fromhex(origin))
        elif name.endswith(".npz"):
            assert hashes[0].encode("utf-32-le") in content
        else:
            assert all(sha256.encode() in content for sha256 in hashes), name


def test_export_whose_residual_is_not_the_stored_one_stays_and_is_an_error(
    tmp_path: Path,
) -> None:
    run: RunDirectory = example.write_run(tmp_path / "run", example.ONE)
    out = tmp_path / "made_up.json"
    ended = hil("export", run.path, "--format", "json", "-o", out)
    assert ended.code == 5
    assert "failed its check, do not use it: core00_one_phase: " in ended.stderr
    assert "the residual of column 0 is" in ended.stderr
    assert json.loads(out.read_text())["format"] == "hil-coefficients"


def test_register_map_is_taken_from_the_file_that_is_named(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("intelhex", reason="needs intelhex (extra exporters)")
    other = tmp_path / "map.toml"
    other.write_text(EXAMPLE_MAP.read_text().replace("base = 0x4001_0000", "base = 0x4001_0004"))
    out = tmp_path / "chip.hex"
    ended = hil("export", run, "--format", "hex", "-o", out, "--map", other)
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "chip.hex.json").read_text())["last_address"] == 0x4002_9403
    wrong = other.read_text().replace("bits = 9", "bits = 90")
    other.write_text(wrong)
    refused = hil("export", run, "--format", "hex", "-o", tmp_path / "no.hex", "--map", other)
    assert refused.code == 3
    assert f"{other}:34: register[1].fields[2].bits" in refused.stderr
    assert not (tmp_path / "no.hex").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "say which format with --format NAME, or --all"),
        (["--all", "--format", "json"], 2, "say which format with --format NAME, or --all"),
        (["--format", "json", "--name", "2b"], 2, "'2b' must be 1 to 31 small letters"),
        (["--format", "hex", "--map", "nowhere.toml"], 3, "nowhere.toml: no such file"),
    ],
)
def test_wrong_command_is_refused(
    run: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    ended = hil("export", run, *arguments, "-o", tmp_path / "out")
    assert ended.code == code
    assert words in ended.stderr
    assert not (tmp_path / "out").exists()


def test_folder_inside_a_run_is_refused_before_it_is_made(run: Path) -> None:
    ended = hil("export", run, "--all", "-o", run / "exports")
    assert ended.code == 3
    assert "lies inside the run" in ended.stderr
    assert not (run / "exports").exists()
