"""The `[guards]` of a campaign file: everything wrong is told with its key and line."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from command_line import PROJECT, campaign_file
from hil.campaign.config.guards import GuardsSection, KnownAnswerSection
from hil.campaign.config.load import load_campaign
from hil.core.errors import ConfigError

INSTRUMENTS = """
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
query = "TEMP?"
reading_lower = -50.0
reading_upper = 90.0
"""


def problem_of(folder: Path, guards: str) -> str:
    path = campaign_file(folder, rest=f"{INSTRUMENTS}{guards}")
    with pytest.raises(ConfigError) as caught:
        load_campaign(path, environment={})
    (problem,) = caught.value.problems
    assert problem.line is not None
    line = path.read_text().splitlines()[problem.line - 1]
    return f"{problem}  [{line}]"


@pytest.mark.parametrize(
    ("guards", "expected"),
    [
        (
            '[guards.readings."chamber.temprature"]\nhighest = 60.0',
            (
                'guards.readings."chamber.temprature": no instrument has the quantity '
                "'chamber.temprature': there are chamber.temperature  "
                '[[guards.readings."chamber.temprature"]]'
            ),
        ),
        (
            '[guards.readings."chamber.temperature"]\nhighest = 95.0',
            (
                'guards.readings."chamber.temperature".highest: is 95: must be within -50 to 90, '
                "because a reading outside ends the campaign at once, so the guard would never "
                "pause it  [highest = 95.0]"
            ),
        ),
        (
            "[guards.known_answer]\nevery_vectors = 64",
            (
                "guards.known_answer.every_vectors: is 64: must be at least vectors.block, 128, "
                "because checks lie between blocks  [every_vectors = 64]"
            ),
        ),
        (
            "[guards]\nchip_temperature_c = {lowest = 70.0, highest = 10.0}",
            (
                "guards.chip_temperature_c: lowest is 70: must be at most highest, 10  "
                "[chip_temperature_c = {lowest = 70.0, highest = 10.0}]"
            ),
        ),
        (
            "[guards]\nchip_temperature_c = {}",
            (
                "guards.chip_temperature_c: limits nothing: give lowest, highest or both  "
                "[chip_temperature_c = {}]"
            ),
        ),
    ],
    ids=["unknown_quantity", "beyond_hard_limit", "shorter_than_block", "crossed", "no_limit"],
)
def test_wrong_guard_is_told_with_key_and_line(tmp_path: Path, guards: str, expected: str) -> None:
    assert problem_of(tmp_path, guards) == expected


SWEPT = """
[instruments.oven]
resource = "mock://supply"
[instruments.oven.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
lower = -20.0
upper = 85.0
value = 60.0
"""


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ('[[sweep]]\nquantity = "oven.temperature"\nvalues = [25.0, 40.0, 60.0]', "40, 60"),
        ("", "60"),
    ],
    ids=["swept", "set"],
)
def test_guard_that_would_stop_what_the_campaign_itself_sets_is_refused(
    tmp_path: Path, sweep: str, values: str
) -> None:
    guard = '[guards.readings."oven.temperature"]\nhighest = 35.0'
    said = problem_of(tmp_path, f"{SWEPT}{sweep}\n{guard}")
    assert said.startswith(
        'guards.readings."oven.temperature": allows at most 35, but the campaign sets '
        f"oven.temperature to {values}: the guard would stop it there"
    )
    assert said.endswith('[[guards.readings."oven.temperature"]]')


def test_unknown_key_gets_a_suggestion(tmp_path: Path) -> None:
    said = problem_of(tmp_path, "[guards]\ndisk_free_mb = 5")
    assert said.startswith("guards.disk_free_mb: unknown key; did you mean 'disk_free_mib'?")


def test_campaign_without_guards_has_none(tmp_path: Path) -> None:
    assert load_campaign(campaign_file(tmp_path), environment={}).config.guards is None


@pytest.mark.parametrize(
    ("heading", "section"),
    [("## `[guards]`", GuardsSection), ("### `[guards.known_answer]`", KnownAnswerSection)],
    ids=["guards", "known_answer"],
)
def test_campaign_file_page_names_every_key(heading: str, section: type[BaseModel]) -> None:
    page = (PROJECT / "docs" / "reference" / "campaign-file.md").read_text()
    part = page.split(heading)[1].split("\n##")[0]
    documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
    assert documented == list(section.model_fields)
