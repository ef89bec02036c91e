"""A chip's book is begun before anything is sent to the chip, or the campaign does not begin."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from book_samples import Clock
from hil.campaign.book_keeping import keep_book
from hil.core.errors import SafetyLimitError
from hil.core.readout import ReadMode
from hil_datasets.chip_book.facts import CampaignFacts, digest_weights
from hil_datasets.chip_book.library import find_book
from hil_datasets.chip_book.totals import total
from hil_datasets.chip_book.wear import WearLimits
from hil_datasets.step import StepKey
from hil_drivers.connect import connect_chip
from hil_mock_device.launch import MockProcess

FACTS = CampaignFacts(
    run="/runs/one", title="One", campaign_sha256="ab", resource="mock://quickstart", firmware="1"
)


def plan_of(*cores: int) -> list[Any]:
    return [SimpleNamespace(key=StepKey(core, ReadMode.ONE_PHASE)) for core in cores]


def keep(chip: Any, folder: Path, plan: list[Any], *, limit: int | None = None) -> Any:
    clock = Clock()
    return keep_book(
        chip,
        FACTS,
        plan,
        limits=WearLimits(programmings_per_core=limit),
        data_folder=folder,
        now=clock.now,
        monotonic=clock.monotonic,
        on_failure=pytest.fail,
    )


def test_device_is_programmed_with_what_its_book_tells(tmp_path: Path) -> None:
    with MockProcess(["--profile", "quickstart", "--seed", "7"]) as mock:
        chip = connect_chip(mock.resource, timeout_s=20)
        size = chip.geometry()
        weights = np.ones((size.rows, size.columns), np.int8)
        keeper = keep(chip, tmp_path, plan_of(0), limit=1)
        with keeper.programming(0, digest_weights(weights)):
            chip.program(0, weights)
        with pytest.raises(SafetyLimitError, match="core 0: 1 more after 1 programmings, at most"):
            keep(chip, tmp_path, plan_of(0, 1), limit=1)
        chip.close()
    book = find_book(tmp_path / "chips", "quickstart-7")
    assert book.content.entries[1].entry.model_dump()["digest"] == digest_weights(weights)
    assert len(book.content.entries) == 3
    assert total(book.content).cores[0].programmings == 1


def test_device_that_plays_a_recording_has_no_book(tmp_path: Path) -> None:
    player = SimpleNamespace(plays_recording=lambda: True)
    with keep(player, tmp_path, plan_of(0), limit=0).programming(0, ""):
        pass
    assert list(tmp_path.iterdir()) == []
