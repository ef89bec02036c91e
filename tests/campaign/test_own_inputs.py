"""Vectors that a campaign draws itself: their amplitudes, and that fewer are the first of more."""

import numpy as np
import numpy.typing as npt
import pytest

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.own_inputs import own_inputs

ROWS = 300


def drawn(
    amplitudes: str, *, calibration: int = 400, verification: int = 100, core: int = 0
) -> npt.NDArray[np.int8]:
    config = CampaignConfig.model_validate(
        {
            "schema_version": 1,
            "campaign": {"title": "Own vectors", "seed": 7},
            "device": {"resource": "mock://quickstart"},
            "vectors": {
                "calibration": calibration,
                "verification": verification,
                "amplitudes": amplitudes,
            },
        }
    )
    return own_inputs(config, core=core, rows=ROWS)


def peaks(inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return the largest magnitude of each vector."""
    largest: npt.NDArray[np.int64] = np.abs(inputs.astype(np.int64)).max(axis=1)
    return largest


def test_vectors_of_full_amplitude_all_reach_full_scale() -> None:
    # 300 inputs of which 70 % are uniform over 255 codes: all below 100 once in 10^20 vectors.
    assert peaks(drawn("full")).min() > 100


def test_spread_amplitudes_are_uniform_from_zero_to_full_scale() -> None:
    tallest = peaks(drawn("spread"))
    # 125 of 500 are expected in each quarter, with a standard deviation of 10.
    for quarter in range(4):
        share = ((tallest >= 32 * quarter) & (tallest < 32 * (quarter + 1))).sum()
        assert 75 < share < 175


def test_spread_vector_is_the_full_one_on_a_smaller_scale() -> None:
    full, spread = drawn("full").astype(float), drawn("spread").astype(float)
    # Least squares finds the scale of each vector, nearly; what is left is rounding.
    scale = (full * spread).sum(axis=1) / (full**2).sum(axis=1)
    assert 0 <= scale.min() < 0.05
    assert 0.95 < scale.max() <= 1
    assert np.abs(spread - scale[:, np.newaxis] * full).max() < 0.75


@pytest.mark.parametrize("amplitudes", ["full", "spread"])
def test_fewer_vectors_are_the_first_of_more(amplitudes: str) -> None:
    more = drawn(amplitudes, calibration=400, verification=100)
    fewer = drawn(amplitudes, calibration=250, verification=40)
    assert np.array_equal(fewer[:250], more[:250])
    assert np.array_equal(fewer[250:], more[400:440])


@pytest.mark.parametrize("amplitudes", ["full", "spread"])
def test_cores_have_vectors_of_their_own(amplitudes: str) -> None:
    assert not np.array_equal(drawn(amplitudes, core=0), drawn(amplitudes, core=1))
