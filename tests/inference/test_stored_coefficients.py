"""What is taken from a run that has calibrated a chip, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import contract_chip
from command_line import hil
from hil.core.correction import ColumnFlag
from hil.core.errors import ConfigError, DatasetError
from hil.core.readout import ChipIdentity, ReadMode
from hil.inference.computing.readings import ChipFacts
from hil.inference.corrections.stored_coefficients import (
    StoredCoefficients,
    neutral_note,
    open_coefficients,
)
from hil.inference.placing.tiles import Tile
from hil_datasets.run_source import StepFacts
from inference_chip import measured_run
from run_writer import start_journal

CHIP = ChipIdentity(manufacturer="aimc-hil", model="mock-chip", serial="S-1", firmware="1.0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cores 0 and 1 of a chip with 16 x 8 cells a core, in both read modes."""
    folder = tmp_path_factory.mktemp("run")
    contract_chip.write_profile(folder)
    return measured_run(folder)


def facts_of(identity: ChipIdentity | None = CHIP, *, columns: int = 8) -> ChipFacts:
    return ChipFacts(
        name="the chip", cores=(0, 1, 2), rows=16, columns=columns, counter_bits=12,
        read_mode=ReadMode.FOUR_PHASE, identity=identity,
    )  # fmt: skip


def tile(core: int, columns: int) -> Tile:
    return Tile(core=core, layer=0, group=0, rows=slice(0, 4), columns=slice(0, columns))


def changed(
    found: StoredCoefficients, change: Callable[[StepFacts], StepFacts]
) -> StoredCoefficients:
    """Return coefficients as if core 1 had been stored otherwise."""
    calibrations = dict(found.calibrations)
    calibrations[1] = change(calibrations[1])
    return replace(found, calibrations=calibrations)


def test_calibrations_are_cut_to_the_columns_in_use(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    whole = found.calibrations[1].conclusion
    cut = found.of_tiles([tile(0, 8), tile(1, 3)])
    assert [len(cut[core].flags) for core in (0, 1)] == [8, 3]
    assert cut[1].correction.a_p.tolist() == whole.correction.a_p[:3].tolist()
    assert cut[1].correction.a_n.tolist() == whole.correction.a_n[:3].tolist()
    assert cut[1].correction.b.tolist() == whole.correction.b[:3].tolist()
    assert (cut[1].output_lsb, cut[1].global_gain) == (whole.output_lsb, whole.global_gain)


def test_four_phase_is_taken_where_nobody_says(run: Path) -> None:
    assert open_coefficients(run, None).read_mode is ReadMode.FOUR_PHASE
    one = open_coefficients(run, ReadMode.ONE_PHASE)
    four = open_coefficients(run, ReadMode.FOUR_PHASE)
    assert one.identity["coefficients_set_id"] != four.identity["coefficients_set_id"]


def test_packed_run_needs_no_readouts(run: Path, tmp_path: Path) -> None:
    packed = tmp_path / "last.hil.h5"
    done = hil("data", "pack", run, "-o", packed, "--without-raw")
    assert done.code == 0, done.stderr
    found = open_coefficients(packed, ReadMode.FOUR_PHASE)
    whole = open_coefficients(run, ReadMode.FOUR_PHASE)
    assert found.identity["coefficients_run"] == "last.hil.h5"
    assert found.identity["coefficients_set_id"] == whole.identity["coefficients_set_id"]
    for core in (0, 1):
        mine, other = (one.of_tiles([tile(core, 8)])[core] for one in (found, whole))
        assert mine.correction.a_p.tolist() == other.correction.a_p.tolist()
        assert mine.global_gain == other.global_gain


def test_age_is_counted_from_the_newest_calibration(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    moments = [
        datetime.fromisoformat(one.origin.measured_utc) for one in found.calibrations.values()
    ]
    assert found.age_s(max(moments) + timedelta(hours=9)) == 9 * 3600
    assert max(moments).tzinfo is not None
    assert found.age_s(datetime.now(UTC)) > 0


def test_chip_that_it_calibrated_is_taken_whatever_its_firmware(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    found.require_chip(facts_of())
    found.require_chip(facts_of(replace(CHIP, firmware="2.0")))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (facts_of(replace(CHIP, serial="S-2")),
         r"has calibrated aimc-hil mock-chip, serial S-1; this is aimc-hil mock-chip, serial S-2"),
        (facts_of(replace(CHIP, manufacturer="other")), "this is other mock-chip, serial S-1"),
        (facts_of(columns=6), "of 8 columns for core 0, cores of this chip have 6"),
        (facts_of(None), "the chip are no chip that it could be of"),
    ],
)  # fmt: skip
def test_other_chips_are_refused(run: Path, facts: ChipFacts, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--coefficients: .*{words}"):
        open_coefficients(run, ReadMode.FOUR_PHASE).require_chip(facts)


def test_columns_that_the_run_did_not_use_are_named_with_their_core(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    narrow = changed(found, lambda one: replace(one, origin=replace(one.origin, columns_used=5)))
    narrow.of_tiles([tile(0, 8), tile(1, 5)])
    with pytest.raises(ConfigError) as refused:
        narrow.of_tiles([tile(0, 8), tile(1, 7)])
    assert (
        "core 1: the network uses columns 0-6, and run has no weights and so no coefficients in 5-6"
    ) in str(refused.value)
    assert "calibrate all columns" in str(refused.value)


def _flagged(one: StepFacts, column: int, flag: ColumnFlag) -> StepFacts:
    flags = one.conclusion.flags.copy()
    flags[column] |= np.uint16(flag)
    return replace(one, conclusion=replace(one.conclusion, flags=flags))


def test_column_without_weights_in_the_run_is_one_it_did_not_use(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    holed = changed(found, lambda one: _flagged(one, 2, ColumnFlag.UNUSED))
    with pytest.raises(ConfigError, match=r"core 1: the network uses columns 0-3, .* in 2"):
        holed.of_tiles([tile(1, 4)])


def test_dead_columns_in_use_are_noted(run: Path) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    dead = changed(found, lambda one: _flagged(one, 2, ColumnFlag.DEAD))
    (note,) = neutral_note(dead.of_tiles([tile(0, 8), tile(1, 4)]))
    assert "could not calibrate some columns" in note
    assert ": 1 of core 1; they say 0 until calibrated again" in note
    assert neutral_note(dead.of_tiles([tile(0, 8), tile(1, 2)])) == ()


def test_calibrations_of_two_chips_are_no_coefficients_of_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = open_coefficients(run, ReadMode.FOUR_PHASE)
    other = changed(
        found, lambda one: replace(one, origin=replace(one.origin, chip=replace(CHIP, serial="9")))
    )

    class TwoChips:
        def finished_steps(self) -> list[object]:
            return [one.key for one in other.calibrations.values()]

        def read_facts(self, key: object) -> StepFacts:
            return next(one for one in other.calibrations.values() if one.key == key)

    monkeypatch.setattr(
        "hil.inference.corrections.stored_coefficients.open_source", lambda _: TwoChips()
    )
    with pytest.raises(ConfigError, match=r"has calibrations of 2 chips: .*serial 9.*serial S-1"):
        open_coefficients(run, ReadMode.FOUR_PHASE)


def test_run_without_calibration_has_no_coefficients(tmp_path: Path) -> None:
    start_journal(tmp_path, ["core00_four_phase"])
    with pytest.raises(DatasetError, match="has no finished calibration, so no coefficients"):
        open_coefficients(tmp_path, None)
