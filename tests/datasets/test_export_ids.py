"""Every format carries the ids of what it holds, made as the documentation says."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import example_steps as example
from export_samples import sample_set
from hil_datasets.coefficients import CoefficientSet, collect_coefficients
from hil_datasets.export import exporter as formats
from hil_datasets.export.exporter import Exporter, ExportRequest, make_files
from hil_datasets.export.self_check import read_back
from hil_datasets.run_source import StepFacts
from hil_datasets.step_files.reader import read_step

FORMATS = [
    formats.JSON, formats.CSV, formats.NPZ, formats.HDF5, formats.YAML, formats.C_HEADER,
    formats.READMEMH, formats.HEX, formats.BINARY, formats.AIHWKIT,
]  # fmt: skip
RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
CORRECTION_ID = "a8ee2d6a04ac6dfe3900f887f73d0214adb321ecb9d101dbbb39312f0f92c9b9"
COEFFICIENTS_ID = "d42002a0306fd5d389b9349fee5a8f9009d56dd095950e0e7014a448eb143be8"
SET_ID = "af78022f61f494a15bc77ebc117ee6491086cddfa68cf96612b55b0f07113272"
NMPU = {
    "in_bits": 10, "scale_int": 1, "scale_frac": 7, "off_int": 7, "off_frac": 1, "off_bits": 8,
    "shift": 1, "cut_pre": 0, "rounding": "half_up", "acc_bits": 12, "out_bits": 8,
    "saturate": True, "symmetric": False, "merge": "after_subtract", "offset_at": "after_shift",
    "shared_scale": False,
}  # fmt: skip


def sha256_of(*pieces: bytes) -> str:
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def doubles(name: str, *values: float) -> bytes:
    return f"{name} <f8 {len(values)}\n".encode() + struct.pack(f"<{len(values)}d", *values)


def ids_from_scratch() -> Mapping[str, str]:
    """Return the ids of the tiny chip's step, from its numbers and the documented bytes alone."""
    correction = sha256_of(
        b"hil correction 1\n",
        f"parent {RAW_SHA256}\n".encode(),
        b"output_lsb 0x1.1000000000000p+3\n",
        doubles("a_p", 0.5, 0.25, 0.0),
        doubles("a_n", 0.5, 0.375, 0.0),
        doubles("b", -1.5, 2.5, 0.0),
        doubles("a_p_se", 0.01, 0.02, 0.0),
        doubles("a_n_se", 0.03, 0.04, 0.0),
        doubles("b_se", 0.05, 0.06, 0.0),
    )
    coefficients = sha256_of(
        b"hil coefficients 1\n",
        f"parent {correction}\n".encode(),
        b"output_lsb 0x1.1000000000000p+3\n",
        b"nmpu " + json.dumps(NMPU, sort_keys=True).encode() + b"\n",
        b"scale_p |u1 3\n" + bytes([128, 64, 0]),
        b"scale_n |u1 3\n" + bytes([128, 96, 0]),
        b"offset <i2 3\n" + struct.pack("<3h", -3, 5, 0),
        b"swap |u1 3\n" + bytes([0, 1, 0]),
    )
    whole = sha256_of(
        b"hil coefficient set 1\n", f"parent core00_one_phase {coefficients}\n".encode()
    )
    return {"correction": correction, "coefficients": coefficients, "set": whole}


@pytest.fixture
def coefficients(tmp_path: Path) -> CoefficientSet:
    example.write_step(tmp_path / "step.h5")
    return collect_coefficients("run", [read_step(tmp_path / "step.h5")])


def test_ids_are_the_hashes_that_are_documented(coefficients: CoefficientSet) -> None:
    (tile,) = coefficients.tiles
    assert ids_from_scratch() == {
        "correction": CORRECTION_ID,
        "coefficients": COEFFICIENTS_ID,
        "set": SET_ID,
    }
    assert tile.raw_sha256 == RAW_SHA256
    assert tile.correction_id == CORRECTION_ID
    assert tile.coefficients_id == COEFFICIENTS_ID
    assert coefficients.coefficients_id == SET_ID


def test_set_of_facts_has_the_ids_of_whole_steps(tmp_path: Path) -> None:
    example.write_step(tmp_path / "step.h5")
    record = read_step(tmp_path / "step.h5")
    of_facts = collect_coefficients("run", [StepFacts.of(record)])
    assert of_facts.coefficients_id == SET_ID


@pytest.mark.parametrize("exporter", FORMATS, ids=lambda exporter: exporter.suffix)
def test_file_is_read_back_with_every_id(exporter: Exporter, coefficients: CoefficientSet) -> None:
    request = ExportRequest(file_name=f"x{exporter.suffix}")
    back = read_back(exporter, make_files(exporter, coefficients, request), request)
    assert back is not None
    assert back.coefficients_id == SET_ID
    ids = [(tile.raw_sha256, tile.correction_id, tile.coefficients_id) for tile in back.tiles]
    assert ids == [(RAW_SHA256, CORRECTION_ID, COEFFICIENTS_ID)]


@pytest.mark.parametrize("exporter", FORMATS, ids=lambda exporter: exporter.suffix)
def test_set_that_is_not_that_of_its_tiles_is_refused(exporter: Exporter) -> None:
    coefficients = sample_set()
    request = ExportRequest(file_name=f"x{exporter.suffix}")
    files = make_files(exporter, coefficients, request)
    # The id of one tile, wherever it is told; 64 digits, so nothing else moves.
    old, new = coefficients.tiles[1].coefficients_id, "e" * 64
    changed = {
        name: content.replace(old.encode(), new.encode()).replace(
            old.encode("utf-32-le"), new.encode("utf-32-le")
        )
        for name, content in files.items()
    }
    assert changed != files
    if exporter is formats.CSV:
        back = read_back(exporter, changed, request)
        assert back is not None
        assert back.coefficients_id != coefficients.coefficients_id
        return
    with pytest.raises(ValueError, match=r".") as caught:
        read_back(exporter, changed, request)
    assert re.search(r"coefficients_id is|is no \.npz archive: Bad CRC", str(caught.value))


def test_names_in_source_code_hold_the_id_of_the_set(coefficients: CoefficientSet) -> None:
    request = ExportRequest(file_name="x.mem", name="left")
    header = formats.C_HEADER.export(coefficients).decode()
    parameters = make_files(formats.READMEMH, coefficients, request)["x.svh"].decode()
    assert f'#define HIL_COEFFICIENTS_ID "{SET_ID}"\n' in header
    assert f"localparam [255:0] LEFT_COEFFICIENTS_ID = 256'h{SET_ID};\n" in parameters


def test_json_from_before_there_were_ids_is_still_read(coefficients: CoefficientSet) -> None:
    document = json.loads(formats.JSON.export(coefficients))
    del document["coefficients_id"]
    for tile in document["cores"]:
        del tile["coefficients_id"], tile["correction_id"]
    request = ExportRequest(file_name="x.json")
    back = read_back(formats.JSON, {"x.json": json.dumps(document).encode()}, request)
    assert back is not None
    assert (back.coefficients_id, back.tiles[0].correction_id) == ("", "")
    assert back.tiles[0].raw_sha256 == RAW_SHA256


def test_set_has_the_same_id_whatever_the_order_of_its_tiles() -> None:
    whole = sample_set()
    turned = replace(whole, tiles=whole.tiles[::-1])
    assert turned.coefficients_id == whole.coefficients_id
    assert replace(whole, tiles=whole.tiles[:1]).coefficients_id != whole.coefficients_id
