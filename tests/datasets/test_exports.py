import csv
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import example_steps as example
from hil.core.correction import ColumnFlag
from hil_datasets.coefficients import CoefficientSet, collect_coefficients
from hil_datasets.export import exporter
from hil_datasets.export.exporter import CSV, JSON, NPZ
from hil_datasets.step_files.reader import read_step

RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
CORRECTION_ID = "a8ee2d6a04ac6dfe3900f887f73d0214adb321ecb9d101dbbb39312f0f92c9b9"
COEFFICIENTS_ID = "d42002a0306fd5d389b9349fee5a8f9009d56dd095950e0e7014a448eb143be8"
SET_ID = "af78022f61f494a15bc77ebc117ee6491086cddfa68cf96612b55b0f07113272"
"""Computed from scratch in ``test_export_ids.py``."""
NMPU = {
    "in_bits": 10,
    "scale_int": 1,
    "scale_frac": 7,
    "off_int": 7,
    "off_frac": 1,
    "off_bits": 8,
    "shift": None,
    "cut_pre": 0,
    "rounding": "half_up",
    "acc_bits": 12,
    "out_bits": 8,
    "saturate": True,
    "symmetric": False,
    "merge": "after_subtract",
    "offset_at": "after_shift",
    "shared_scale": False,
}
SOURCE = {
    "chip": {"manufacturer": "Acme", "model": "AIMC-4x3", "serial": "42", "firmware": "1.0"},
    "campaign_sha256": example.CAMPAIGN_SHA256,
    "software": "aimc-hil 0.1.0",
}
FORMATS = (
    "JSON", "CSV", "NPZ", "HDF5", "YAML", "C_HEADER", "READMEMH", "HEX", "BINARY", "AIHWKIT",
)  # fmt: skip
OTHER_REGISTERS = replace(
    example.CONCLUSION.registers, scale_p=np.array([128, 64, 1], dtype=np.uint8)
)
EXPORT_IN_ANOTHER_PROCESS = """
import hashlib
import sys
from pathlib import Path
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export import exporter
from hil_datasets.step_files.reader import read_step

steps = [read_step(Path(name)) for name in sys.argv[2:]]
coefficients = collect_coefficients("run", steps)
for name in sys.argv[1].split():
    print(name, hashlib.sha256(getattr(exporter, name).export(coefficients)).hexdigest())
"""


