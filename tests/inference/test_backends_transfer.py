"""What a run says of its chip, and counting as it says."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import contract_chip
from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil.inference.computing.backends.measured_cores import MeasuredChip, measure_run
from hil.inference.computing.backends.transfer_fit import CoreTransfer, fit_transfer
from hil.inference.computing.backends.vector_noise import VectorNoise, chosen_rows
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile, Tile
from hil_datasets.opened import open_source
from hil_mock_device.profile import load_profile
from inference_chip import measured_run

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.inference.computing.backends.profile import ProfileReadings  # noqa: E402 - torch may be absent
from hil.inference.computing.backends.transfer import TransferReadings  # noqa: E402

CPU = torch.device("cpu")
ROWS, COLUMNS = 24, 6
OFFSET = np.array([[12.0, 9, 11, 10, 8, 12], [7, 12, 9, 11, 10, 8]])
GAIN = np.array([[2.0, 2.2, 1.9, 2.1, 1.8, 2.0], [2.1, 1.9, 2.0, 1.8, 2.2, 2.0]]) / 1000
LIMIT = 127 * 127 * ROWS


def _read(
    vectors: int, *, noise: float = 0.0, weight_error: float = 0.0, curvature: float = 0.0
) -> tuple[Any, Any, Any]:
    """Return weights, inputs, and four-phase counts by the plain formula."""
    rng = np.random.default_rng(9)
    weights = rng.integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)
    inputs = rng.integers(-127, 128, (vectors, ROWS)).astype(np.int8)
    held = weights + weight_error * rng.standard_normal(weights.shape)
    x = inputs.astype(float)
    up = np.maximum(x, 0) @ np.maximum(held, 0) + np.maximum(-x, 0) @ np.maximum(-held, 0)
    down = np.maximum(x, 0) @ np.maximum(-held, 0) + np.maximum(-x, 0) @ np.maximum(held, 0)
    sums = np.stack([up, down], axis=1)
    analog = OFFSET + GAIN * sums * (1 + curvature * sums / LIMIT)
    analog += noise * rng.standard_normal(analog.shape)
    return weights, inputs, np.clip(np.rint(analog), 0, 4095).astype(np.uint16)


def _fit(read: tuple[Any, Any, Any], columns_used: int = COLUMNS) -> CoreTransfer:
    return fit_transfer(
        *read, read_mode=ReadMode.FOUR_PHASE, counter_bits=12, columns_used=columns_used
    )


def test_gains_offsets_and_noise_are_those_of_the_counters() -> None:
    found = _fit(_read(3000, noise=0.7))
    np.testing.assert_allclose(found.gain, GAIN, rtol=2e-3)
    np.testing.assert_allclose(found.offset, OFFSET, atol=0.4)
    np.testing.assert_allclose(found.noise, 0.7, rtol=0.06)
    assert not found.curvature.any()


def test_curvature_is_found_where_there_is_one() -> None:
    found = _fit(_read(3000, noise=0.3, curvature=-0.2))
    np.testing.assert_allclose(found.curvature, -0.2 * GAIN / LIMIT, rtol=0.1)


def test_errors_of_weights_are_told_from_noise() -> None:
    """Five codes of error make some 0.8 counts of deviation, beside 0.7 of noise."""
    found = _fit(_read(3000, noise=0.7, weight_error=5.0))
    assert found.weight_errors is not None
    assert np.sqrt(np.mean(found.weight_errors.rms**2)) == pytest.approx(5.0, rel=0.2)
    np.testing.assert_allclose(found.noise, 0.7, rtol=0.08)


def test_few_vectors_leave_errors_of_weights_in_the_noise() -> None:
    found = _fit(_read(40, noise=0.0, weight_error=5.0))
    assert found.weight_errors is None
    assert float(np.median(found.noise)) > 0.3


def test_columns_without_weights_get_the_gain_in_the_middle() -> None:
    weights, inputs, counts = _read(2000)
    weights[:, 4:] = 0
    found = _fit((weights, inputs, counts), columns_used=4)
    np.testing.assert_allclose(found.gain[:, 4:], [[2.05e-3] * 2, [1.95e-3] * 2], rtol=3e-3)


def test_clipped_counts_are_left_out() -> None:
    weights, inputs, counts = _read(3000, noise=0.5)
    top = int(np.quantile(counts, 0.8))
    found = fit_transfer(
        weights,
        inputs,
        np.minimum(counts, 127 if top > 127 else top).astype(np.uint16),
        read_mode=ReadMode.FOUR_PHASE,
        counter_bits=7,
        columns_used=COLUMNS,
    )
    np.testing.assert_allclose(found.gain, GAIN, rtol=0.1)


def _chip(*, noise: float = 0.0, read_mode: ReadMode = ReadMode.FOUR_PHASE) -> MeasuredChip:
    transfer = CoreTransfer(
        offset=OFFSET,
        gain=GAIN,
        curvature=np.zeros_like(GAIN),
        noise=np.full_like(GAIN, noise),
        weight_errors=None,
    )
    facts = ChipFacts(
        name="worked out", cores=(0, 1), rows=ROWS, columns=COLUMNS, counter_bits=12,
        read_mode=read_mode,
    )  # fmt: skip
    return MeasuredChip(facts=facts, transfers={0: transfer, 1: transfer}, age_s=300.0)


def _programmed(weights: npt.NDArray[np.int8], core: int = 0) -> ProgrammedTile:
    rows, columns = weights.shape
    place = Tile(core=core, layer=0, group=0, rows=slice(0, rows), columns=slice(0, columns))
    return ProgrammedTile(tile=place, weight_codes=weights)


def test_counts_without_noise_are_the_formula_rounded() -> None:
    weights, inputs, counts = _read(500)
    readings = TransferReadings(_chip())
    readings.program([_programmed(weights)])
    found = readings.counts(0, torch.from_numpy(inputs), first=0)
    # Half counts may fall to either side in float32.
    assert float((found.numpy() == counts).mean()) > 0.999
    assert int(np.abs(found.numpy() - counts.astype(int)).max()) <= 1


def test_one_phase_counts_the_difference_on_one_side() -> None:
    weights = np.array([[100], [-50]], np.int8)
    readings = TransferReadings(_chip(read_mode=ReadMode.ONE_PHASE))
    readings.program([_programmed(weights)])
    inputs = torch.tensor([[100, 100], [0, 100]], dtype=torch.int8)
    # 5000 products of 2 counts in 1000; -5000 of 2.1; offsets 12 and 7.
    counts = readings.counts(0, inputs, first=0)
    assert counts[:, :, 0].tolist() == [[22, 7], [12, 18]]


def test_noise_has_the_measured_size_and_is_new_in_every_vector() -> None:
    weights, inputs, _ = _read(1)
    readings = TransferReadings(_chip(noise=3.0), seed=4)
    readings.program([_programmed(weights), _programmed(weights, core=1)])
    same = torch.from_numpy(np.repeat(inputs, 20_000, axis=0))
    counts = readings.counts(0, same, first=0).double()
    deviation = counts.std(dim=0)
    np.testing.assert_allclose(deviation.numpy(), np.hypot(3.0, 12**-0.5), rtol=0.03)
    steps = counts[1:] - counts[:-1]
    np.testing.assert_allclose(steps.std(dim=0) / deviation, 2**0.5, rtol=0.03)
    other = readings.counts(1, same, first=0).double()
    both = np.corrcoef(counts[:, 0, 0], other[:, 0, 0])[0, 1]
    assert abs(both) < 0.03


def test_noise_depends_on_seed_core_and_number_alone() -> None:
    rows = chosen_rows(1, 2, first=0, vectors=1000)
    np.testing.assert_array_equal(rows[:, 600:], chosen_rows(1, 2, first=600, vectors=400))
    for other in (
        chosen_rows(1, 3, first=0, vectors=1000),
        chosen_rows(2, 2, first=0, vectors=1000),
    ):
        assert (rows == other).mean() < 0.02
    assert len(np.unique(rows[0])) > 500


def test_tables_of_noise_are_balanced_in_every_column() -> None:
    for table in VectorNoise(0, columns=6, device=CPU).tables(6):
        assert float(table.mean(dim=0).abs().max()) < 1e-6
        np.testing.assert_allclose(table.var(dim=0, correction=0), 0.5, rtol=1e-5)


def test_threads_cannot_be_seen_in_the_counts() -> None:
    weights, inputs, _ = _read(60_000)
    readings = TransferReadings(_chip(noise=2.0), seed=4)
    readings.program([_programmed(weights)])
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            found.append(readings.counts(0, torch.from_numpy(inputs), first=0))
    torch.set_num_threads(1)
    assert found[0].equal(found[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_cuda_gives_the_same_counts() -> None:
    weights, inputs, _ = _read(5000)
    found = []
    for device in (CPU, torch.device("cuda")):
        readings = TransferReadings(_chip(noise=2.0), seed=4, device=device)
        readings.program([_programmed(weights)])
        found.append(readings.counts(0, torch.from_numpy(inputs).to(device), first=3).cpu())
    assert found[0].equal(found[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip")
    contract_chip.write_profile(folder)
    measured_run(folder)
    return folder


def test_run_tells_which_cores_it_has_measured(folder: Path) -> None:
    chip = measure_run(open_source(folder / "run"), ReadMode.ONE_PHASE)
    assert chip.facts.cores == (0, 1)
    assert (chip.facts.rows, chip.facts.columns, chip.facts.counter_bits) == (16, 8, 12)
    assert "serial S-1" in chip.facts.name
    # The profile's nominal gain, 476.2 products a count, whose spread is 7.1 % over 32 counters.
    assert chip.facts.nominal_gain == pytest.approx(476.2, rel=0.06)


def test_run_packed_without_readouts_is_an_error(folder: Path) -> None:
    from command_line import hil  # noqa: PLC0415

    done = hil("data", "pack", "run", "-o", "lean.h5", "--without-raw", cwd=folder)
    assert done.code == 0, done.stderr
    with pytest.raises(DatasetError, match="packed without its readouts"):
        measure_run(open_source(folder / "lean.h5"), ReadMode.ONE_PHASE)


class _Steps:
    """A run with some finished steps, of which nothing is read."""

    path = Path("somewhere")

    def __init__(self, folder: Path, modes: set[str]) -> None:
        steps = open_source(folder / "run").finished_steps()
        self._steps = [key for key in steps if str(key.read_mode) in modes]

    def finished_steps(self) -> Any:
        return self._steps


def test_run_without_calibration_is_an_error(folder: Path) -> None:
    empty: Any = _Steps(folder, set())
    with pytest.raises(DatasetError, match="has no finished calibration: it cannot say"):
        measure_run(empty, ReadMode.ONE_PHASE)


def test_run_without_the_read_mode_is_an_error_that_says_what_it_has(folder: Path) -> None:
    fast: Any = _Steps(folder, {"one_phase"})
    message = "no finished calibration in four_phase; it has some in one_phase"
    with pytest.raises(DatasetError, match=message):
        measure_run(fast, ReadMode.FOUR_PHASE)


def _mean_decay(readings: Any, seconds: float, *, before_s: float = 0.0) -> float:
    """Return mean outputs after some time as a share of those before, of weights of 32."""
    readings.program([_programmed(np.full((16, 8), 32, np.int8))])
    readings.advance_time(before_s)
    driven, idle = torch.full((2000, 16), 127, dtype=torch.int8), torch.zeros((2000, 16)).char()
    means = []
    for vector in (0, 4000):
        up, rest = (
            readings.counts(0, inputs, first=first)[:, 0].double().mean()
            for inputs, first in ((driven, vector), (idle, vector + 2000))
        )
        means.append(float(up - rest))
        readings.advance_time(seconds)
    return means[1] / means[0]


@pytest.mark.parametrize(
    ("recorded_s", "left"),
    [
        # Cells of 32/127 have nu = 0.0679, t0 is 300 s: 3900.05/300.05 to the power of -0.0679,
        (0.05, 0.840),
        # and (300 + 300 + 3600)/(300 + 300) to the same.
        (300.0, 0.876),
        # Not known: as just programmed, 3900/300.
        (math.nan, 0.840),
    ],
)
def test_run_ages_as_its_chip_does_whatever_age_it_has_recorded(
    recorded_s: float, left: float, folder: Path
) -> None:
    measured = measure_run(open_source(folder / "run"), ReadMode.ONE_PHASE)
    run = TransferReadings(replace(measured, age_s=recorded_s))
    assert _mean_decay(run, 3600.0) == pytest.approx(left, abs=0.01)
    profile = load_profile(str(folder / "small.toml"), base=Path())
    mock = ProfileReadings(profile, read_mode=ReadMode.ONE_PHASE)
    before_s = 0.0 if math.isnan(recorded_s) else recorded_s
    assert _mean_decay(mock, 3600.0, before_s=before_s) == pytest.approx(left, abs=0.01)


def test_age_is_how_long_ago_the_core_was_programmed_if_the_run_says_so(
    folder: Path, tmp_path: Path
) -> None:
    assert math.isnan(measure_run(open_source(folder / "run"), ReadMode.ONE_PHASE).age_s)
    contract_chip.write_profile(tmp_path)
    measured_run(tmp_path, rest="[steps.program]\n[steps.calibrate]\n")
    told = measure_run(open_source(tmp_path / "run"), ReadMode.ONE_PHASE)
    assert 0 <= told.age_s < 300
