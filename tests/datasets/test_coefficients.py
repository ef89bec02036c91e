from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.reader import read_step

ReadStep = Callable[..., StepRecord]


@pytest.fixture
def step(tmp_path: Path) -> ReadStep:
    def write(key: StepKey = example.ONE, **changes: Any) -> StepRecord:
        path = tmp_path / f"{key.name}.h5"
        example.write_step(path, key, **changes)
        return read_step(path)

    return write


def test_tiles_are_sorted_and_keep_their_own_shift(step: ReadStep) -> None:
    other = replace(example.with_nmpu(shift=3), output_lsb=2.5)
    coefficients = collect_coefficients(
        "run", [step(example.OTHER_CORE, conclusion=other), step(), step(example.FOUR)]
    )
    assert [(tile.key.name, tile.shift, tile.output_lsb) for tile in coefficients.tiles] == [
        ("core00_four_phase", 1, 8.5),
        ("core00_one_phase", 1, 8.5),
        ("core02_one_phase", 3, 2.5),
    ]


def test_registers_flags_and_origin_are_those_of_the_step(step: ReadStep) -> None:
    record = step()
    coefficients = collect_coefficients("run", [record])
    (tile,) = coefficients.tiles
    assert tile.registers == example.CONCLUSION.registers
    assert tile.flags.tolist() == [0, 32, 6]
    assert tile.raw_sha256 == record.raw_sha256
    assert coefficients.chip == example.CHIP
    assert coefficients.campaign_sha256 == example.CAMPAIGN_SHA256
    assert coefficients.software == "aimc-hil 0.1.0"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"origin": replace(example.ORIGIN, chip=replace(example.CHIP, serial="43"))}, "chip"),
        ({"origin": replace(example.ORIGIN, campaign_sha256="0" * 64)}, "campaign"),
        ({"origin": replace(example.ORIGIN, software={"aimc-hil": "9"})}, "software"),
        ({"conclusion": example.with_nmpu(in_bits=12)}, "NMPU format"),
    ],
    ids=["chip", "campaign", "software", "format"],
)
def test_steps_of_two_runs_are_refused(step: ReadStep, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(DatasetError, match=f"^run: its steps differ in {what}: "):
        collect_coefficients("run", [step(), step(example.OTHER_CORE, **changes)])


def test_format_that_is_legal_only_with_its_own_shift_is_collected(step: ReadStep) -> None:
    # scale_frac 7 + shift 3 - off_frac 1 leave 9 bits to cut; without the shift it would be 6.
    steps = [
        step(conclusion=example.with_nmpu(cut_pre=8, shift=5)),
        step(example.OTHER_CORE, conclusion=example.with_nmpu(cut_pre=8, shift=3)),
    ]
    coefficients = collect_coefficients("run", steps)
    assert (coefficients.nmpu["cut_pre"], coefficients.nmpu["shift"]) == (8, None)
    assert [tile.shift for tile in coefficients.tiles] == [5, 3]


def test_versions_of_other_software_may_differ(step: ReadStep) -> None:
    origin = replace(example.ORIGIN, software={"aimc-hil": "0.1.0", "numpy": "3.0"}, host="x")
    coefficients = collect_coefficients("run", [step(), step(example.OTHER_CORE, origin=origin)])
    assert len(coefficients.tiles) == 2


def test_differing_width_is_refused(step: ReadStep) -> None:
    first = step()
    wide = replace(
        first,
        key=example.OTHER_CORE,
        conclusion=replace(first.conclusion, flags=np.zeros(4, np.uint16)),
    )
    with pytest.raises(DatasetError, match="differ in number of columns: 3 and 4"):
        collect_coefficients("run", [first, wide])


def test_step_that_comes_twice_is_refused(step: ReadStep) -> None:
    with pytest.raises(DatasetError, match=r"^run: has core00_one_phase 2 times$"):
        collect_coefficients("run", [step(), step()])


def test_run_without_steps_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"^run: has no finished step$"):
        collect_coefficients("run", [])
