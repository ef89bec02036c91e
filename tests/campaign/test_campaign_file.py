"""Single values of a campaign file that no run could use."""

from pathlib import Path

import pytest

from hil.campaign.config.load import load_campaign
from hil.core.errors import ConfigError
from hil_calibration.quality import QualityLimits

CAMPAIGN = """schema_version = 1
[campaign]
title = "Test"
{campaign}
[device]
resource = "mock://quickstart"
{device}
"""


def problems_of(folder: Path, *, campaign: str = "", device: str = "") -> list[str]:
    text = CAMPAIGN.format(campaign=campaign, device=device)
    if "title" in campaign:
        text = text.replace('title = "Test"\n', "")
    if "resource" in device:
        text = text.replace('resource = "mock://quickstart"\n', "")
    (folder / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_campaign(folder / "c.toml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("campaign", "title", "a\\u001b[2Jb"),
        ("campaign", "title", "a\\u009bb"),
        ("campaign", "out", "runs/\\u0000"),
        ("campaign", "out", "a\\nb"),
        ("campaign", "workload", "layer\\u0000.npz"),
        ("device", "resource", "mock://a\\u0000.toml"),
        ("device", "resource", "TCPIP0::a\\u0000::5025::SOCKET"),
        ("device", "resource", "mock://quickstart?truth=a%00b"),
        ("device", "resource", "mock://quickstart?truth=a%1Bb"),
    ],
)
def test_control_character_is_refused_at_its_key(
    section: str, key: str, value: str, tmp_path: Path
) -> None:
    (problem,) = problems_of(tmp_path, **{section: f'{key} = "{value}"'})
    assert problem.startswith(f"{section}.{key}: must be without control characters")
    assert problem.isprintable()


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("device", "timeout_s"),
        ("vectors", "zeros"),
        ("calibration", "headroom"),
        ("calibration", "dead_r_squared"),
        ("calibration", "poor_fit_ratio"),
        ("calibration", "saturated_share"),
        ("calibration", "largest_condition"),
        ("calibration", "glitch_share"),
        ("calibration", "glitch_sigmas"),
    ],
)
def test_number_that_is_not_finite_is_refused(
    section: str, key: str, number: str, tmp_path: Path
) -> None:
    line = f"{key} = {number}" if section == "device" else f"[{section}]\n{key} = {number}"
    (problem,) = problems_of(tmp_path, device=line)
    assert problem.startswith(f"{section}.{key}: Input should be ")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("campaign", f'title = "{"x" * 1_000_000}"'),
        ("campaign", f'out = "{{{"x" * 1_000_000}"'),
        ("campaign", f"cores = [{'0, ' * 300_000}]"),
        ("device", f'resource = "{"x" * 1_000_000}"'),
        ("device", f'resource = "mock://quickstart?seed={"x" * 1_000_000}"'),
        ("device", f'resource = "mock://quickstart?{"x" * 1_000_000}=1"'),
    ],
    ids=["title", "out", "cores", "resource", "seed", "option"],
)
def test_message_about_a_megabyte_is_short(section: str, line: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, **{section: line})
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("largest_condition", "0.9", "greater than or equal to 1"),
        ("largest_condition", "1e7", "less than or equal to 1000000"),
        ("glitch_share", "-0.1", "greater than or equal to 0"),
        ("glitch_share", "1.1", "less than or equal to 1"),
        ("glitch_sigmas", "0", "greater than 0"),
    ],
)
def test_limit_out_of_its_range_is_refused(key: str, value: str, rule: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, device=f"[calibration]\n{key} = {value}")
    assert problem.startswith(f"calibration.{key}: Input should be {rule}")


def test_limits_of_the_file_reach_the_calibration(tmp_path: Path) -> None:
    lines = """[calibration]
dead_r_squared = 0.2
poor_fit_ratio = 4
saturated_share = 0.01
largest_condition = 50
glitch_share = 0.02
glitch_sigmas = 6.5
"""
    (tmp_path / "c.toml").write_text(CAMPAIGN.format(campaign="", device=lines))
    assert load_campaign(tmp_path / "c.toml").config.calibration.limits == QualityLimits(
        dead_r_squared=0.2,
        poor_fit_ratio=4.0,
        saturated_share=0.01,
        largest_condition=50.0,
        glitch_share=0.02,
        glitch_sigmas=6.5,
    )
