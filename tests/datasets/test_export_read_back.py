"""Exports are read back, damaged ones refused; the readouts tell a wrong one from a right one."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import example_steps as example
from export_samples import sample_set
from hil.core.nmpu_format import NmpuFormat
from hil_calibration.nmpu import apply_nmpu
from hil_datasets.coefficients import CoefficientSet, collect_coefficients
from hil_datasets.export import exporter as formats
from hil_datasets.export.aihwkit_format import export_aihwkit, read_aihwkit
from hil_datasets.export.exported import AffineTile, ExportedTile
from hil_datasets.export.exporter import Exporter, ExportRequest, make_files
from hil_datasets.export.hdf5_format import export_hdf5, read_hdf5
from hil_datasets.export.json_format import export_json, read_json
from hil_datasets.export.npz_format import export_npz, read_npz_export
from hil_datasets.export.self_check import ReadoutCheck, read_back
from hil_datasets.step import StepRecord
from hil_datasets.step_files.reader import read_step

OF_REGISTERS = [
    formats.JSON, formats.CSV, formats.NPZ, formats.HDF5, formats.YAML, formats.C_HEADER,
    formats.READMEMH, formats.HEX, formats.BINARY,
]  # fmt: skip
LEGAL_WITH_SHIFTS_ONLY = NmpuFormat(scale_frac=2, scale_int=1, shift=4, off_int=4, off_frac=4)
"""Without a shift this format is none: its offset would be finer than the product."""


@pytest.mark.parametrize("fmt", [NmpuFormat(shift=1), LEGAL_WITH_SHIFTS_ONLY])
@pytest.mark.parametrize("exporter", OF_REGISTERS, ids=lambda exporter: exporter.suffix)
def test_file_is_read_back_as_what_was_written(exporter: Exporter, fmt: NmpuFormat) -> None:
    coefficients = sample_set(fmt)
    request = ExportRequest(file_name=f"x{exporter.suffix}", name="left")
    back = read_back(exporter, make_files(exporter, coefficients, request), request)
    assert back is not None
    assert back.nmpu in (None, coefficients.nmpu)
    assert len(back.tiles) == 2
    for found, tile in zip(back.tiles, coefficients.tiles, strict=True):
        assert isinstance(found, ExportedTile)
        assert (found.core, found.read_mode) == (tile.key.core, tile.key.read_mode)
        assert (found.shift, found.raw_sha256) == (tile.shift, tile.raw_sha256)
        assert found.output_lsb in (None, tile.output_lsb)
        assert found.registers == tile.registers


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StepRecord:
    """The tiny chip's step, with the residual and the outputs that its registers really give.

    Of the held-out counts, column 0 has (140, 40), (150, 50); column 1, which swaps, has (141, 41),
    (151, 51); column 2 has scales of 0. Shift 1: product * 2**-7 to steps of half an output LSB.
    Column 0: 128 * 100 / 128 - 3 = 97, half of which is 49 up. Column 1: (64 * 41 - 96 * 141) / 128
    = -85.25, so -85 + 5 = -80 and -40; then (64 * 51 - 96 * 151) / 128 = -87.75, -88 + 5 and -41.
    """
    outputs = np.array([[49, -40, 0], [49, -41, 0]], np.int8)
    expected = np.array([[1, -2, 3], [996, -940, 42]]) / 8.5
    column_rms = example.CONCLUSION.column_rms.copy()
    column_rms[3] = np.sqrt(((outputs - expected) ** 2).mean(axis=0))
    path = tmp_path_factory.mktemp("step") / "step.h5"
    example.write_step(
        path, conclusion=replace(example.CONCLUSION, outputs=outputs, column_rms=column_rms)
    )
    return read_step(path)


@pytest.fixture(scope="module")
def coefficients(record: StepRecord) -> CoefficientSet:
    return collect_coefficients("run", [record])


def problems_of(
    record: StepRecord, coefficients: CoefficientSet, exporter: Exporter, **changes: Any
) -> list[str]:
    request = ExportRequest(file_name=f"x{exporter.suffix}")
    back = read_back(exporter, make_files(exporter, coefficients, request), request)
    assert back is not None
    tile = replace(back.tiles[0], **changes)
    check = ReadoutCheck(record, coefficients.nmpu, apply_nmpu)
    # Without the id of the set, which would not fit the tile any more.
    return check.problems(replace(back, tiles=(tile,), coefficients_id=""))


@pytest.mark.parametrize(
    "exporter", [*OF_REGISTERS, formats.AIHWKIT], ids=lambda exporter: exporter.suffix
)
def test_export_applied_to_the_readouts_gives_the_stored_residual(
    record: StepRecord, coefficients: CoefficientSet, exporter: Exporter
) -> None:
    assert problems_of(record, coefficients, exporter) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"registers": replace(example.CONCLUSION.registers, offset=np.array([-1, 5, 0], "i2"))},
            "core00_one_phase: 6 of 18 outputs differ from the run's integer model",
        ),
        ({"shift": 2}, "outputs differ from the device's"),
        ({"output_lsb": 8.25}, "core00_one_phase: the residual of column 0 is"),
        ({"raw_sha256": "0" * 64}, f"raw_sha256 is {'0' * 64}: the readouts have 45bb9b"),
        ({"core": 1}, "core00_one_phase: is there 0 times: must be once"),
    ],
    ids=["offset", "shift", "output_lsb", "hash", "core"],
)
def test_export_that_is_not_the_runs_is_found_out(
    record: StepRecord, coefficients: CoefficientSet, changes: dict[str, Any], problem: str
) -> None:
    found = problems_of(record, coefficients, formats.JSON, **changes)
    assert any(problem in one for one in found), found


def test_affine_export_with_another_scale_is_found_out(
    record: StepRecord, coefficients: CoefficientSet
) -> None:
    (problem,) = problems_of(
        record, coefficients, formats.AIHWKIT, scale=np.array([4.25, -2.5, 0.0])
    )
    assert problem == "core00_one_phase: 6 of 18 outputs are not those of the registers"


def test_aihwkit_gets_one_scale_and_bias_in_product_units(coefficients: CoefficientSet) -> None:
    (tile,) = read_aihwkit(export_aihwkit(coefficients)).tiles
    assert isinstance(tile, AffineTile)
    # Scales of 0.5 and 0.5; swapped 0.25 and 0.375, their mean; 0. Times output_lsb, 8.5.
    assert tile.scale.tolist() == [4.25, -2.65625, 0.0]
    assert tile.offset.tolist() == [-12.75, 21.25, 0.0]
    document = json.loads(export_aihwkit(coefficients))
    assert any("separate scales for P and N" in line for line in document["left_out"])
    assert document["tiles"][0]["largest_scale_difference"] == pytest.approx(0.4)


def test_exporter_of_another_distribution_need_not_read(coefficients: CoefficientSet) -> None:
    class Words:
        api_version = 1
        summary = "words"

        @staticmethod
        def export(_: CoefficientSet) -> bytes:
            return b"words"

    request = ExportRequest(file_name="x.words")
    files = make_files(Words(), coefficients, request)  # type: ignore[arg-type]
    assert files == {"x.words": b"words"}
    assert read_back(Words(), files, request) is None  # type: ignore[arg-type]


def edited_json(edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(export_json(sample_set()))
    edit(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no JSON"),
        (b"[" * 100_000, "is nested too deep"),
        (b"[]", "Input should be an object"),
        (edited_json(lambda d: d.update(version=2)), "version: Input should be 1"),
        (edited_json(lambda d: d["cores"][1].pop("swap")), "cores[1].swap: Field required"),
        (edited_json(lambda d: d["cores"][0].update(offset=[1e3])), "cores[0].offset[0]: "),
        (edited_json(lambda d: d["cores"][0].update(offset=[1])), "must be lists of one length"),
        (edited_json(lambda d: d["cores"][0]["scale_p"].__setitem__(2, 256)),
         "cores[0]: scale_p of column 2 is 256: must be 0 to 255"),
        (edited_json(lambda d: d["cores"][0]["scale_n"].__setitem__(0, 10**30)),
         "cores[0]: a register code is beyond 64 bits"),
        (edited_json(lambda d: d["cores"][0]["offset"].__setitem__(4, 200)),
         "offset of column 4 is 200: must be -128 to 127"),
        (edited_json(lambda d: d["cores"][0].update(shift=99)), "shift = 99: must be 0 to 15"),
        (edited_json(lambda d: d["nmpu"].pop("in_bits")), "nmpu: 'in_bits' is missing or unknown"),
        (edited_json(lambda d: d["nmpu"].update(in_bits="10")), "nmpu.in_bits is '10'"),
        (edited_json(lambda d: d["source"]["chip"].pop("serial")), "source.chip: must be texts"),
    ],
)  # fmt: skip
def test_damaged_json_is_refused_with_its_place(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_json(content)
    assert problem in str(caught.value)


def npz_with(**arrays: Any) -> bytes:
    with np.load(io.BytesIO(export_npz(sample_set()))) as archive:
        members = dict(archive) | arrays
    content = io.BytesIO()
    np.savez(content, **{name: array for name, array in members.items() if array is not None})
    return content.getvalue()


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("core.npy", bytes(1 << 28))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no .npz archive"),
        (export_npz(sample_set())[:900], "is no .npz archive"),
        (npz_with(scale_p=None), "scale_p: is missing"),
        (npz_with(shift=np.zeros((3, 3), np.int16)), "shift: must have shape (2, 2), has (3, 3)"),
        (npz_with(scale_p=np.zeros((2, 2, 9))), "scale_p: must not be of type float64"),
        (npz_with(read_mode=np.array(["a", "b"])), "'a' is not a valid ReadMode"),
        (npz_with(nmpu=np.array("{")), "nmpu: is no JSON"),
        (npz_with(source=np.array("[]")), "source: must be a JSON object"),
        (npz_with(core=np.array([{}, {}], dtype=object)), "is no .npz archive"),
    ],
)
def test_damaged_npz_is_refused_with_its_place(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_npz_export(content)
    assert problem in str(caught.value)


def test_npz_with_a_huge_array_is_refused() -> None:
    with pytest.raises(ValueError, match="holds an array of 268435456 bytes"):
        read_npz_export(bomb())


def hdf5_after(edit: Callable[[h5py.File], object]) -> bytes:
    content = io.BytesIO(export_hdf5(sample_set()))
    with h5py.File(content, "r+") as file:
        edit(file)
    return content.getvalue()


def replaced(file: h5py.File, name: str, **how: Any) -> None:
    del file[name]
    file.create_dataset(name, **how)


def linked_outside(file: h5py.File) -> None:
    del file["shift"]
    file["shift"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x89HDF\r\n\x1a\n", "is no HDF5 file"),
        (export_hdf5(sample_set())[:4000], "is no HDF5 file"),
        (hdf5_after(lambda file: file.attrs.__setitem__("version", 2)), "of version 1"),
        (hdf5_after(linked_outside), "shift: is missing, or only a link"),
        (hdf5_after(lambda file: replaced(file, "swap", shape=(1 << 20, 1 << 20), dtype="u1",
                                          chunks=(1, 1 << 10))), "swap: has shape (1048576, "),
        (hdf5_after(lambda file: replaced(file, "swap", data=np.zeros(3))), "must have shape"),
    ],
)  # fmt: skip
def test_damaged_hdf5_is_refused_with_its_place(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_hdf5(content)
    assert problem in str(caught.value)


def test_hdf5_file_has_named_axes_and_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "coefficients.h5"
    path.write_bytes(export_hdf5(sample_set()))
    with h5py.File(path) as file:
        assert [axis.label for axis in file["offset"].dims] == ["core", "read_mode", "column"]
        assert file["offset"].dims[0][0][:].tolist() == [0, 3]
        assert file["output_lsb"].attrs["units"] == "product"
        assert json.loads(file.attrs["source"])["raw_sha256"]["core03_one_phase"] == f"{3:064x}"