@pytest.fixture(scope="module")
def step_paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Core 0 in both modes, core 2 in one mode with its own shift."""
    folder = tmp_path_factory.mktemp("steps")
    other = replace(example.with_nmpu(shift=3), output_lsb=0.1)
    paths = []
    for key, conclusion in (
        (example.OTHER_CORE, other),
        (example.ONE, example.CONCLUSION),
        (example.FOUR, example.CONCLUSION),
    ):
        path = folder / f"{key.name}.h5"
        example.write_step(path, key, conclusion=conclusion)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def coefficients(step_paths: list[Path]) -> CoefficientSet:
    return collect_coefficients("run", [read_step(path) for path in step_paths])


@pytest.fixture(scope="module")
def one_tile(step_paths: list[Path]) -> CoefficientSet:
    return collect_coefficients("run", [read_step(step_paths[1])])


@pytest.fixture(scope="module")
def npz(coefficients: CoefficientSet) -> dict[str, Any]:
    content = NPZ.export(coefficients)
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def test_json_is_exactly_this_document(one_tile: CoefficientSet) -> None:
    assert json.loads(JSON.export(one_tile)) == {
        "format": "hil-coefficients",
        "version": 1,
        "coefficients_id": SET_ID,
        "source": SOURCE,
        "nmpu": NMPU,
        "cores": [
            {
                "core": 0,
                "read_mode": "one_phase",
                "shift": 1,
                "output_lsb": 8.5,
                "raw_sha256": RAW_SHA256,
                "correction_id": CORRECTION_ID,
                "coefficients_id": COEFFICIENTS_ID,
                "first_row": 0,
                "rows_used": 4,
                "first_column": 0,
                "columns_used": 3,
                "scale_p": [128, 64, 0],
                "scale_n": [128, 96, 0],
                "offset": [-3, 5, 0],
                "swap": [0, 1, 0],
                "flags": [[], ["negative_gain"], ["dead", "saturated"]],
                "quality": {
                    "effective_bits": [6.5, None, 0.0],
                    "inl": [0.25, 0.5, 9.0],
                    "residual_rms": [0.75, 0.0, 9.5],
                    "noise_rms": [0.5, None, 0.0],
                    "saturated_share": [0.0, 0.25, 1.0],
                    "outlier_share": [0.0, 0.125, 0.5],
                    "condition": [1.0, 1.5, None],
                    "glitch_share": [0.0, 0.0625, 0.0],
                },
                "visit": 0,
                "calibrated_utc": "2026-01-02T03:04:05+00:00",
                "age_s": 60.5,
                "temperature_c": 25.5,
                "setpoints": {"chamber.temperature": 45.0},
            }
        ],
    }


def test_json_lists_every_tile_with_its_own_shift(coefficients: CoefficientSet) -> None:
    cores = json.loads(JSON.export(coefficients))["cores"]
    assert [(core["core"], core["read_mode"], core["shift"]) for core in cores] == [
        (0, "four_phase", 1),
        (0, "one_phase", 1),
        (2, "one_phase", 3),
    ]


def test_json_is_strict_and_ends_its_last_line(coefficients: CoefficientSet) -> None:
    content = JSON.export(coefficients)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    json.loads(content, parse_constant=refuse)
    assert content.isascii()
    assert content.endswith(b"}\n")


def test_csv_is_exactly_these_rows(one_tile: CoefficientSet) -> None:
    content = CSV.export(one_tile).decode()
    first, *rows = csv.reader(io.StringIO(content, newline=""))
    assert first == [
        "core", "read_mode", "column", "shift", "output_lsb",
        "scale_p", "scale_n", "offset", "swap", "flags",
        "raw_sha256", "correction_id", "coefficients_id",
        "effective_bits", "inl", "residual_rms", "noise_rms", "saturated_share", "outlier_share",
        "condition", "glitch_share",
        "visit", "calibrated_utc", "age_s", "temperature_c", "setpoints",
    ]  # fmt: skip
    assert [row[21:] for row in rows] == [
        ["0", "2026-01-02T03:04:05+00:00", "60.5", "25.5", "chamber.temperature=45.0"]
    ] * 3
    assert [row[13:21] for row in rows] == [
        ["6.5", "0.25", "0.75", "0.5", "0.0", "0.0", "1.0", "0.0"],
        ["", "0.5", "0.0", "", "0.25", "0.125", "1.5", "0.0625"],
        ["0.0", "9.0", "9.5", "0.0", "1.0", "0.5", "", "0.0"],
    ]
    assert [row[:10] for row in rows] == [
        ["0", "one_phase", "0", "1", "8.5", "128", "128", "-3", "0", ""],
        ["0", "one_phase", "1", "1", "8.5", "64", "96", "5", "1", "negative_gain"],
        ["0", "one_phase", "2", "1", "8.5", "0", "0", "0", "0", "dead+saturated"],
    ]
    assert [row[10:13] for row in rows] == [[RAW_SHA256, CORRECTION_ID, COEFFICIENTS_ID]] * 3


def test_step_without_quality_exports_unknown_numbers(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    example.write_step(path, conclusion=replace(example.CONCLUSION, quality=None))
    old = collect_coefficients("run", [read_step(path)])
    (tile,) = json.loads(JSON.export(old))["cores"]
    assert tile["quality"]["effective_bits"] == [None, None, None]
    _, first, *_ = CSV.export(old).decode().splitlines()
    assert f"{RAW_SHA256},{CORRECTION_ID},{COEFFICIENTS_ID},,,,,,,,,0,2026-01-02" in first


def test_csv_has_one_row_per_column_of_every_tile(coefficients: CoefficientSet) -> None:
    content = CSV.export(coefficients).decode()
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [(row["core"], row["read_mode"], row["column"], row["shift"]) for row in rows] == [
        (core, mode, column, shift)
        for core, mode, shift in (
            ("0", "four_phase", "1"),
            ("0", "one_phase", "1"),
            ("2", "one_phase", "3"),
        )
        for column in ("0", "1", "2")
    ]
    assert float(rows[-1]["output_lsb"]) == 0.1


@pytest.mark.parametrize(
    ("name", "dtype", "content"),
    [
        ("scale_p", "uint8", [[[128, 64, 0]] * 2, [[0, 0, 0], [128, 64, 0]]]),
        ("scale_n", "uint8", [[[128, 96, 0]] * 2, [[0, 0, 0], [128, 96, 0]]]),
        ("offset", "int16", [[[-3, 5, 0]] * 2, [[0, 0, 0], [-3, 5, 0]]]),
        (
            "swap",
            "bool",
            [[[False, True, False]] * 2, [[False, False, False], [False, True, False]]],
        ),
        ("flags", "uint16", [[[0, 32, 6]] * 2, [[0, 0, 0], [0, 32, 6]]]),
        ("shift", "int16", [[1, 1], [0, 3]]),
        ("finished", "bool", [[True, True], [False, True]]),
        ("core", "int64", [0, 2]),
        ("read_mode", "<U10", ["four_phase", "one_phase"]),
    ],
)
def test_npz_array_is_exactly_this(
    npz: dict[str, Any], name: str, dtype: str, content: list[Any]
) -> None:
    np.testing.assert_array_equal(npz[name], np.array(content, dtype=dtype), strict=True)


def test_npz_output_lsb_is_nan_where_a_tile_was_not_calibrated(npz: dict[str, Any]) -> None:
    np.testing.assert_array_equal(npz["output_lsb"], [[8.5, 8.5], [np.nan, 0.1]], strict=True)


def test_npz_says_where_it_comes_from(npz: dict[str, Any]) -> None:
    assert json.loads(str(npz["nmpu"])) == NMPU
    source = json.loads(str(npz["source"]))
    assert {name: source[name] for name in SOURCE} == SOURCE
    assert source["raw_sha256"]["core00_one_phase"] == RAW_SHA256


def test_npz_holds_nothing_else(npz: dict[str, Any]) -> None:
    assert sorted(npz) == [
        "coefficients_id", "columns_used", "core", "finished", "first_column", "first_row", "flags",
        "nmpu", "offset", "output_lsb", "read_mode", "rows_used", "scale_n",
        "scale_p", "shift", "source", "swap",
    ]  # fmt: skip


def test_npz_holds_no_pickles(npz: dict[str, Any]) -> None:
    assert not any(array.dtype.hasobject for array in npz.values())


def test_same_steps_give_the_same_bytes_in_any_order_and_process(
    coefficients: CoefficientSet, step_paths: list[Path]
) -> None:
    paths = f"import sys; sys.path[:] = {sys.path!r}"
    steps = [str(path) for path in reversed(step_paths)]
    other = subprocess.run(
        [sys.executable, "-c", f"{paths}\n{EXPORT_IN_ANOTHER_PROCESS}", " ".join(FORMATS), *steps],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONHASHSEED": "12345", "TZ": "Pacific/Auckland"},
    ).stdout
    for line in other.splitlines():
        name, found = line.split()
        content = getattr(exporter, name).export(coefficients)
        assert hashlib.sha256(content).hexdigest() == found, name
    assert other.count("\n") == len(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_other_coefficients_give_other_bytes(name: str, step_paths: list[Path]) -> None:
    record = read_step(step_paths[0])
    other = replace(record, conclusion=replace(record.conclusion, registers=OTHER_REGISTERS))
    export = getattr(exporter, name).export
    assert export(collect_coefficients("run", [record])) != export(
        collect_coefficients("run", [other])
    )


@pytest.mark.parametrize("flag", list(ColumnFlag))
def test_every_flag_is_exported_by_its_name(step_paths: list[Path], flag: ColumnFlag) -> None:
    record = read_step(step_paths[1])
    flags = np.array([flag, 0, 0], dtype=np.uint16)
    record = replace(record, conclusion=replace(record.conclusion, flags=flags))
    document = json.loads(JSON.export(collect_coefficients("run", [record])))
    assert document["cores"][0]["flags"] == [[str(flag.name).lower()], [], []]
