"""The `[guards]` of a campaign file: everything wrong is told with its key and line."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from command_line import PROJECT, campaign_file
from hil.campaign.config import load_campaign
from hil.campaign.guards_config import GuardsSection, KnownAnswerSection
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
                "guards.readings.chamber.temprature: no instrument has the quantity "
                "'chamber.temprature': there are chamber.temperature  "
                '[[guards.readings."chamber.temprature"]]'
            ),
        ),
        (
            '[guards.readings."chamber.temperature"]\nhighest = 95.0',
            (
                "guards.readings.chamber.temperature.highest: is 95: a reading outside -50 to 90 "
                "ends the campaign at once, so the guard would never pause it; must be within  "
                "[highest = 95.0]"
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
