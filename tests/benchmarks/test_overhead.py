"""The overhead benchmark measures what it says; how fast is nobody's claim here."""

from pathlib import Path

from benchmarks.overhead import CampaignTimes, UnpacedResult, measure_paced, measure_unpaced
from benchmarks.stages import StageTimes


def test_paced_campaign_takes_at_least_the_time_of_its_device(tmp_path: Path) -> None:
    result = measure_paced(tmp_path, vector_s=0.004, cores=1, vectors=64)
    assert result.device_s == 0.64  # two read modes, 64 + 16 vectors, 4 ms each
    assert 0.64 <= result.times.steps_s < result.times.process_s
    assert result.overhead > result.steps_overhead >= 1


def test_every_stage_of_an_unpaced_campaign_takes_processor_time(tmp_path: Path) -> None:
    result = measure_unpaced(tmp_path, cores=1, vectors=256, repeats=1)
    assert result.vectors == 640  # two read modes, 256 + 64 vectors
    stages = result.stages
    assert min(stages.acquire_s, stages.fit_s, stages.store_s) > 0
    assert result.share > 0


def test_share_is_the_processor_time_of_the_stages_over_the_time_of_the_steps() -> None:
    result = UnpacedResult(
        vectors=640,
        times=CampaignTimes(process_s=6.0, steps_s=4.0),
        stages=StageTimes(acquire_s=1.5, fit_s=1.0, store_s=0.5),
    )
    assert result.share == 0.75
