"""Campaign, chip or both are killed at random moments: the result is that of a quiet campaign."""

import pytest

from benchmarks.kill import KillReport, run_kills

KILLS = 9


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> KillReport:
    return run_kills(tmp_path_factory.mktemp("kill"), kills=KILLS, steps=4, seed=11)


def test_killed_campaigns_end_with_the_result_of_one_that_was_not(report: KillReport) -> None:
    assert report.problems == []
    assert report.campaigns > 0


def test_everybody_was_killed_and_steps_went_on_after_a_stored_block(report: KillReport) -> None:
    assert sum(report.kills.values()) == KILLS
    assert set(report.kills) == {"campaign", "chip", "both"}
    assert report.continued_steps > 0
