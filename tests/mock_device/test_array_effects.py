"""Effects of the array, each against its formula, computed another way."""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.ir_drop import dropped_weights, ladder_voltages
from hil_mock_device.profile import (
    IrDropProfile,
    MockProfile,
    ReadNoiseProfile,
    ReadVoltageProfile,
)
from hil_mock_device.read_noise import amplitudes, component_shares
from small_profiles import ideal_profile

Codes = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float64]

ONE, FOUR = ReadMode.ONE_PHASE, ReadMode.FOUR_PHASE
NOISY = ReadNoiseProfile(factor=1.0)


@pytest.mark.parametrize("age_s", [300.0, 86_400.0, 30 * 86_400.0])
def test_shares_of_the_noise_components_add_up_to_the_logarithm(age_s: float) -> None:
    shares = [share for share, _ in component_shares(age_s, NOISY)]
    assert sum(shares) == pytest.approx(math.log((age_s + 512e-9) / 1.024e-6), rel=1e-12)
    assert max(shares) <= math.log(10) + 1e-12


def noisy_core(*, code: int, devices: int = 2, size: int = 256) -> ChipModel:
    profile = ideal_profile(
        array={"rows": size, "columns": size, "devices_per_cell": devices},
        drift={"factor": 0.0},
    ).model_copy(update={"read_noise": NOISY})
    chip = ChipModel(profile)
    chip.program(0, np.full((size, size), code, np.int8))
    return chip


# Q of the source at g = 0.25, 0.5 and 1, and sqrt(ln(300 s / 1.024 us)) = 4.416.
@pytest.mark.parametrize(
    ("devices", "code", "amplitude"),
    [
        (1, 32, 0.0206), (1, 64, 0.0217), (1, 127, 0.0168),
        (2, 32, 0.0159), (2, 64, 0.0167), (2, 127, 0.0123), (2, -127, 0.0123),
    ],
)  # fmt: skip
def test_cell_noise_has_the_published_size(devices: int, code: int, amplitude: float) -> None:
    shown = noisy_core(code=code, devices=devices).shown_weights(0)
    relative = shown / code - 1
    # 65,536 samples know their sigma to 0.28 %.
    assert np.std(relative) == pytest.approx(amplitude * 4.416, rel=0.015)
    assert abs(np.mean(relative)) < 4 * amplitude * 4.416 / 256


def test_amplitude_at_no_conductance_is_the_largest_published_one() -> None:
    assert amplitudes(np.zeros((1, 1), np.int8), devices_per_cell=2).tolist() == [[0.04]]


def test_cell_noise_changes_little_in_a_short_time_and_more_in_a_long_one() -> None:
    chip = noisy_core(code=127)
    shown = [chip.shown_weights(0)]
    for seconds in (1e-5, 1e-2, 10.0, 1e4):
        chip.advance_time(seconds)
        shown.append(chip.shown_weights(0))
    changes = [float(np.std(later - shown[0])) for later in shown[1:]]
    assert changes[0] < 0.45 * changes[-1]
    assert all(first < second for first, second in pairwise(changes))


def test_cell_noise_follows_from_the_age_whatever_the_steps() -> None:
    stepwise, at_once = noisy_core(code=50, size=16), noisy_core(code=50, size=16)
    for seconds in (0.5, 0.25, 99.25):
        stepwise.advance_time(seconds)
        stepwise.shown_weights(0)
    at_once.advance_time(100.0)
    assert np.array_equal(stepwise.shown_weights(0), at_once.shown_weights(0))


def nodal_solution(conductance: FloatArray) -> FloatArray:
    """Return the voltages of one ladder by Kirchhoff's current law at every node."""
    nodes = len(conductance)
    matrix = np.zeros((nodes, nodes))
    for node in range(nodes):
        matrix[node, node] = conductance[node] + 1 + (node < nodes - 1)
        if node:
            matrix[node, node - 1] = matrix[node - 1, node] = -1
    source = np.zeros(nodes)
    source[0] = 1.0
    return np.asarray(np.linalg.solve(matrix, source), np.float64)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_ladder_fulfils_kirchhoffs_law(nodes: int, seed: int) -> None:
    conductance = np.random.default_rng(seed).uniform(0, 0.1, nodes)
    np.testing.assert_allclose(
        ladder_voltages(conductance[:, None])[:, 0], nodal_solution(conductance), rtol=1e-10
    )


def crossbar_currents(weights: Codes, resistance: float, inputs: FloatArray) -> FloatArray:
    """Return what each column reads, from all nodes of all lines of the network at once.

    Nodes: word line (row, column), positive and negative bit line (row, column).
    """
    rows, columns = weights.shape
    wire = 1 / resistance
    cells = np.abs(weights) / 127.0
    place = np.arange(3 * rows * columns).reshape(3, rows, columns)
    matrix = np.zeros((place.size, place.size))
    source = np.zeros(place.size)

    def connect(first: int, second: int, conductance: float) -> None:
        for one, other in ((first, second), (second, first)):
            matrix[one, one] += conductance
            matrix[one, other] -= conductance

    for row in range(rows):
        for column in range(columns):
            word = place[0, row, column]
            if column:
                connect(place[0, row, column - 1], word, wire)
            else:
                matrix[word, word] += wire
                source[word] += wire * inputs[row]
            for line in (1, 2):
                node = place[line, row, column]
                if row:
                    connect(place[line, row - 1, column], node, wire)
                else:
                    matrix[node, node] += wire
            line = 1 if weights[row, column] > 0 else 2
            connect(word, place[line, row, column], cells[row, column])
    voltages = np.linalg.solve(matrix, source)
    ends = voltages[place[1, 0]] - voltages[place[2, 0]]
    return np.asarray(ends * wire * 127)


