"""The benchmarks run and measure what they say; how fast is nobody's claim here."""

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fits, units
from benchmarks.data import FORMAT, draw_readouts
from benchmarks.streaming import peak_memory_mib
from benchmarks.timing import Contender, Timed, time_in_turns
from hil_calibration.kernels import numba_extra
from hil_calibration.nmpu import apply_nmpu
from hil_calibration.robust_fit import fit_huber

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(path)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, json.loads(path.read_text())


def test_every_contender_is_timed_as_often(result: tuple[str, dict[str, Any]]) -> None:
    seconds = result[1]["seconds"]
    assert {"read, one core", "read, all cores", "NMPU apply, numpy"} < set(seconds)
    of_links = {"sendall to our stream", "block to VisaTransport", "SerialTransport"}
    assert {len(seconds.pop(name)) for name in of_links} == {1}
    assert {len(seconds[name]) for name in seconds if ", " in name} == {3}
    assert min(min(times) for times in seconds.values()) > 0


def test_the_machine_is_described(result: tuple[str, dict[str, Any]]) -> None:
    machine = result[1]["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 2**28
    assert machine["cpu"]
    assert machine["python"] == platform.python_version()
    assert machine["versions"]["numpy"] == np.__version__
    assert machine["versions"]["numba"] == (
        metadata.version("numba") if numba_extra.is_installed() else None
    )
    assert machine["load_average"] >= 0
    assert machine["load_average_after"] >= 0


def test_a_rival_that_is_not_installed_is_called_absent(
    result: tuple[str, dict[str, Any]],
) -> None:
    text, stored = result
    line = next(line for line in text.splitlines() if "against NMPU apply, torch" in line)
    assert ("absent" in line) == (stored["machine"]["versions"]["torch"] is None)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    contenders = [
        Contender(name=name, work=1.0, run=lambda name=name: order.append(name))  # type: ignore[misc]
        for name in "ab"
    ]
    time_in_turns(contenders, 2)
    assert "".join(order) == "ababab"  # the first of each warms up


def test_rates_are_bytes_over_median_and_shortest_time() -> None:
    timed = Timed(name="", work=12.0, seconds=(4.0, 3.0, 100.0))
    assert (timed.rate, timed.best_rate) == (3.0, 4.0)


@pytest.mark.parametrize("package", ["apytypes", "fxpmath", "torch"])
def test_rivals_compute_the_same_outputs(package: str) -> None:
    # The extra `bench` holds all but torch, which everybody installs in a way of their own.
    pytest.importorskip(package, reason=f"{package} is not installed")
    readouts = draw_readouts(20, 16)
    expected = apply_nmpu(readouts.p_counts, readouts.n_counts, readouts.registers, FORMAT)
    found = getattr(units, f"nmpu_with_{package}")(readouts, 20)
    assert np.array_equal(found, expected)


def test_rivals_of_the_robust_fit_minimise_the_same_loss() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    readouts = draw_readouts(400, 16)
    y = readouts.expected.astype(np.float64)
    y[::20] += 100
    ours = fit_huber(readouts.counts, y, scale=np.full(16, 2.0)).correction
    for column, (a_p, minus_a_n, b) in enumerate(fits.huber_with_scipy(readouts.counts, y, 3)):
        assert a_p == pytest.approx(ours.a_p[column], rel=1e-4)
        assert -minus_a_n == pytest.approx(ours.a_n[column], rel=1e-4)
        assert b == pytest.approx(ours.b[column], abs=0.01)


def test_the_huber_regression_of_scikit_learn_finds_the_same_gains() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    readouts = draw_readouts(400, 16)
    y = readouts.expected.astype(np.float64)
    y[::20] += 100
    # It finds the scale too, so the two are near each other within errors of 0.0004 per count.
    ours = fit_huber(readouts.counts, y, scale=np.full(16, 2.0)).correction
    for column, found in enumerate(fits.huber_with_scikit_learn(readouts.counts, y, 3)):
        assert found[0] == pytest.approx(ours.a_p[column], abs=0.001)
        assert -found[1] == pytest.approx(ours.a_n[column], abs=0.001)


def test_a_stream_of_a_million_vectors_is_fitted_in_bounded_memory() -> None:
    # In one piece its counts and expected outputs would be 488 MiB.
    assert peak_memory_mib(1_000_000) < 300
