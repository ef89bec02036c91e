"""Small mock chips whose numbers can be worked out by hand."""

from typing import Any

from hil_mock_device.profile import ArrayProfile, CounterProfile, DriftProfile, MockProfile

_IDEAL_ARRAY: dict[str, Any] = {
    "cores": 2,
    "rows": 3,
    "columns": 2,
    "programming_noise": 0.0,
    "stuck_share": 0.0,
    "dead_column_chance": 0.0,
}
_IDEAL_COUNTER: dict[str, Any] = {
    "counts_at_full_scale": 420.0,
    "full_scale_products": 420.0,
    "gain_sigma": 0.0,
    "offset_mean_counts": 0.0,
    "offset_sigma_counts": 0.0,
    "curvature_sigma": 0.0,
    "read_noise_counts": 0.0,
}


def ideal_profile(
    *,
    seed: int = 0,
    array: dict[str, Any] | None = None,
    counter: dict[str, Any] | None = None,
    drift: dict[str, Any] | None = None,
) -> MockProfile:
    """Return a chip without noise and spread that counts 1 per product unit, up to 4095.

    `array`, `counter` and `drift` replace single keys.
    """
    return MockProfile(
        name="ideal",
        seed=seed,
        array=ArrayProfile(**(_IDEAL_ARRAY | (array or {}))),
        counter=CounterProfile(**(_IDEAL_COUNTER | (counter or {}))),
        drift=DriftProfile(**(drift or {})),
    )


def lifelike_profile(
    *, seed: int = 0, cores: int = 2, rows: int = 32, columns: int = 8
) -> MockProfile:
    """Return a small chip with every imperfection of the default profile."""
    return MockProfile(
        name="lifelike",
        seed=seed,
        array=ArrayProfile(cores=cores, rows=rows, columns=columns, stuck_share=0.01),
        counter=CounterProfile(full_scale_products=70_000.0),
    )
