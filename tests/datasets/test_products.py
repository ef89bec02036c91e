"""Expected outputs that are not inputs times weights are told, whoever has sealed them."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets import open_run
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.seal import seal_file
from hil_datasets.step_files.products import products_misfit
from hil_datasets.trace.links import LinkState
from hil_datasets.trace.walk import trace_column


@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    vectors=st.integers(0, 600),
    seed=st.integers(0, 1 << 32),
)
def test_products_of_all_sizes_are_right(rows: int, columns: int, vectors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (rows, columns), np.int8)
    inputs = rng.integers(-128, 128, (vectors, rows), np.int8)
    expected = np.einsum("vr,rc->vc", inputs.astype(np.int32), weights.astype(np.int32))
    assert products_misfit(weights, inputs, expected) == ""
    if vectors:
        place = tuple(int(rng.integers(size)) for size in expected.shape)
        expected[place] ^= 1
        assert products_misfit(weights, inputs, expected).startswith(
            f"of vector {place[0]}, column {place[1]} is {expected[place]}: "
        )


@pytest.mark.parametrize("shape", [(4096, 4), (4, 4096), (1500, 1500)])
def test_extreme_codes_are_exact(shape: tuple[int, int]) -> None:
    weights = np.full(shape, -128, np.int8)
    inputs = np.full((3, shape[0]), -128, np.int8)
    expected = np.full((3, shape[1]), shape[0] << 14, np.int32)
    assert products_misfit(weights, inputs, expected) == ""
    expected[2, 3] = 2**31 - 1
    assert "of vector 2, column 3 is 2147483647" in products_misfit(weights, inputs, expected)


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    run = example.write_run(tmp_path / "run", example.ONE)
    path = run.step_path(example.ONE)
    with h5py.File(path, "r+") as file:
        file["expected"][5, 1] = 940
    seal_file(path)
    return run.path


MESSAGE = "of vector 5, column 1 is 940: its inputs and weights make -940"


def test_sealed_forgery_is_found_by_verify(forged: Path) -> None:
    findings = verify_run(forged).findings
    assert [(finding.path, finding.where, finding.message) for finding in findings] == [
        ("steps/core00_one_phase.h5", "/expected", MESSAGE)
    ]


def test_sealed_forgery_is_not_read(forged: Path) -> None:
    with pytest.raises(DatasetError, match=MESSAGE):
        open_run(forged).cores[0]["one_phase"].record()


def test_sealed_forgery_breaks_the_trace(forged: Path) -> None:
    trace = trace_column(open_run(forged).source, example.ONE, 1)
    told = {link.name: (link.state, link.reason) for link in trace.links}
    assert told["readouts"] == (LinkState.BROKEN, f"/expected: {MESSAGE}")
