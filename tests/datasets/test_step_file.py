import hashlib
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import example_steps as example
from hil.core.correction import ColumnQuality
from hil_calibration.verify import CORRECTIONS
from hil_datasets.step import StepRecord, hash_readouts
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.schema import (
    CORRECTION_NAMES,
    STEP_ATTRIBUTES,
    STEP_DATASETS,
    DatasetSpec,
)
from hil_datasets.step_files.writer import StepWriter

DATASET_IDS = [spec.path for spec in STEP_DATASETS]


@pytest.fixture(scope="module")
def step_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps") / "core00_one_phase.h5"
    example.write_step(path)
    return path


@pytest.fixture(scope="module")
def record(step_path: Path) -> StepRecord:
    return read_step(step_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weights", example.WEIGHTS),
        ("inputs", example.INPUTS),
        ("raw", example.RAW),
        ("expected", example.EXPECTED),
    ],
)
def test_what_was_measured_is_read_back(
    record: StepRecord, name: str, expected: npt.NDArray[Any]
) -> None:
    np.testing.assert_array_equal(getattr(record, name), expected, strict=True)


@pytest.mark.parametrize(
    "name",
    [
        "a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared",
        "saturated_counts", "flags", "outputs", "column_rms",
    ],
)  # fmt: skip
def test_concluded_arrays_are_read_back(record: StepRecord, name: str) -> None:
    written = getattr(example.CONCLUSION, name)
    np.testing.assert_array_equal(getattr(record.conclusion, name), written, strict=True)


@pytest.mark.parametrize(
    "name",
    [
        "output_lsb", "global_gain", "fmt", "registers", "errors",
        "errors_all_columns", "nmpu_mismatches",
    ],
)  # fmt: skip
def test_concluded_values_are_read_back(record: StepRecord, name: str) -> None:
    assert getattr(record.conclusion, name) == getattr(example.CONCLUSION, name)


def test_correction_is_read_back(record: StepRecord) -> None:
    assert record.conclusion.correction.a_p.tolist() == [0.5, 0.25, 0.0]
    assert record.conclusion.correction.a_n.tolist() == [0.5, 0.375, 0.0]
    assert record.conclusion.correction.b.tolist() == [-1.5, 2.5, 0.0]


@pytest.mark.parametrize("name", [field.name for field in fields(ColumnQuality)])
def test_quality_is_read_back(record: StepRecord, name: str) -> None:
    written = getattr(example.QUALITY, name)
    np.testing.assert_array_equal(getattr(record.conclusion.quality, name), written, strict=True)


