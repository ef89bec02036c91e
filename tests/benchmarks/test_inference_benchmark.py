"""The benchmark of inference runs, and its table compares what it says."""

import pytest

from benchmarks.timing import Timed, time_in_turns

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from benchmarks.inference import inference_contenders, inference_table  # noqa: E402


def test_every_correction_takes_its_turn() -> None:
    timed = time_in_turns(list(inference_contenders(32)), 1)
    names = [name for name in timed if not name.startswith("aihwkit")]
    assert names == [
        "bare float32 product",
        "measured transfer, none",
        "measured transfer, global",
        "measured transfer, float",
        "measured transfer, fp16",
        "measured transfer, nmpu",
        "mock chip's physics, nmpu",
    ]
    assert all(entry.work == 32 for entry in timed.values())


def test_table_gives_rates_as_ratios_to_product_and_rival() -> None:
    timed = {
        name: Timed(name=name, work=1000.0, seconds=(seconds,))
        for name, seconds in (
            ("bare float32 product", 0.01),
            ("measured transfer, nmpu", 0.02),
            ("aihwkit torch tile, as it comes", 0.08),
        )
    }
    heading, *lines = inference_table(timed)
    assert heading.split() == ["ms", "MVM/s", "of", "bare", "x", "as", "it", "comes"]
    assert lines[1].split()[-4:] == ["20.00", "50,000", "0.500", "4.00"]


def test_table_says_that_the_rival_is_absent() -> None:
    timed = {"bare float32 product": Timed(name="bare float32 product", work=1.0, seconds=(1.0,))}
    assert inference_table(timed)[-1] == "aihwkit torch tile: absent (not installed)"
