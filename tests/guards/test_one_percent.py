"""A step of 1 % in gain is found at the first check, and nothing else is taken for one."""

from pathlib import Path

import numpy as np
import pytest

from hil.campaign.config.guards import KnownAnswerSection
from hil.campaign.guards.answer_guard import AnswerGuard
from hil.campaign.guards.known_answer import known_vectors
from hil.campaign.guards.known_answer_file import KnownAnswerFile
from hil.core.readout import ReadMode
from hil_calibration.stimulus import gaussian_weights, uniform_inputs
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import load_profile


def guarded_chip(folder: Path, read_mode: ReadMode) -> tuple[ChipModel, AnswerGuard]:
    """Return a chip of 256 columns, and the default guard of a step on it with its reference."""
    chip, rng = ChipModel(load_profile("quickstart", base=folder)), np.random.default_rng(0)
    chip.program(0, gaussian_weights(rng, rows=256, columns=256))
    guard = AnswerGuard(
        KnownAnswerSection(),
        step="core00",
        known=known_vectors(uniform_inputs(rng, vectors=768, rows=256, zeros=0.3), 8),
        columns_used=256,
        read=lambda inputs: chip.convert(0, read_mode, inputs),
        file=KnownAnswerFile(folder),
        utc=lambda: "2031-01-01T00:00:00+00:00",
    )
    assert guard.begin(0) is None
    return chip, guard


@pytest.mark.parametrize("volts", [0.202, 0.198], ids=["more", "less"])
@pytest.mark.parametrize("read_mode", list(ReadMode))
def test_step_of_one_percent_is_an_alarm_within_1024_vectors(
    tmp_path: Path, read_mode: ReadMode, volts: float
) -> None:
    chip, guard = guarded_chip(tmp_path, read_mode)
    assert [guard.check(at) for at in range(1024, 11 * 1024, 1024)] == [None] * 10
    chip.set_read_voltage(volts)  # currents, and so counts, follow in proportion
    suspect_from = guard.check(11 * 1024)
    assert suspect_from is not None
    assert suspect_from <= 10 * 1024


@pytest.mark.parametrize("read_mode", list(ReadMode))
def test_quiet_chip_gives_no_alarm(tmp_path: Path, read_mode: ReadMode) -> None:
    _, guard = guarded_chip(tmp_path, read_mode)
    assert [guard.check(at) for at in range(200)] == [None] * 200


def test_next_check_is_due_before_it_would_be_too_late(tmp_path: Path) -> None:
    _, guard = guarded_chip(tmp_path, ReadMode.FOUR_PHASE)
    assert not guard.is_due(896, block=128)
    assert guard.is_due(1024, block=128)
    assert guard.is_due(1000, block=128)