@pytest.mark.parametrize("ratio", [1e3, 1e4, 1e5])
def test_ir_drop_is_that_of_the_whole_network_to_first_order(ratio: float) -> None:
    rng = np.random.default_rng(4)
    weights = rng.integers(-127, 128, (9, 7)).astype(np.int8)
    weights[weights == 0] = 1
    inputs = rng.uniform(-127, 127, 9)
    ideal = inputs @ weights.astype(np.float64)
    network = crossbar_currents(weights, 1 / ratio, inputs)
    modelled = inputs @ dropped_weights(weights.astype(np.float64), segment_resistance=1 / ratio)
    lost = np.abs(network - ideal).max()
    # The loss is of the order 9 * 9 / 2 / ratio; what the model misses is that squared.
    assert lost > 5 / ratio * np.abs(ideal).mean()
    assert np.abs(modelled - network).max() < 40 / ratio * lost


def test_ir_drop_takes_most_from_the_farthest_cell_and_little_from_the_nearest() -> None:
    weights = np.full((256, 256), 32.0)
    kept = dropped_weights(weights, segment_resistance=1 / 571_428.57) / weights
    # g * r * N^2 / 2 on each of two lines, g a quarter: 1.43 % each.
    assert 1 - kept[255, 255] == pytest.approx(0.0285, abs=0.001)
    assert 1 - kept[0, 0] < 0.0003
    assert np.array_equal(dropped_weights(weights, segment_resistance=0.0), weights)


def test_ir_drop_of_the_profile_reaches_the_counts() -> None:
    # One cell, conductance ratio 100: 1/(1 + 0.01) on each of its two lines.
    profile = ideal_profile(
        array={"rows": 1, "columns": 1},
        counter={"counts_at_full_scale": 4000.0, "full_scale_products": 16129.0},
    ).model_copy(update={"ir_drop": IrDropProfile(factor=1.0, conductance_ratio=100.0)})
    chip = ChipModel(profile)
    chip.program(0, np.array([[127]], np.int8))
    counts = chip.convert(0, ONE, np.array([[127]], np.int8))
    assert counts[0, 0, 0] == pytest.approx(4000 / 1.01**2, abs=0.6)


def test_negative_inputs_read_less_in_every_mode() -> None:
    # One cell at 100, 10 % asymmetry: 100 * 100 against 90 * 100 products.
    profile = ideal_profile(
        array={"rows": 1, "columns": 1, "polarity_asymmetry": 0.1},
        counter={"counts_at_full_scale": 1000.0, "full_scale_products": 10_000.0},
    )
    chip = ChipModel(profile)
    chip.program(0, np.array([[100]], np.int8))
    inputs = np.array([[100], [-100]], np.int8)
    for mode in (ONE, FOUR):
        assert chip.convert(0, mode, inputs).tolist() == [[[1000], [0]], [[0], [900]]]


def voltage_chip() -> ChipModel:
    profile = ideal_profile(
        array={"rows": 1, "columns": 1},
        counter={
            "counts_at_full_scale": 1000.0,
            "full_scale_products": 16129.0,
            "offset_mean_counts": 50.0,
        },
    ).model_copy(update={"read_voltage": ReadVoltageProfile(nonlinearity_per_v=0.5)})
    chip = ChipModel(profile)
    chip.program(0, np.array([[127]], np.int8))
    return chip


# 1000 * (V / 0.2) * (1 + 0.5 * (V - 0.2)), and the offset stays.
@pytest.mark.parametrize(("volts", "count"), [(0.1, 525), (0.15, 781), (0.2, 1050), (0.3, 1625)])
def test_current_follows_the_read_voltage_and_the_offset_does_not(volts: float, count: int) -> None:
    chip = voltage_chip()
    chip.set_read_voltage(volts)
    assert chip.read_voltage_v == volts
    assert chip.convert(0, ONE, np.array([[127]], np.int8))[0, 0, 0] == count


@pytest.mark.parametrize("volts", [0.05, 0.31, float("nan")])
def test_read_voltage_beyond_the_range_is_refused_and_changes_nothing(volts: float) -> None:
    chip = voltage_chip()
    with pytest.raises(ValueError, match=r"must be 0\.1 to 0\.3"):
        chip.set_read_voltage(volts)
    assert chip.read_voltage_v == 0.2


def test_reference_voltage_outside_the_range_is_refused_with_all_three() -> None:
    with pytest.raises(ValueError, match=r"reference_v 0\.4 .* 0\.1 and highest_v 0\.3"):
        ReadVoltageProfile(reference_v=0.4)


def test_time_of_the_chip_adds_up_also_before_it_is_programmed() -> None:
    chip = ChipModel(MockProfile())
    chip.advance_time(60.0)
    chip.advance_time(0.5)
    assert chip.elapsed_s == 60.5
