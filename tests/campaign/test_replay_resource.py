"""``replay://`` resources: what they say, which are none, and the chip behind them."""

import math
from pathlib import Path

import pytest

import example_steps as example
from hil.campaign.bench import check_resource, open_device
from hil.campaign.replay_resource import ReplayResource
from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice
from hil_mock_device.replay_conversation import Tempo


@pytest.mark.parametrize(
    ("resource", "folder", "tempo"),
    [
        ("replay://runs/a", "runs/a", Tempo()),
        ("replay:///data/run 7?speed=10", "/data/run 7", Tempo(speed=10)),
        ("replay://a?speed=max&faults=off", "a", Tempo(speed=math.inf, plays_faults=False)),
        ("replay://a?faults=on", "a", Tempo(speed=1, plays_faults=True)),
    ],
)
def test_resource_is_taken_apart(resource: str, folder: str, tempo: Tempo) -> None:
    assert ReplayResource.parse(resource) == ReplayResource(folder=folder, tempo=tempo)
    check_resource(resource)


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("replay://", "must name the folder of a run"),
        ("replay://?speed=1", "must name the folder of a run"),
        ("replay://a?speed=1&speed=2", "gives an option twice"),
        ("replay://a?sped=1", "unknown option 'sped'; use speed and faults"),
        ("replay://a?speed=", "speed '' must be max, or a number"),
        ("replay://a?speed=0", "speed '0' must be max, or a number"),
        ("replay://a?faults=no", "faults 'no' must be on or off"),
    ],
)
def test_wrong_resource_is_refused(resource: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_resource(resource)


def test_folder_that_is_no_run_is_a_dataset_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        ReplayResource.parse("replay://absent").load(tmp_path)


def test_recording_opens_as_a_chip_with_its_faults(tmp_path: Path) -> None:
    example.write_run(tmp_path / "run", example.ONE)
    met: list[LinkFault] = []
    with open_device(
        "replay://run?speed=max",
        base=tmp_path,
        seed=0,
        timeout_s=5.0,
        choice=TransportChoice.AUTO,
        on_unsafe=pytest.fail,
        on_fault=met.append,
    ) as device:
        chip = device.chip
        assert isinstance(chip, AimcBoard)
        assert chip.identify() == example.CHIP
        assert chip.plays_recording()
        for block in (slice(0, 4), slice(4, 6)):
            inputs = example.INPUTS[block]
            counts = chip.read_counts(0, ReadMode.ONE_PHASE, inputs)
            assert counts.tolist() == example.RAW[block].tolist()
    assert [(fault.kind.value, fault.request) for fault in met] == [
        ("timeout", "READ?"),
        ("link_lost", "FETCh:COUNts?"),
    ]
