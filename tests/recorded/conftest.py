"""The run that is measured once for all tests of this folder; none of them changes it."""

from pathlib import Path

import pytest

from recorded_runs import measured_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_run(tmp_path_factory.mktemp("measured"))
