import json
from pathlib import Path

import pytest

from command_line import PROJECT, QUICKSTART, campaign_file, hil
from hil.campaign.config.load import load_campaign
from hil.campaign.config.schema import bench_schema, campaign_schema

jsonschema = pytest.importorskip("jsonschema", reason="the test extra has it")
tomlkit = pytest.importorskip("tomlkit")


def is_valid(document: object, schema: dict[str, object]) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


def test_check_of_a_good_file_says_its_hash(tmp_path: Path) -> None:
    path = campaign_file(tmp_path)
    ended = hil("config", "check", path)
    wanted = load_campaign(path, environment={}).resolved_sha256
    assert ended.stdout == f"{path}: no problem; resolved SHA-256 {wanted}\n"


def test_check_as_json_has_every_problem_with_its_line(tmp_path: Path) -> None:
    path = campaign_file(tmp_path, campaign="seeds = 1", vectors="block = 0")
    ended = hil("config", "check", path, "--json", "--set", "device.timeout_s=0")
    assert ended.code == 3
    assert ended.json == {
        "is_valid": False,
        "problems": [
            {
                "source": str(path),
                "line": 5,
                "key": "campaign.seeds",
                "message": "unknown key; did you mean 'seed'?",
            },
            {
                "source": "--set",
                "line": None,
                "key": "device.timeout_s",
                "message": "Input should be greater than 0, got 0",
            },
            {
                "source": str(path),
                "line": 10,
                "key": "vectors.block",
                "message": "Input should be greater than or equal to 1, got 0",
            },
        ],
    }


def test_what_is_shown_can_be_run_and_says_the_same(tmp_path: Path) -> None:
    path = campaign_file(
        tmp_path,
        campaign='cores = [0, 2]\nworkload = "a \\"b\\".npz"',
        rest=(
            '[instruments.chamber]\nresource = "mock://chamber"\nstart = ["*CLS"]\n'
            '[instruments.chamber.quantities.temperature]\nquery = "TEMP?"\nunit = "\\u00b0C"\n'
        ),
    )
    ended = hil("config", "show", path, "--resolved", "--set", "device.timeout_s=3")
    (tmp_path / "shown.toml").write_text(ended.stdout)
    shown = load_campaign(tmp_path / "shown.toml", environment={})
    wanted = load_campaign(path, assignments=["device.timeout_s=3"], environment={})
    assert shown.config == wanted.config
    assert "timeout_s = 3.0 # --set\n" in ended.stdout
    assert "zeros = 0.3 # default\n" in ended.stdout
    assert f"calibration = 64 # {path}:11\n" in ended.stdout


def test_without_resolved_only_what_is_set_is_shown(tmp_path: Path) -> None:
    ended = hil("config", "show", campaign_file(tmp_path), "--json")
    assert ended.json["config"]["vectors"] == {"calibration": 64, "verification": 32}
    assert "nmpu" not in ended.json["config"]
    assert ended.json["origins"]["vectors.calibration"].endswith("campaign.toml:10")


