"""What being `CoreReadings` means: the same for exact cores, mock chips, runs, and devices.

Three cores of 16 x 8, or as many as the run has measured.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import contract_chip
from hil.core.errors import ConfigError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.readings import CoreReadings
from hil.inference.placing.tiles import ProgrammedTile, Tile
from hil_datasets.opened import open_source
from hil_mock_device.profile import load_profile
from inference_chip import measured_run

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.inference.computing.backends.device import open_readings  # noqa: E402 - torch may be absent
from hil.inference.computing.backends.ideal import IdealReadings  # noqa: E402
from hil.inference.computing.backends.profile import ProfileReadings  # noqa: E402
from hil.inference.computing.backends.transfer import TransferReadings  # noqa: E402

ROWS, COLUMNS = 16, 8
Opened = AbstractContextManager[CoreReadings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip")
    contract_chip.write_profile(folder)
    return folder


@contextmanager
def _closed(readings: CoreReadings) -> Iterator[CoreReadings]:
    yield readings
    readings.close()


@pytest.fixture(scope="module", params=["ideal", "profile", "transfer", "device"])
def open_chip(request: pytest.FixtureRequest, folder: Path) -> Callable[[ReadMode], Opened]:
    """How to open one."""
    kind = str(request.param)

    def opened(read_mode: ReadMode) -> Opened:
        if kind == "ideal":
            ideal = IdealReadings(read_mode=read_mode, cores=3, rows=ROWS, columns=COLUMNS)
            return _closed(ideal)
        if kind == "profile":
            profile = load_profile("small.toml", base=folder)
            return _closed(ProfileReadings(profile, read_mode=read_mode))
        if kind == "transfer":
            run = open_source(measured_run(folder))
            return _closed(TransferReadings.of_run(run, read_mode=read_mode))
        return open_readings(
            "mock://small.toml", read_mode=read_mode, base=folder, on_unsafe=pytest.fail
        )

    return opened


@pytest.fixture(scope="module", params=list(ReadMode))
def chip(
    request: pytest.FixtureRequest, open_chip: Callable[[ReadMode], Opened]
) -> Iterator[CoreReadings]:
    with open_chip(request.param) as readings:
        readings.program([_tile(0, _weights(0)), _tile(1, _weights(1)[:9, :5])])
        yield readings


def _weights(seed: int) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)


def _inputs(vectors: int, rows: int = ROWS) -> Any:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.integers(-127, 128, (vectors, rows)).astype(np.int8))


def _tile(core: int, weights: npt.NDArray[np.int8]) -> ProgrammedTile:
    rows, columns = weights.shape
    place = Tile(core=core, layer=0, group=0, rows=slice(0, rows), columns=slice(0, columns))
    return ProgrammedTile(tile=place, weight_codes=weights)


def test_facts_tell_size_cores_and_counters(chip: CoreReadings) -> None:
    facts = chip.facts
    assert (facts.rows, facts.columns, facts.counter_bits) == (16, 8, 12)
    assert facts.cores[:2] == (0, 1)
    assert facts.nominal_gain is not None
    assert 300 < facts.nominal_gain < 700  # 476.2 by the profile
    assert facts.name


def test_counts_are_of_the_columns_in_use(chip: CoreReadings) -> None:
    for core, rows, columns in ((0, ROWS, COLUMNS), (1, 9, 5)):
        counts = chip.counts(core, _inputs(7, rows), first=0)
        assert counts.shape == (7, 2, columns)
        assert counts.dtype == torch.int32
        assert counts.device == chip.device
        assert int(counts.min()) >= 0
        assert int(counts.max()) <= 4095


def test_difference_of_the_counts_follows_the_products(chip: CoreReadings) -> None:
    inputs, gain = _inputs(2000), chip.facts.nominal_gain or 0.0
    counts = chip.counts(0, inputs, first=0).double()
    products = inputs.double() @ torch.from_numpy(_weights(0)).double()
    found = (counts[:, 0] - counts[:, 1]) * gain
    for column in range(COLUMNS):
        slope, _ = np.polyfit(products[:, column], found[:, column], 1)
        assert 0.6 < slope < 1.4, column


def test_a_vector_has_the_same_noise_whatever_was_asked_before(chip: CoreReadings) -> None:
    inputs = _inputs(50)
    whole = chip.counts(0, inputs, first=100)
    chip.counts(1, _inputs(3, 9), first=0)
    part = chip.counts(0, inputs[20:41], first=120)
    assert part.equal(whole[20:41])


def test_inputs_are_not_changed(chip: CoreReadings) -> None:
    inputs = _inputs(20)
    before = inputs.clone()
    chip.counts(0, inputs, first=0)
    assert inputs.equal(before)


def test_chips_own_codes_are_those_of_its_counts_or_there_are_none(chip: CoreReadings) -> None:
    registers = NmpuRegisters(
        scale_p=np.full(COLUMNS, 128, np.uint8),
        scale_n=np.full(COLUMNS, 128, np.uint8),
        offset=np.full(COLUMNS, 4, np.int16),
        swap=np.zeros(COLUMNS, np.bool_),
    )
    chip.load(0, NmpuFormat(), registers)
    codes = chip.corrected(0, _inputs(30), first=9)
    if codes is not None:
        counts = chip.counts(0, _inputs(30), first=9)
        # Scales of 1 and an offset of 2; a difference of 8-bit outputs saturates.
        assert codes.tolist() == (counts[:, 0] - counts[:, 1] + 2).clamp(-128, 127).tolist()


def test_core_without_a_tile_is_an_error_that_names_it(chip: CoreReadings) -> None:
    with pytest.raises(ConfigError, match="core 2 holds no tile"):
        chip.counts(2, _inputs(1), first=0)


def test_too_few_cores_are_an_error_that_says_how_many_are_needed(
    open_chip: Callable[[ReadMode], Opened],
) -> None:
    with open_chip(ReadMode.FOUR_PHASE) as readings:
        tiles = [_tile(core, _weights(core)) for core in (*readings.facts.cores, 7)]
        message = f"needs {len(tiles)} cores, of which 7 cannot be used; there are {len(tiles) - 1}"
        with pytest.raises(ConfigError, match=message):
            readings.program(tiles)


def test_tile_that_is_too_large_is_an_error(open_chip: Callable[[ReadMode], Opened]) -> None:
    with open_chip(ReadMode.FOUR_PHASE) as readings:
        wide = np.ones((4, COLUMNS + 1), np.int8)
        with pytest.raises(ConfigError, match="4 x 9 weights; it has 16 rows and 8 columns"):
            readings.program([_tile(0, wide)])
        with pytest.raises(ConfigError, match="core 0 is to hold two tiles"):
            readings.program([_tile(0, _weights(0)), _tile(0, _weights(1))])


def test_programming_and_time_change_what_is_counted(
    open_chip: Callable[[ReadMode], Opened],
) -> None:
    inputs = _inputs(200)
    with open_chip(ReadMode.FOUR_PHASE) as readings:
        readings.program([_tile(0, _weights(0))])
        fresh = readings.counts(0, inputs, first=0)
        readings.advance_time(3e6)
        old = readings.counts(0, inputs, first=0)
        readings.program([_tile(0, _weights(0))])
        again = readings.counts(0, inputs, first=0)
        readings.program([_tile(0, _weights(3))])
        other = readings.counts(0, inputs, first=0)
    if not isinstance(readings, IdealReadings):
        assert 0.3 < float(old.sum() / fresh.sum()) < 0.95
    assert again.equal(fresh)
    assert not other.equal(fresh)
