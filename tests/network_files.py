"""The real networks and images, where they are at hand."""

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def real_file(name: str) -> Path:
    """Return a file of real data, or skip the test."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name}: the real networks and images are not at hand")
    return path
