"""Includes, environment and --set: what stands in the end, and where it is from."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.campaign.config.load import Campaign, load_campaign, load_stored_campaign
from hil.campaign.config.resolved import canonical_json, resolved_path, store_resolved
from hil.campaign.config.settings import value_from_text
from hil.core.errors import ConfigError, DatasetError
from hil.core.toml_file import Place
from hil.core.toml_lines import find_key_lines
from hil_datasets.run_directory import create_run

CAMPAIGN = """schema_version = 1
include = ["lab/bench.toml"]

[campaign]
title = "Test"

[instruments.chamber.quantities.temperature]
value = 40
upper = 60
"""
BENCH = """[device]
resource = "mock://chip.toml?seed=3"
timeout_s = 20

[instruments.chamber]
resource = "mock://chamber"

[instruments.chamber.quantities.temperature]
query = "TEMP?"
set = "TEMP:SETP {value}"
lower = -20
upper = 85
"""
UPPER = ("instruments", "chamber", "quantities", "temperature", "upper")


def load(
    folder: Path,
    *assignments: str,
    campaign: str = CAMPAIGN,
    bench: str = BENCH,
    environment: dict[str, str] | None = None,
) -> Campaign:
    (folder / "lab").mkdir(exist_ok=True)
    (folder / "lab" / "bench.toml").write_text(bench)
    (folder / "c.toml").write_text(campaign)
    return load_campaign(folder / "c.toml", assignments=assignments, environment=environment or {})


def test_bench_gives_its_devices_and_the_campaign_adds_to_them(tmp_path: Path) -> None:
    config = load(tmp_path).config
    assert config.device.timeout_s == 20.0
    temperature = config.instruments["chamber"].quantities["temperature"]
    assert (temperature.value, temperature.lower, temperature.query) == (40.0, -20.0, "TEMP?")


def test_narrower_limit_of_the_campaign_stands(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.config.instruments["chamber"].quantities["temperature"].upper == 60.0
    assert loaded.sources is not None
    assert loaded.sources.layers.place_of(UPPER) == Place(str(tmp_path / "c.toml"), 9)


def test_of_two_benches_the_narrower_limit_stands(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(
        "[instruments.chamber.quantities.temperature]\nlower = 0\nupper = 90\n"
    )
    text = CAMPAIGN.replace("include = [", 'include = ["other.toml", ').replace("upper = 60\n", "")
    temperature = load(tmp_path, campaign=text).config.instruments["chamber"].quantities
    assert (temperature["temperature"].lower, temperature["temperature"].upper) == (0.0, 85.0)


def test_relative_file_of_a_bench_starts_from_the_bench(tmp_path: Path) -> None:
    assert load(tmp_path).config.device.resource == "mock://lab/chip.toml?seed=3"


def test_same_bench_by_two_ways_is_no_contradiction(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('include = ["lab/bench.toml"]\n')
    text = CAMPAIGN.replace("include = [", 'include = ["other.toml", ')
    assert load(tmp_path, campaign=text).config.device.timeout_s == 20.0


def test_option_stands_over_environment_and_environment_over_files(tmp_path: Path) -> None:
    environment = {"HIL_SET__DEVICE__TIMEOUT_S": "3", "HIL_SET__vectors__block": "7"}
    loaded = load(tmp_path, "device.timeout_s=4", environment=environment)
    assert (loaded.config.device.timeout_s, loaded.config.vectors.block) == (4.0, 7)
    assert loaded.sources is not None
    layers = loaded.sources.layers
    assert layers.place_of(("device", "timeout_s")) == Place("--set", None)
    assert layers.place_of(("vectors", "block")) == Place("HIL_SET__vectors__block", None)
    assert layers.place_of(("device", "resource")) == Place(str(tmp_path / "lab/bench.toml"), 2)


def test_another_bench_can_be_taken_with_set(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(BENCH.replace("timeout_s = 20", "timeout_s = 9"))
    assert load(tmp_path, 'include=["b.toml"]').config.device.timeout_s == 9.0


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("device.timeuot_s=4", "device.timeuot_s: unknown key; did you mean 'timeout_s'?"),
        ("device.timeout_s=fast", "device.timeout_s: Input should be a valid number, got 'fast'"),
        ("device.timeout_s", "'device.timeout_s': must be KEY.PATH=VALUE, such as "),
        ("=4", "'=4': must be KEY.PATH=VALUE"),
        ("a\nb=4", "'a\\nb=4': must be KEY.PATH=VALUE"),
        ("campaign.title=2026-01-31", "campaign.title: is a date"),
        (
            "instruments.chamber.quantities.temperature.upper=120",
            (
                "instruments.chamber.quantities.temperature.upper: is 120: must be at most the "
                "hard limit 85, set in "
            ),
        ),
        ("device.resource.host=1", "device.resource: Input should be a valid string"),
    ],
    ids=["unknown", "type", "no-value", "no-key", "two-lines", "date", "limit", "below-text"],
)
def test_wrong_setting_is_named(assignment: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, assignment)
    first = caught.value.problems[0]
    assert first.source == "--set"
    assert problem in str(first)


def test_setting_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set: device\.timeout_s: is given twice"):
        load(tmp_path, "device.timeout_s=1", "device.timeout_s=2")


def test_environment_variable_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HIL_SET__DEVICE____X: names no key"):
        load(tmp_path, environment={"HIL_SET__DEVICE____X": "1"})


def test_what_a_bench_only_reads_cannot_be_made_settable(tmp_path: Path) -> None:
    bench = BENCH.replace('set = "TEMP:SETP {value}"\nlower = -20\nupper = 85\n', "")
    text = CAMPAIGN.replace("upper = 60", 'set = "TEMP:SETP {value}"\nlower = 0\nupper = 60')
    with pytest.raises(ConfigError, match=r"can be set: .*bench\.toml:8 lets it be read only"):
        load(tmp_path, campaign=text, bench=bench)


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("set=TEMP:RATE {value}", "set is 'TEMP:RATE {value}': "),
        ("query=HUM?", "query is 'HUM?': "),
        ("read_back=HUM?", "read_back is 'HUM?': "),
        ("field=2", "field is 2: "),
    ],
)
def test_commands_of_a_limited_quantity_cannot_be_changed_from_outside_its_bench(
    assignment: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="only the bench file may change it") as caught:
        load(tmp_path, f"instruments.chamber.quantities.temperature.{assignment}")
    assert problem in str(caught.value)
    assert "bench.toml:8 has " in str(caught.value)


@pytest.mark.parametrize(
    "addition",
    [
        '[instruments.other]\nresource = "mock://chamber"\n[instruments.other.quantities.again]\n',
        "[instruments.chamber.quantities.again]\n",
    ],
    ids=["resource", "command"],
)
def test_limits_of_a_bench_cannot_be_passed_by_a_second_way_to_set(
    addition: str, tmp_path: Path
) -> None:
    again = 'set = ":temperature:SETPoint {value}"\nquery = "TEMP?"\nlower = 0\nupper = 150\n'
    with pytest.raises(ConfigError, match=r"its limits would not hold|one quantity only may"):
        load(tmp_path, campaign=f"{CAMPAIGN}{addition}{again}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("5.0", 5.0),
        ("true", True),
        ("[0, 1]", [0, 1]),
        ("mock://quickstart", "mock://quickstart"),
        ('"5"', "5"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
        ("[" * 3000, "[" * 3000),
    ],
)
def test_text_is_a_toml_value_or_itself(text: str, value: object) -> None:
    assert value_from_text(text) == value
    assert type(value_from_text(text)) is type(value)


def test_hash_of_what_is_said_does_not_depend_on_the_words(tmp_path: Path) -> None:
    whole = load(tmp_path)
    same = CAMPAIGN.replace("value = 40", "value = 4e1").replace("\n\n", "\n# a remark\n")
    other = load(tmp_path, campaign=same)
    assert other.sha256 != whole.sha256
    assert other.resolved_sha256 == whole.resolved_sha256
    assert load(tmp_path, "campaign.seed=1").resolved_sha256 != whole.resolved_sha256


def test_hash_of_a_campaign_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """Runs hold this hash: a new key with a default would keep them from being replayed."""
    path = tmp_path / "old.toml"
    path.write_text(
        'schema_version = 1\n[campaign]\ntitle = "Old"\n[device]\nresource = "mock://quickstart"\n'
    )
    assert load_campaign(path).resolved_sha256 == (
        "7bbfef44d7b9b8511fa8b2a156929ab010e7bd4ab80d131d17bd4815da72f888"
    )


def test_canonical_json_is_sorted_and_without_blanks(tmp_path: Path) -> None:
    text = canonical_json(load(tmp_path).config).decode()
    assert text.startswith('{"calibration":{"dead_r_squared":0.1,"glitch_share":0.005,')
    assert '"include"' not in text
    assert json.loads(text)["device"]["timeout_s"] == 20.0


def test_stored_configuration_needs_neither_bench_nor_settings(tmp_path: Path) -> None:
    campaign = load(tmp_path, "vectors.block=5")
    run = create_run(tmp_path / "run", campaign.content)
    run.journal.append(
        "start", utc="2026-01-31T00:00:00Z", resolved_sha256=campaign.resolved_sha256
    )
    store_resolved(run, campaign.config)
    (tmp_path / "lab" / "bench.toml").unlink()
    stored = load_stored_campaign(run)
    assert stored.config.vectors.block == 5
    assert stored.resolved_sha256 == campaign.resolved_sha256
    assert stored.sha256 == campaign.sha256


@pytest.mark.parametrize("change", [b" ", b"{"], ids=["changed", "broken"])
def test_stored_configuration_that_was_changed_is_refused(change: bytes, tmp_path: Path) -> None:
    campaign = load(tmp_path)
    run = create_run(tmp_path / "run", campaign.content)
    run.journal.append(
        "start", utc="2026-01-31T00:00:00Z", resolved_sha256=campaign.resolved_sha256
    )
    store_resolved(run, campaign.config)
    resolved_path(run).write_bytes(resolved_path(run).read_bytes() + change)
    with pytest.raises(DatasetError, match="was changed since the run"):
        load_stored_campaign(run)


KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
VALUES = st.sampled_from(
    ["1", "[1, 2]", "'x # y'", '"a\\"]"', '"""\na\n"""', "{ a = [1], b.c = 2 }", "[\n 1,\n #]\n 2]"]
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8, unique_by=lambda pair: pair[0]))
def test_every_key_is_found_on_the_line_it_was_written_on(pairs: list[tuple[str, str]]) -> None:
    text, wanted = "", {}
    for key, value in pairs:
        wanted[(key,)] = text.count("\n") + 1
        text += f"{json.dumps(key)} = {value} # a = 1\n\n"
    lines = find_key_lines(text).lines
    assert {path: line for path, line in lines.items() if len(path) == 1} == wanted


def test_variable_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    text = b"b\xffd".decode("utf-8", "surrogateescape")  # as the system's environment has it
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environment={"HIL_SET__CAMPAIGN__TITLE": text})
    assert str(caught.value) == "HIL_SET__CAMPAIGN__TITLE: holds bytes that are no UTF-8"


def test_assignment_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    text = b"campaign.title=b\xffd".decode("utf-8", "surrogateescape")
    with pytest.raises(ConfigError, match=r"--set: 'campaign\.title=b"):
        load(tmp_path, text)


def test_endless_key_of_a_setting_is_refused_at_once(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            ".".join("a" * 30_000) + "=1",
            environment={"HIL_SET__" + "__".join("A" * 33): "1"},
        )
    assert time.monotonic() - began_s < 3
    in_environment, assigned = sorted(str(caught.value).splitlines()[1:])
    assert "must be KEY.PATH=VALUE" in in_environment + assigned
    assert "names a key of 33 levels: must be at most 32" in in_environment + assigned


def test_included_file_that_is_too_large_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bench\.toml: has 1048577 bytes or more: must be at"):
        load(tmp_path, bench="#" * ((1 << 20) + 1))
