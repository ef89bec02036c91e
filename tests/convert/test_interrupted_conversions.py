"""A conversion that ends early leaves nothing: no folder, no scratch, no worker still writing."""

import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from command_line import HIL
from foreign_recordings import HEAD
from hil.core.errors import DatasetError
from hil.recorded.convert.conversion import convert_files
from hil.recorded.convert.mapping_check import load_mapping
from hil.scale.pool import open_pool

MAPPING = (
    HEAD.format(form="fits")
    + '[steps]\nread_mode = "one_phase"\n[stimulus]\nvectors = 2000\n'
    + '[fits]\nrule = "difference"\naxes = ["core", "column"]\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 16 cores of fits and their mapping."""
    rng = np.random.default_rng(3)
    slope = rng.uniform(1, 3, (16, 32))
    np.savez(tmp_path / "f.npz", slope=slope, intercept=rng.uniform(0, 9, slope.shape))
    (tmp_path / "map.toml").write_text(MAPPING)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("workers", "out"), [(1, "new/deeper/run"), (2, "run")])
def test_interruption_between_two_steps_leaves_nothing(
    folder: Path, workers: int, out: str
) -> None:
    def interrupt(done: int, _of: int) -> None:
        if done == 2:  # while the workers are at others
            raise KeyboardInterrupt

    with open_pool(workers=workers) as pool, pytest.raises(KeyboardInterrupt):
        convert_files(
            [folder / "f.npz"],
            load_mapping(folder / "map.toml"),
            out=folder / out,
            pool=pool,
            now=lambda: datetime(2026, 1, 2, tzinfo=UTC),
            on_step=interrupt,
        )
    assert names(folder) == ["f.npz", "map.toml"]


@pytest.mark.parametrize("workers", [1, 2])
def test_signal_ends_a_conversion_that_leaves_nothing(folder: Path, workers: int) -> None:
    command = [str(HIL), "data", "convert", "f.npz"]
    with subprocess.Popen(
        [*command, "--map", "map.toml", "--out", "run", "--workers", str(workers)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: any(folder.glob(".hil-*.part/made/steps/core01*.h5")), process)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert names(folder) == ["f.npz", "map.toml"]


def wait_until(is_true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_refused_recording_leaves_no_folder_above_the_run(folder: Path) -> None:
    np.savez(folder / "f.npz", slope=np.ones((2, 3)))
    with open_pool() as pool, pytest.raises(DatasetError, match="intercept: this array is missing"):
        convert_files(
            [folder / "f.npz"],
            load_mapping(folder / "map.toml"),
            out=folder / "new" / "deeper" / "run",
            pool=pool,
            now=lambda: datetime(2026, 1, 2, tzinfo=UTC),
        )
    assert names(folder) == ["f.npz", "map.toml"]
