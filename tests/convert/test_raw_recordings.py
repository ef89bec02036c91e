"""Raw counts of another laboratory become a run whose corrections are those of its chip."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import hil
from foreign_recordings import (
    A_N,
    A_P,
    HEAD,
    WEIGHTS,
    B,
    convert,
    counts_of,
    gains,
    inputs_of,
    write_csv,
    write_weights,
)
from hil_datasets.integrity.run_check import verify_run
from recorded_runs import command

VECTORS = 192
SPLIT = "[vectors]\nverification = 64\n"
CSV_MAPPING = (
    HEAD.format(form="counts")
    + SPLIT
    + """
[read_modes]
4ph = "four_phase"

[csv]
core = "tile"
read_mode = "mode"
vector = "n"

[counts]
rule = "pair"
files = "*counts.csv"
columns = ["p{column}", "n{column}"]

[inputs]
files = "*counts.csv"
columns = ["x{row}"]

[weights]
files = "weights*.csv"
columns = ["w{column}"]
"""
)
HEADER = ["tile", "mode", "n", "x1", "x2", "x3", "x4", "p0", "n0", "p1", "n1", "p2", "n2"]


def counts_csv(path: Path, cores: tuple[int, ...] = (2, 5)) -> Path:
    rows = []
    for core in cores:
        inputs = inputs_of(VECTORS, seed=core)
        for vector, (x, counts) in enumerate(zip(inputs, counts_of(inputs), strict=True)):
            rows.append((core, "4ph", vector, *x, *counts.T.reshape(-1)))
    rows.sort(key=lambda row: (row[2], -row[0]))  # cores in turns, as a bench reads them
    return write_csv(path, HEADER, rows)


def assert_gains_are_known(step: Path) -> None:
    found = gains(step)
    np.testing.assert_allclose(found["a_p"], A_P, rtol=1e-6)
    np.testing.assert_allclose(found["a_n"], A_N, rtol=1e-6)
    np.testing.assert_allclose(found["b"], B, atol=1e-4)


def test_csv_with_a_row_a_vector_is_calibrated(tmp_path: Path) -> None:
    counts = counts_csv(tmp_path / "counts.csv")
    weights = write_weights(tmp_path / "weights.csv")
    mapping = tmp_path / "map.toml"
    mapping.write_text(CSV_MAPPING)
    ended = hil(
        "data", "convert", counts, weights, "--map", mapping, "--out", tmp_path / "run", "--json"
    )
    assert ended.code == 0, ended.stderr
    for core in (2, 5):
        assert_gains_are_known(tmp_path / "run" / "steps" / f"core{core:02d}_four_phase.h5")
    assert verify_run(tmp_path / "run").findings == ()


def test_repair_of_a_whole_run_copies_it(tmp_path: Path) -> None:
    convert(
        tmp_path,
        CSV_MAPPING,
        counts_csv(tmp_path / "counts.csv"),
        write_weights(tmp_path / "weights.csv"),
    )
    repaired = tmp_path / "repaired"
    ended = command("data", "repair", tmp_path / "run", "--out", repaired)
    assert (ended.code, ended.stdout.splitlines()[1:]) == (
        0,
        [f"{repaired}: 2 steps copied as they are, 0 not"],
    )
    traced = command("data", "trace", repaired, "--core", 5, "--column", 1)
    assert traced.code == 0, traced.stdout
    for step in sorted((tmp_path / "run" / "steps").iterdir()):
        assert (repaired / "steps" / step.name).read_bytes() == step.read_bytes()


def test_readouts_are_stored_as_they_were(tmp_path: Path) -> None:
    files = [counts_csv(tmp_path / "counts.csv"), write_weights(tmp_path / "weights.csv")]
    convert(tmp_path, CSV_MAPPING, *files)
    with h5py.File(tmp_path / "run" / "steps" / "core05_four_phase.h5") as file:
        np.testing.assert_array_equal(file["inputs"][...], inputs_of(VECTORS, seed=5))
        np.testing.assert_array_equal(file["raw"][...], counts_of(inputs_of(VECTORS, seed=5)))
        np.testing.assert_array_equal(file["weights"][...], WEIGHTS)
        assert file.attrs["measured_utc"] == "2024-02-03T04:05:06+00:00"
        assert file.attrs["temperature_c"] == 27.5
        assert file.attrs["calibration_vectors"] == 128
        assert file.attrs["resource"].startswith("converted, mapping ")


def test_run_keeps_mapping_and_hashes_of_its_sources(tmp_path: Path) -> None:
    files = [counts_csv(tmp_path / "counts.csv"), write_weights(tmp_path / "weights.csv")]
    outcome = convert(tmp_path, CSV_MAPPING, *files)
    start = outcome.run.events()[0]
    assert start["converted_from"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert start["mapping_sha256"] == hashlib.sha256(CSV_MAPPING.encode()).hexdigest()
    assert start["synthesised"] is False
    assert start["identity"] == {
        "manufacturer": "Elsewhere",
        "model": "RRAM",
        "serial": "A-7",
        "firmware": "unknown",
    }
    assert (outcome.run.path / "mapping.toml").read_text() == CSV_MAPPING


@pytest.mark.parametrize(
    "axes",
    [
        ("core", "vector", "polarity", "column"),
        ("column", "polarity", "vector", "core"),
        ("vector", "core", "-", "column", "polarity"),
    ],
    ids=" ".join,
)
def test_axes_may_be_in_any_order(tmp_path: Path, axes: tuple[str, ...]) -> None:
    inputs = inputs_of(VECTORS)
    counts = np.stack([counts_of(inputs), counts_of(inputs)])  # core, vector, polarity, column
    order = ["core", "vector", "polarity", "column"].index
    counts = np.transpose(counts, [order(axis) for axis in axes if axis != "-"])
    if "-" in axes:
        counts = np.expand_dims(counts, axes.index("-"))
    np.savez(tmp_path / "r.npz", counts=counts, x=inputs.T, w=WEIGHTS.astype(np.int16))
    named = ", ".join(f'"{axis}"' for axis in axes)
    mapping = (
        HEAD.format(form="counts")
        + SPLIT
        + '[steps]\nread_mode = "four_phase"\n[axes]\ncore = [3, 9]\n'
        + f'[counts]\nrule = "pair"\narray = "counts"\naxes = [{named}]\n'
        + '[inputs]\narray = "x"\naxes = ["row", "vector"]\n'
        + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
    )
    convert(tmp_path, mapping, tmp_path / "r.npz")
    assert_gains_are_known(tmp_path / "run" / "steps" / "core03_four_phase.h5")
    assert_gains_are_known(tmp_path / "run" / "steps" / "core09_four_phase.h5")


def test_counters_may_be_two_arrays_and_files_name_their_core(tmp_path: Path) -> None:
    files = []
    for core in (0, 11):
        inputs = inputs_of(VECTORS, seed=core)
        counts = counts_of(inputs).astype(np.float32)
        path = tmp_path / f"die_c{core}_four_phase.npz"
        np.savez_compressed(path, pos=counts[:, 0], neg=counts[:, 1], x=inputs)
        files.append(path)
    np.save(tmp_path / "weights.npy", np.asfortranarray(WEIGHTS))
    named = 'files = "die_c{core}_{read_mode}.npz"\n'
    mapping = (
        HEAD.format(form="counts")
        + SPLIT
        + f'[counts]\nrule = "pair"\n{named}arrays = ["pos", "neg"]\naxes = ["vector", "column"]\n'
        + f'[inputs]\n{named}array = "x"\naxes = ["vector", "row"]\n'
        + '[weights]\nfiles = "*.npy"\narray = "w"\naxes = ["row", "column"]\n'
    )
    convert(tmp_path, mapping, *files, tmp_path / "weights.npy")
    assert_gains_are_known(tmp_path / "run" / "steps" / "core00_four_phase.h5")
    assert_gains_are_known(tmp_path / "run" / "steps" / "core11_four_phase.h5")


def test_weights_are_found_from_expected_outputs(tmp_path: Path) -> None:
    inputs = inputs_of(VECTORS)
    np.savez(tmp_path / "r.npz", c=counts_of(inputs), x=inputs, y=inputs @ WEIGHTS)
    mapping = (
        HEAD.format(form="counts")
        + SPLIT
        + '[steps]\ncore = 0\nread_mode = "four_phase"\n'
        + '[counts]\nrule = "pair"\narray = "c"\naxes = ["vector", "polarity", "column"]\n'
        + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n'
        + '[expected]\narray = "y"\naxes = ["vector", "column"]\n'
    )
    convert(tmp_path, mapping, tmp_path / "r.npz")
    with h5py.File(tmp_path / "run" / "steps" / "core00_four_phase.h5") as file:
        np.testing.assert_array_equal(file["weights"][...], WEIGHTS)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("single", [[[7, 0]], [[0, 0]]]), ("difference", [[[7, 0]], [[0, 9]]])],
)
def test_one_number_a_column_becomes_two_counts_by_its_rule(
    tmp_path: Path, rule: str, expected: list[list[list[int]]]
) -> None:
    inputs = inputs_of(VECTORS)
    counts = inputs @ WEIGHTS + 400
    counts[:2, 0] = (7, -9 if rule == "difference" else 0)
    # Stored as volts, 0.1 V a count from -2 V on: only exact decimals are taken.
    np.savez(tmp_path / "r.npz", c=(counts - 20) / 10, x=inputs, w=WEIGHTS)
    mapping = (
        HEAD.format(form="counts")
        + SPLIT
        + '[steps]\ncore = 0\nread_mode = "one_phase"\n'
        + "[nmpu]\noff_int = 9\noff_bits = 10\n"
        + f'[counts]\nrule = "{rule}"\nscale = 0.1\noffset = -2.0\narray = "c"\n'
        + 'axes = ["vector", "column"]\n'
        + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n'
        + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
    )
    convert(tmp_path, mapping, tmp_path / "r.npz")
    with h5py.File(tmp_path / "run" / "steps" / "core00_one_phase.h5") as file:
        raw = file["raw"][...].astype(int)
    assert raw[:2, :, 0].reshape(2, 1, 2).tolist() == expected
    np.testing.assert_array_equal(raw[2:, 0] - raw[2:, 1], counts[2:])


def test_same_files_give_the_same_step_files(tmp_path: Path) -> None:
    files = [counts_csv(tmp_path / "counts.csv"), write_weights(tmp_path / "weights.csv")]
    convert(tmp_path, CSV_MAPPING, *files, out="one")
    convert(tmp_path, CSV_MAPPING, *reversed(files), out="two")
    for core in (2, 5):
        step = f"steps/core{core:02d}_four_phase.h5"
        assert (tmp_path / "one" / step).read_bytes() == (tmp_path / "two" / step).read_bytes()


def test_step_that_allows_no_calibration_is_told_and_others_stay(tmp_path: Path) -> None:
    inputs = inputs_of(VECTORS)
    alive = counts_of(inputs)
    np.savez(tmp_path / "r.npz", c=np.stack([alive, np.zeros_like(alive)]), x=inputs, w=WEIGHTS)
    mapping = (
        HEAD.format(form="counts")
        + SPLIT
        + '[steps]\nread_mode = "four_phase"\n'
        + '[counts]\nrule = "pair"\narray = "c"\naxes = ["core", "vector", "polarity", "column"]\n'
        + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n'
        + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
    )
    outcome = convert(tmp_path, mapping, tmp_path / "r.npz")
    out = outcome.run.path
    assert [failed.split(":")[0] for failed in outcome.failed] == ["core01_four_phase"]
    assert [path.name for path in (out / "steps").iterdir()] == ["core00_four_phase.h5"]
    stop = (out / "journal.jsonl").read_text().splitlines()[-1]
    assert '"status": "incomplete"' in stop
    assert "core01_four_phase: " in stop
    assert verify_run(out).findings == ()
