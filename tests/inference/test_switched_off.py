"""Flaws of a simulated chip, switched off one after the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.core.nmpu_format import NmpuFormat  # noqa: E402 - torch first, or no test at all
from hil.core.readout import ReadMode  # noqa: E402
from hil.inference.computing.backends.profile import ProfileReadings  # noqa: E402
from hil.inference.conditions.switched_off import (  # noqa: E402
    CORRECTION,
    PROFILE_FLAWS,
    SUMS,
    chip_groups,
    judge_flaws,
    predict_group,
    without_flaw,
)
from hil.inference.corrections.calibrating import CalibrationTerms  # noqa: E402
from hil.inference.corrections.prepared import prepare_network  # noqa: E402
from hil.inference.networks.network import trace_network  # noqa: E402
from hil.inference.placing.mapping import map_layers  # noqa: E402
from hil_mock_device.profile import MockProfile, load_profile  # noqa: E402

HERMES = load_profile("hermes-like", base=Path())


def test_flaw_is_switched_off_and_nothing_else() -> None:
    changed = without_flaw(HERMES, "weights: programming noise")
    assert changed.array.programming_noise == 0
    assert changed.array.stuck_share == HERMES.array.stuck_share
    assert changed.counter == HERMES.counter
    assert HERMES.array.programming_noise == 1


def test_hermes_like_has_every_flaw() -> None:
    assert [flaw for flaw in PROFILE_FLAWS if without_flaw(HERMES, flaw) == HERMES] == []


def test_flaw_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        without_flaw(HERMES, "cosmic rays")


@pytest.fixture(scope="module")
def noisy() -> dict[str, Any]:
    """A chip whose only flaws are very noisy weights and counters of a little noise."""
    torch.manual_seed(2)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 4))
    images = torch.randn(400, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        labels = module(images).argmax(1).numpy().astype(np.int64)
    network = trace_network(module, image_shape=(2, 4, 4), source="blocks")
    profile = MockProfile.model_validate(
        {
            "schema_version": 1,
            "name": "noisy",
            "seed": 4,
            "array": {
                "cores": 1,
                "rows": 32,
                "columns": 4,
                "programming_noise": 8.0,
                "stuck_share": 0.0,
                "dead_column_chance": 0.0,
            },
            "counter": {
                "full_scale_products": 70000.0,
                "gain_sigma": 0.0,
                "offset_sigma_counts": 0.0,
                "curvature_sigma": 0.0,
            },
        }
    )
    tiles = map_layers(network.layers, rows=32, columns=4, cores=1)
    prepared = prepare_network(network, tiles, images[:200])
    found: dict[str, Any] = {}
    for group in chip_groups(profile):
        found |= predict_group(
            group,
            profile,
            prepared,
            images,
            open_readings=lambda one: ProfileReadings(one, read_mode=ReadMode.ONE_PHASE),
            terms=CalibrationTerms(fmt=NmpuFormat()),
        )
    return {one.flaw: one for one in judge_flaws(found, labels, seed=0)}


def test_flaws_that_a_chip_has_not_are_left_out(noisy: dict[str, Any]) -> None:
    assert list(noisy) == [
        CORRECTION,
        SUMS,
        "weights: programming noise",
        "converters: noise of the counters",
    ]


def test_the_flaw_that_spoils_the_chip_is_found(noisy: dict[str, Any]) -> None:
    weights = noisy["weights: programming noise"]
    assert weights.cost.drop > 0.1
    assert weights.cost.low > 0.05
    assert weights.accuracy.value > 0.95
    for flaw in (CORRECTION, "converters: noise of the counters"):
        assert abs(noisy[flaw].cost.drop) < 0.03
    # There is no residual sum in this network.
    assert noisy[SUMS].cost.agreement == 1
