"""Weights, inputs and ranges as int8 codes, against numbers worked by hand."""

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.quantised import quantise_inputs, quantise_layer
from hil.inference.placing.value_range import RangeRule, ValueRange

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)


def test_each_output_fills_the_codes_with_its_own_step() -> None:
    weight = np.array([[0.5, -0.25, 0.0], [-254.0, 3.0, 1.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    one = quantise_layer(AnalogLayer(name="l", node="linear", weight=weight), 254.0)
    # 3 / 2 and 1 / 2 are halves: to even.
    assert one.weight_codes.tolist() == [[[127, -127, 0], [-64, 2, 0], [0, 0, 0]]]
    assert one.weight_scale.tolist() == [0.5 / 127, 2.0, 1 / 127]
    assert one.input_scale == 2.0
    assert one.product_scale[1] == 4.0


def test_inputs_round_half_to_even_and_stop_at_127() -> None:
    values = torch.tensor([0.0, 1.0, 3.0, -1.0, -3.0, 253.0, 300.0, -300.0])
    assert quantise_inputs(values, 2.0).tolist() == [0, 0, 2, 0, -2, 126, 127, -127]


def test_weight_that_is_not_finite_is_named_by_layer_and_output() -> None:
    weight = np.ones((3, 2), dtype=np.float32)
    weight[1, 0] = np.nan
    layer = AnalogLayer(name="block.conv2", node="linear", weight=weight)
    with pytest.raises(
        ConfigError, match=r"layer block\.conv2: weights of output 1 are not finite"
    ):
        quantise_layer(layer, 1.0)


def _seen(*batches: list[float]) -> ValueRange:
    found = ValueRange()
    for batch in batches:
        found.add(torch.tensor(batch))
    return found


def test_max_is_the_largest_magnitude_of_all_batches() -> None:
    assert _seen([1.0, -3.0], [100.0, 0.0], [-7.0]).limit(RangeRule.MAX) == 100.0


def test_moving_average_keeps_nine_tenths_of_the_past() -> None:
    # 10, then 0.9 * 10 + 0.1 * 20 = 11, then 0.9 * 11 + 0.1 * 1 = 10.
    found = _seen([-10.0, 1.0], [20.0], [1.0]).limit(RangeRule.MOVING_AVERAGE)
    assert found == pytest.approx(10.0, rel=1e-12)


def test_percentile_leaves_one_value_in_ten_thousand_out() -> None:
    values = torch.linspace(0, 1, 200_000)
    values[:15] = 50.0
    found = _seen(values.tolist()).limit(RangeRule.PERCENTILE)
    assert found == pytest.approx(0.99997, abs=50 / 4096)
    assert found < 1.02


def test_percentile_is_the_same_however_the_batches_grow() -> None:
    values = np.random.default_rng(0).normal(size=60_000)
    values = values[np.argsort(np.abs(values))]
    growing = _seen(*(part.tolist() for part in np.array_split(values, 30)))
    assert growing.limit(RangeRule.PERCENTILE) == pytest.approx(
        np.quantile(np.abs(values), 0.9999), abs=2 * np.abs(values).max() / 2048
    )


def test_search_clips_lone_outliers_and_keeps_an_even_spread() -> None:
    rng = np.random.default_rng(1)
    even = rng.uniform(-1, 1, 50_000)
    assert _seen(even.tolist()).limit(RangeRule.SEARCH) == pytest.approx(1.0, abs=0.02)
    lone = np.append(even, 4.0)
    limit = _seen(lone.tolist()).limit(RangeRule.SEARCH)

    def squared_error(top: float) -> float:
        held = np.clip(np.rint(lone / top * 127), -127, 127) * top / 127
        return float(np.sum((held - lone) ** 2))

    tried = np.linspace(0.8, 4.0, 60)
    assert squared_error(limit) <= 1.02 * min(map(squared_error, tried))
    assert squared_error(limit) < 0.9 * squared_error(4.0)


@pytest.mark.parametrize("rule", list(RangeRule))
def test_tensor_of_zeros_has_a_range(rule: RangeRule) -> None:
    assert _seen([0.0, 0.0]).limit(rule) == 1.0