def test_step_from_before_quality_is_read_back_without(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    example.write_step(path, conclusion=replace(example.CONCLUSION, quality=None))
    with h5py.File(path) as step:
        assert "quality" not in step
    assert read_step(path).conclusion.quality is None


def test_timing_is_read_back(record: StepRecord) -> None:
    timing = record.timing
    assert timing is not None
    assert timing.began_utc == "2026-01-02T03:04:05.250000+00:00"
    assert timing.since_run_began_s == 12.5
    assert timing.first_vector.tolist() == [0, 4]
    assert timing.began_s.tolist() == [0.5, 1.25]
    assert timing.ended_s.tolist() == [1.0, 4.5]
    told = [(fault.block, fault.kind, fault.request, fault.noticed_s) for fault in timing.faults]
    assert told == [(1, "timeout", "READ?", 3.25), (1, "link_lost", "FETCh:COUNts?", 3.375)]
    assert timing.faults[0].recovered_s == 0.125
    assert np.isnan(timing.faults[1].recovered_s)


def test_timing_without_faults_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    example.write_step(path, timing=replace(example.TIMING, faults=()))
    timing = read_step(path).timing
    assert timing is not None
    assert timing.faults == ()


def test_step_from_before_timing_is_read_back_without(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    example.write_step(path, timing=None)
    with h5py.File(path) as step:
        assert "timing" not in step
    assert read_step(path).timing is None


def test_conditions_are_read_back(record: StepRecord) -> None:
    told = [
        (each.name, each.unit, each.setpoint, each.at_start, each.at_end)
        for each in record.conditions
    ]
    assert told == [
        ("chamber.temperature", "degC", 45.0, 44.5, 45.25),
        ("supply.current", "A", None, 0.0025, 0.002),
    ]


def test_step_without_conditions_has_no_group_for_them(tmp_path: Path) -> None:
    path = tmp_path / "plain.h5"
    example.write_step(path, conditions=())
    with h5py.File(path) as step:
        assert "conditions" not in step
    assert read_step(path).conditions == ()


def test_timing_does_not_change_the_hash_of_the_readouts(tmp_path: Path) -> None:
    plain = example.write_step(tmp_path / "plain.h5", timing=None)
    assert example.write_step(tmp_path / "timed.h5") == plain


def test_origin_and_key_are_read_back(record: StepRecord) -> None:
    assert record.origin == example.ORIGIN
    assert record.key == example.ONE


def test_step_without_nmpu_outputs_is_read_back_without(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    conclusion = replace(example.CONCLUSION, outputs=None, nmpu_mismatches=None)
    example.write_step(path, conclusion=conclusion)
    record = read_step(path)
    assert record.conclusion.outputs is None
    assert record.conclusion.nmpu_mismatches is None


def test_unmeasurable_error_is_read_back_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    errors = dict.fromkeys(CORRECTION_NAMES, float("nan"))
    example.write_step(path, conclusion=replace(example.CONCLUSION, errors=errors))
    with h5py.File(path, "r") as file:
        stored = file["verification"].attrs["errors"]
    assert stored == '{"uncorrected": null, "float": null, "fp16": null, "nmpu": null}'
    assert np.isnan(read_step(path).conclusion.errors["nmpu"])


@pytest.mark.parametrize("title", ["", "a\nb\tc", '"\\', "ε ≤ ½ 测试 🜁", " " * 200])
def test_any_title_is_read_back(tmp_path: Path, title: str) -> None:
    path = tmp_path / "step.h5"
    example.write_step(path, origin=replace(example.ORIGIN, title=title))
    assert read_step(path).origin.title == title


@settings(max_examples=20, deadline=None)
@given(
    weights=arrays.arrays(np.int8, (4, 3)),
    raw=arrays.arrays(np.uint16, (6, 2, 3)),
    temperature_c=st.floats(allow_nan=False, allow_infinity=False),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_readouts_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    weights: npt.NDArray[np.int8],
    raw: npt.NDArray[np.uint16],
    temperature_c: float,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("any") / "step.h5"
    origin = replace(example.ORIGIN, temperature_c=temperature_c, seed=seed)
    example.write_step(path, weights=weights, raw=raw, origin=origin)
    record = read_step(path)
    np.testing.assert_array_equal(record.weights, weights, strict=True)
    np.testing.assert_array_equal(record.raw, raw, strict=True)
    assert record.origin == origin


def test_arrays_of_a_read_step_refuse_to_be_written(record: StepRecord) -> None:
    with pytest.raises(ValueError, match="read-only"):
        record.raw[0, 0, 0] = 1


def test_file_opens_with_plain_h5py(step_path: Path) -> None:
    with h5py.File(step_path, "r") as file:
        assert file["raw"][5].tolist() == [[150, 151, 4095], [50, 51, 0]]
        assert file.attrs["title"] == "Tiny µ-run"
        assert file["correction"].attrs["output_lsb"] == 8.5


@pytest.mark.parametrize("spec", STEP_DATASETS, ids=DATASET_IDS)
def test_dataset_carries_unit_long_name_and_axes(step_path: Path, spec: DatasetSpec) -> None:
    with h5py.File(step_path, "r") as file:
        dataset = file[spec.path]
        labels = [dimension.label for dimension in dataset.dims]
        assert labels == list(spec.axes)
        assert dataset.attrs["units"] == spec.units
        assert dataset.attrs["long_name"] == spec.long_name
        assert "" not in [spec.units, spec.long_name, *labels]


def test_file_holds_the_schema_and_nothing_else(step_path: Path) -> None:
    found: list[str] = []
    attributes: list[str] = []
    with h5py.File(step_path, "r") as file:
        for owner in (
            "/",
            "/correction",
            "/coefficients",
            "/verification",
            "/timing",
            "/conditions",
            "/circumstance",
            "/provenance",
        ):
            names = set(file[owner].attrs) - {"NX_class", "default"}
            attributes += [f"{owner}/{name}".replace("//", "/")[1:] for name in names]
        for owner in file.keys() - {"entry"}:
            inside = file[owner].items() if isinstance(file[owner], h5py.Group) else []
            for name, item in [(owner, file[owner]), *((f"{owner}/{n}", i) for n, i in inside)]:
                if isinstance(item, h5py.Dataset) and not item.is_scale:
                    found.append(name)
    assert sorted(found) == sorted(DATASET_IDS)
    assert sorted(attributes) == sorted(spec.path for spec in STEP_ATTRIBUTES)


def test_names_of_the_corrections_are_those_of_the_verification() -> None:
    assert CORRECTION_NAMES == CORRECTIONS


def test_content_hash_is_the_documented_one() -> None:
    counts = struct.pack("<12H", *range(65530, 65536), *range(6))
    known = hashlib.sha256(b"(1, 3)\x01\xff\x80(2, 1)\x05\xfb(2, 2, 3)" + counts).hexdigest()
    weights = np.array([[1, -1, -128]], dtype=np.int8)
    inputs = np.array([[5], [-5]], dtype=np.int8)
    raw = np.array([*range(65530, 65536), *range(6)], dtype=np.uint16).reshape(2, 2, 3)
    assert hash_readouts(weights, inputs, raw) == known


def test_content_hash_is_stored_returned_and_read(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    returned = example.write_step(path)
    with h5py.File(path, "r") as file:
        stored = file.attrs["raw_sha256"]
    assert returned == stored == read_step(path).raw_sha256


def crc32c(content: bytes) -> int:
    """CRC-32C bit by bit, as RFC 3720 defines it: reflected polynomial 0x82F63B78."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_first_512_bytes_are_the_hashes_of_the_others(step_path: Path) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the published check value
    content = step_path.read_bytes()
    sha256, crc = hashlib.sha256(content[512:]).hexdigest(), crc32c(content[512:])
    lines, at, rest = [f"hil-step sha256 {sha256} crc32c {crc:08x}"], 512, b""
    readouts = {
        name: array.tobytes()
        for name, array in (
            ("weights", example.WEIGHTS),
            ("inputs", example.INPUTS),
            ("raw", example.RAW),
            ("expected", example.EXPECTED),
        )
    }
    places = {name: content.index(stored) for name, stored in readouts.items()}
    for name in sorted(places, key=places.__getitem__):
        stored = readouts[name]
        lines.append(f"part {name} {places[name]} {len(stored)} {crc32c(stored):08x}")
        rest, at = rest + content[at : places[name]], places[name] + len(stored)
    lines.append(f"rest {crc32c(rest + content[at:]):08x}")
    seal = "".join(f"{line}\n" for line in lines).encode()
    assert content[:512] == seal + bytes(512 - len(seal))


def test_same_step_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        example.write_step(tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_vector_that_was_never_written_keeps_a_step_from_finishing(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    with StepWriter(
        path, key=example.ONE, origin=example.ORIGIN, weights=example.WEIGHTS
    ) as writer:
        writer.write_block(
            0, inputs=example.INPUTS[:5], counts=example.RAW[:5], expected=example.EXPECTED[:5]
        )
        with pytest.raises(ValueError, match=r"step\.h5: vector 5 was never written"):
            writer.finish(example.CONCLUSION)
    assert not path.exists()