def test_schema_takes_every_example() -> None:
    schema = json.loads(hil("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    examples = [QUICKSTART, *sorted((PROJECT / "examples").rglob("*campaign*.toml"))]
    for path in examples:
        assert is_valid(tomlkit.parse(path.read_text()).unwrap(), schema), path


@pytest.mark.parametrize(
    "name",
    [
        "type_text_for_integer",
        "unknown_key",
        "unknown_key_of_format",
        "unknown_section",
        "unknown_read_mode",
        "missing_title",
        "range_zeros_of_one",
        "range_no_cores",
    ],
)
def test_schema_refuses_what_an_editor_should_mark(name: str) -> None:
    path = PROJECT / "tests" / "campaign" / "bad_configs" / f"{name}.toml"
    assert not is_valid(tomlkit.parse(path.read_text()).unwrap(), campaign_schema())


def test_bench_schema_takes_a_part_of_a_device_and_no_vectors() -> None:
    schema = bench_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert is_valid({"device": {"timeout_s": 3.0}}, schema)
    assert not is_valid({"vectors": {"block": 3}}, schema)


def test_every_key_has_its_meaning_in_the_schema() -> None:
    device = campaign_schema()["$defs"]["DeviceSection"]["properties"]
    assert device["timeout_s"]["description"] == "How long an answer may take."


def evaluation_file(folder: Path, text: str) -> Path:
    path = folder / "digits.toml"
    path.write_text(f"schema_version = 1\n{text}")
    return path


def test_check_of_a_file_for_hil_evaluate_checks_it_as_one(tmp_path: Path) -> None:
    good = evaluation_file(tmp_path, '[network]\nmodel = "demo"\n')
    ended = hil("config", "check", good)
    assert ended.stdout == f"{good}: a file for hil evaluate, no problem\n"
    assert hil("config", "check", good, "--json").json == {
        "is_valid": True, "problems": [], "resolved_sha256": None,
    }  # fmt: skip
    bad = evaluation_file(tmp_path, '[network]\nmodel = "demo"\n[chip]\ndrivers = "x"\n')
    ended = hil("config", "check", bad)
    assert ended.code == 3
    assert f"error: {bad} (a file for hil evaluate):5: chip.drivers: unknown key" in ended.stderr


def test_check_of_a_file_for_hil_evaluate_looks_for_the_files_it_names(tmp_path: Path) -> None:
    path = evaluation_file(tmp_path, '[network]\nmodel = "mlp"\nweights = "none.pt"\n')
    ended = hil("config", "check", path)
    assert ended.code == 3
    assert f"{tmp_path / 'none.pt'}: no such file or folder" in ended.stderr
    ended = hil("config", "check", path, "--set", "network.model=demo")
    assert ended.code == 3
    assert "--set: a file for hil evaluate takes none" in ended.stderr


def mapping_file(folder: Path, *more: str) -> Path:
    path = folder / "m.toml"
    given = [
        'schema_version = 1\ntitle = "Foreign"\nform = "counts"',
        '[chip]\nmanufacturer = "Lab"\nmodel = "X"\nserial = "7"',
        '[measured]\nutc = "2025-01-31T12:00:00+00:00"\ntemperature_c = 25.0',
        '[steps]\ncore = 0\nread_mode = "four_phase"',
        '[counts]\nrule = "pair"\narray = "c"\naxes = ["vector", "polarity", "column"]',
        '[inputs]\narray = "x"\naxes = ["vector", "row"]',
        '[weights]\narray = "w"\naxes = ["row", "column"]',
    ]
    path.write_text("\n".join([*given, *more]) + "\n")
    return path


def test_check_of_a_mapping_file_checks_it_as_one(tmp_path: Path) -> None:
    path = mapping_file(tmp_path)
    ended = hil("config", "check", path)
    assert ended.stdout == f"{path}: a file for hil data convert, no problem\n", ended.stderr
    ended = hil("config", "check", path, "--set", "title=x")
    assert (ended.code, "--set: a file for hil data convert takes none" in ended.stderr) == (
        3,
        True,
    )
    ended = hil("config", "check", mapping_file(tmp_path, "[csv]", "delimeter = ','"))
    assert ended.code == 3
    assert ended.stderr.startswith(f"error: {path}:25: csv.delimeter: unknown key")
    assert ended.stderr.count("error:") == 1


def test_mapping_file_is_no_campaign_and_a_campaign_no_mapping(tmp_path: Path) -> None:
    path = mapping_file(tmp_path)
    ended = hil("run", path)
    assert ended.code == 3
    assert ended.stderr == f"error: {path}: is a file for hil data convert, not for hil run\n"
    campaign = campaign_file(tmp_path)
    ended = hil("data", "convert", path, "--map", campaign, "--out", tmp_path / "run")
    assert ended.code == 3
    assert ended.stderr == f"error: {campaign}: is a file for hil run, not for hil data convert\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_file_for_hil_evaluate_is_no_campaign(command: str, tmp_path: Path) -> None:
    path = evaluation_file(tmp_path, '[network]\nmodel = "demo"\n')
    ended = hil(command, path)
    assert ended.code == 3
    assert ended.stderr == f"error: {path}: is a file for hil evaluate, not for hil run\n"


def test_campaign_is_no_file_for_hil_evaluate(tmp_path: Path) -> None:
    path = campaign_file(tmp_path)
    ended = hil("evaluate", path)
    assert ended.code == 3
    assert ended.stderr == f"error: {path}: is a file for hil run, not for hil evaluate\n"
