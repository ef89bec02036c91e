"""What one may choose of a mock chip: names and bounds, without importing what simulates it."""

from importlib import resources

BUILT_IN = ("quickstart", "hermes-like", "single-ended", "stress")
"""Names of the profiles that ship with the mock."""
LARGEST_SEED = 2**63 - 1
"""Largest number that names a chip: seeds are stored as signed 64-bit integers."""
LONGEST_VECTOR_S = 1.0
"""Slowest pace: with it, a full block of 4096 vectors takes more than an hour."""


def built_in_text(name: str) -> str:
    """Return the TOML text of a built-in profile."""
    return resources.files("hil_mock_device").joinpath(f"profiles/{name}.toml").read_text("utf-8")
