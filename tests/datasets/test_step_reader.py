"""Step files that are damaged, foreign or hostile; hostile ones carry a seal that fits."""

import hashlib
import os
import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError, HilError, TransportError
from hil.core.readout import ReadMode
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.schema import STEP_ATTRIBUTES, STEP_DATASETS, AttributeKind

REQUIRED = [spec.path for spec in STEP_DATASETS if spec.path != "verification/outputs"]
Edit = Callable[[h5py.File], Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "step.h5"
    example.write_step(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes) -> Path:
    path = tmp_path / "step.h5"
    path.write_bytes(whole)
    return path


def reseal(path: Path) -> None:
    """Do what a hostile writer does: make the file's hash fit its bytes again."""
    content = path.read_bytes()[512:]
    line = f"hil-step sha256 {hashlib.sha256(content).hexdigest()}\n".encode()
    path.write_bytes(line.ljust(512, b"\0") + content)


def edit(path: Path, change: Edit) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    reseal(path)


def replace_dataset(name: str, **creation: Any) -> Edit:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **creation)

    return change


def refusal(path: Path) -> str:
    """Return why a file is refused, without the file's name, which must come first."""
    with pytest.raises(DatasetError) as caught:
        read_step(path)
    source, _, reason = str(caught.value).partition(": ")
    assert source == str(path)
    return reason


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.h5") == "no such file"


def test_folder_is_no_step(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is no regular file"


def test_pipe_is_refused_before_it_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step.h5")
    assert refusal(tmp_path / "step.h5") == "is no regular file"


def test_impossible_name_is_a_dataset_error(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 300)) == "cannot be read: File name too long"


@pytest.mark.parametrize(
    "content",
    [b"", b"hil-step sha256 ", b"not HDF5 at all\n" * 100, b"\x89HDF\r\n\x1a\n" + bytes(600)],
    ids=["empty", "opening_only", "text", "bare_hdf5"],
)
def test_file_that_is_no_step_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "step.h5").write_bytes(content)
    assert refusal(tmp_path / "step.h5") == (
        "/: is no finished step file: its first bytes are not those of one"
    )


@pytest.mark.parametrize("kept", [1, 511, 512, 519, 520, 1000, 2048, 9000, -4096, -512, -8, -1])
def test_truncated_file_is_refused(path: Path, whole: bytes, kept: int) -> None:
    path.write_bytes(whole[:kept])
    assert re.match("/: is no finished step file|/: is damaged", refusal(path))


def test_damage_names_the_size_of_the_file(path: Path, whole: bytes) -> None:
    path.write_bytes(whole + b"\0")
    assert refusal(path) == (
        "/: is damaged, or was changed since it was written: "
        f"its {len(whole) + 1} bytes do not match their SHA-256"
    )


def mutated(content: bytes, seed: int) -> bytes:
    """Damage a file as disks, links and editors do; never leave it as it is."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    damaged = bytearray(content)
    place, other = rng.randrange(len(content)), rng.randrange(len(content))
    length = rng.choice([1, 2, 8, 64, 512, 4096])
    match seed % 6:
        case 0:
            del damaged[place:]
        case 1:
            damaged[place] ^= 1 << rng.randrange(8)
        case 2:
            damaged[place : place + length] = bytes(min(length, len(content) - place))
        case 3:
            damaged[place : place + length] = content[other : other + length]
        case 4:
            damaged[place:place] = rng.randbytes(length)
        case _:
            del damaged[place : place + length]
    if damaged == content:
        damaged[place] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize("seed", range(300))
def test_no_damage_passes_and_none_raises_another_error(
    path: Path, whole: bytes, seed: int
) -> None:
    path.write_bytes(mutated(whole, seed))
    assert re.match("/: is no finished step file|/: is damaged", refusal(path))


@pytest.mark.parametrize("name", ["weights", "inputs", "raw"])
def test_changed_readout_does_not_match_its_content_hash(path: Path, name: str) -> None:
    def flip_one_bit(file: h5py.File) -> None:
        values = file[name][...]
        values.flat[0] ^= 1
        file[name][...] = values

    edit(path, flip_one_bit)
    assert refusal(path) == "/raw: weights, inputs and counts do not match raw_sha256"


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_dataset_is_named(path: Path, name: str) -> None:
    def remove(file: h5py.File) -> None:
        del file[name]

    edit(path, remove)
    assert refusal(path) == f"/{name}: missing"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("effective_bits", -1.0, "is -1.0: must be 0 to inf"),
        ("effective_bits", np.nan, "is nan: must be 0 to inf"),
        ("inl", np.inf, "is inf: must be 0 to 1.79769e+308"),
        ("inl_edges", 65536.0, "is 65536.0: must be 0 to 65535"),
        ("inl_curve", np.nan, "is nan: must be -1.79769e+308 to 1.79769e+308"),
        ("residual_rms", -0.5, "is -0.5: must be 0 to 1.79769e+308"),
        ("noise_rms", np.inf, "is inf: must be 0 to 1.79769e+308"),
        ("saturated_share", 1.5, "is 1.5: must be 0 to 1"),
        ("outlier_share", -0.5, "is -0.5: must be 0 to 1"),
        ("condition", 0.5, "is 0.5: must be 1 to inf"),
        ("glitch_share", 2.0, "is 2.0: must be 0 to 1"),
    ],
)
def test_quality_that_cannot_be_is_refused(
    path: Path, name: str, value: float, reason: str
) -> None:
    def spoil(file: h5py.File) -> None:
        file[f"quality/{name}"][..., 2] = value

    edit(path, spoil)
    assert refusal(path) == f"/quality/{name}: of column 2 {reason}"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("first_vector", [1, 4], "first_vector must ascend from 0"),
        ("first_vector", [0, 0], "first_vector must ascend from 0"),
        ("first_vector", [0, 6], "first_vector must be below the 6 vectors"),
        ("began_s", [-0.5, 1.25], "began_s must be 0 to 1e9 s, and ascend"),
        ("began_s", [0.5, 0.25], "began_s must be 0 to 1e9 s, and ascend"),
        ("ended_s", [1.0, np.nan], "ended_s must be 0 to 1e9 s, and ascend"),
        ("ended_s", [1.0, np.inf], "ended_s must be 0 to 1e9 s, and ascend"),
        ("ended_s", [1.0, 1.1e9], "ended_s must be 0 to 1e9 s, and ascend"),
        ("fault_noticed_s", [0.5, 1e300], "fault_noticed_s is 1e+300: must be 0 to 1e9 s"),
        (
            "fault_recovered_s",
            [0.5, 1e300],
            "fault_recovered_s is 1e+300: must be 0 to 1e9 s, or NaN",
        ),
        ("ended_s", [0.25, 4.5], "ended_s of a block must not be before its began_s"),
        ("fault_block", [1, 0], "fault_block must ascend, and name a block of the step"),
        ("fault_block", [1, 2], "fault_block must ascend, and name a block of the step"),
        ("fault_block", [-1, 1], "fault_block must ascend, and name a block of the step"),
        ("fault_kind", [0, 2], "fault_kind is 2: must be below 2"),
        ("fault_request", [-1, 0], "fault_request is -1: must be below 2"),
        ("fault_noticed_s", [np.nan, 1.0], "fault_noticed_s is nan: must be 0 to 1e9 s"),
        ("fault_recovered_s", [-1.0, 1.0], "fault_recovered_s is -1.0: must be 0 to 1e9 s, or NaN"),
    ],
)
def test_timing_that_cannot_be_is_refused(
    path: Path, name: str, values: list[float], reason: str
) -> None:
    def spoil(file: h5py.File) -> None:
        file[f"timing/{name}"][...] = values

    edit(path, spoil)
    assert refusal(path) == f"/timing: {reason}"


def test_timing_of_no_block_is_refused(path: Path) -> None:
    def spoil(file: h5py.File) -> None:
        for name in ("first_vector", "began_s", "ended_s", "crc32c", "sequence", "quality"):
            dtype = file[f"timing/{name}"].dtype
            replace_dataset(f"timing/{name}", data=np.empty(0, dtype))(file)

    edit(path, spoil)
    assert refusal(path).startswith("/timing: first_vector, began_s and ended_s must have one")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("at_start", [np.nan, 0.0], "at_start of chamber.temperature is nan: must be finite"),
        ("at_end", [45.0, np.inf], "at_end of supply.current is inf: must be finite"),
        ("setpoint", [-np.inf, 0.0], "setpoint of chamber.temperature is -inf: must be finite"),
    ],
)
def test_condition_that_cannot_be_is_refused(
    path: Path, name: str, values: list[float], reason: str
) -> None:
    def spoil(file: h5py.File) -> None:
        file[f"conditions/{name}"][...] = values

    edit(path, spoil)
    assert refusal(path).startswith(f"/conditions: {reason}")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("instruments", '["chamber"]', "must name every quantity"),
        ("instruments", '["chamber", ""]', "must have a name"),
        ("units", '["K", "A", "V"]', "must name every quantity"),
    ],
)
def test_conditions_whose_names_do_not_fit_are_refused(
    path: Path, name: str, text: str, reason: str
) -> None:
    def spoil(file: h5py.File) -> None:
        file["conditions"].attrs[name] = text

    edit(path, spoil)
    assert refusal(path).startswith("/conditions: ")
    assert reason in refusal(path)


def test_quantity_that_comes_twice_is_refused(path: Path) -> None:
    def spoil(file: h5py.File) -> None:
        file["conditions"].attrs["instruments"] = '["chamber", "chamber"]'
        file["conditions"].attrs["quantities"] = '["temperature", "temperature"]'

    edit(path, spoil)
    assert refusal(path) == "/conditions: chamber.temperature is there twice"


def test_part_of_the_conditions_is_none(path: Path) -> None:
    def spoil(file: h5py.File) -> None:
        del file["conditions/at_end"]

    edit(path, spoil)
    assert refusal(path) == "/conditions/at_end: missing"


def test_inl_curve_needs_one_border_more_than_bins(path: Path) -> None:
    edit(path, replace_dataset("quality/inl_edges", data=np.zeros((4, 2, 3))))
    assert refusal(path) == "/quality: inl_edges: must have shape (3, 2, 3), got (4, 2, 3)"


def test_quality_that_is_a_link_is_refused(path: Path) -> None:
    edit(path, link("quality", h5py.SoftLink("/elsewhere")))
    assert "/quality/inl: is not a plain dataset of this file" in refusal(path)


@pytest.mark.parametrize("name", [spec.path for spec in STEP_DATASETS])
def test_wrong_element_type_is_named(path: Path, name: str) -> None:
    def retype(file: h5py.File) -> None:
        values = file[name][...].astype("float32")
        del file[name]
        file[name] = values

    edit(path, retype)
    assert refusal(path).startswith(f"/{name}: is float32 with ")


@pytest.mark.parametrize(
    ("creation", "reason"),
    [
        ({"data": np.zeros((6, 6), "u2")}, "is uint16 with 2 axes: must be uint16 with 3"),
        ({"data": np.zeros((6, 2, 3), ">u2")}, "is >u2 with 3 axes: must be uint16 with 3"),
        ({"data": np.zeros((6, 2, 3), "S4")}, "is |S4 with 3 axes: must be uint16 with 3"),
        (
            {"shape": (6, 2, 3), "dtype": h5py.string_dtype()},
            "is object with 3 axes: must be uint16 with 3",
        ),
        ({"data": h5py.Empty("u2")}, "is uint16 with 0 axes: must be uint16 with 3"),
        ({"data": np.zeros((5, 2, 3), "u2")}, "has 5 along vector: must have 6"),
        ({"data": np.zeros((6, 3, 3), "u2")}, "has 3 along polarity: must have 2"),
        ({"data": np.zeros((6, 2, 4), "u2")}, "has 4 along column: must have 3"),
        (
            {"data": np.zeros((6, 2, 3), "u2"), "chunks": (6, 2, 3)},
            "claims 72 bytes and stores 72: must be contiguous and whole",
        ),
        (
            {"shape": (6, 2, 3), "dtype": "u2"},
            "claims 72 bytes and stores 0: must be contiguous and whole",
        ),
    ],
    ids=[
        "axes", "byte_order", "bytes", "text", "empty",
        "vectors", "polarities", "columns", "chunked", "never_written",
    ],
)  # fmt: skip
def test_raw_that_is_not_as_the_schema_says_is_refused(
    path: Path, creation: dict[str, Any], reason: str
) -> None:
    edit(path, replace_dataset("raw", **creation))
    assert refusal(path) == f"/raw: {reason}"


def test_every_misfit_is_listed_at_once(path: Path) -> None:
    def spoil(file: h5py.File) -> None:
        del file["weights"]
        replace_dataset("coefficients/flags", data=np.zeros(3, "i8"))(file)

    edit(path, spoil)
    assert refusal(path) == (
        "2 problems:\n  /weights: missing\n"
        "  /coefficients/flags: is int64 with 1 axes: must be uint16 with 1"
    )


def link(name: str, target: Any) -> Edit:
    def change(file: h5py.File) -> None:
        if name in file:
            file.move(name, "elsewhere")
        file[name] = target

    return change


def be_virtual(file: h5py.File) -> None:
    del file["raw"]
    layout = h5py.VirtualLayout((6, 2, 3), "u2")
    layout[...] = h5py.VirtualSource("secret.h5", "raw", (6, 2, 3), "u2")
    file.create_virtual_dataset("raw", layout)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("raw", link("raw", h5py.SoftLink("/elsewhere"))),
        ("raw", link("raw", h5py.SoftLink("/raw"))),
        ("raw", link("raw", h5py.ExternalLink("secret.h5", "/raw"))),
        ("raw", link("raw", h5py.ExternalLink("pipe.h5", "/raw"))),
        ("raw", be_virtual),
        ("raw", replace_dataset("raw", shape=(6, 2, 3), dtype="u2", external="secret.bin")),
        ("verification/outputs", link("verification/outputs", h5py.SoftLink("/raw"))),
    ],
    ids=["soft", "loop", "external", "pipe", "virtual", "external_storage", "optional"],
)
def test_dataset_that_would_reach_outside_is_refused(path: Path, name: str, change: Edit) -> None:
    path.with_name("secret.h5").write_bytes(path.read_bytes())
    path.with_name("secret.bin").write_bytes(bytes(72))
    os.mkfifo(path.with_name("pipe.h5"))  # a reader that opened it would wait for ever
    edit(path, change)
    assert refusal(path) == f"/{name}: is not a plain dataset of this file"


def test_group_that_would_reach_outside_is_refused(path: Path) -> None:
    path.with_name("secret.h5").write_bytes(path.read_bytes())
    edit(path, link("correction", h5py.ExternalLink("secret.h5", "/correction")))
    assert "/correction: is not a group of this file" in refusal(path)


def test_group_in_place_of_a_dataset_is_refused(path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["raw"]
        file.create_group("raw")

    edit(path, change)
    assert refusal(path) == "/raw: is not a plain dataset of this file"


def test_dataset_in_place_of_a_group_is_refused(path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["correction"]
        file["correction"] = np.zeros(3)

    edit(path, change)
    assert "/correction: is not a group of this file" in refusal(path)


@pytest.mark.parametrize(
    "creation",
    [
        {"shape": (2**40, 2, 3), "dtype": "u2"},
        {"shape": (2**40, 2, 3), "dtype": "u2", "chunks": (1, 2, 3)},
        {"shape": (2**23, 2, 3), "dtype": "u2", "chunks": (2**20, 2, 3), "compression": "gzip"},
    ],
    ids=["contiguous", "chunked", "compressed"],
)
def test_claimed_size_is_not_allocated(path: Path, creation: dict[str, Any]) -> None:
    edit(path, replace_dataset("raw", **creation))
    tracemalloc.start()
    try:
        reason = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason.startswith("/raw: claims ")
    assert peak < 4_000_000


def set_attribute(name: str, value: Any) -> Edit:
    def change(file: h5py.File) -> None:
        owner, _, short_name = name.rpartition("/")
        file[f"/{owner}"].attrs[short_name] = value

    return change


@pytest.mark.parametrize("spec", STEP_ATTRIBUTES, ids=[spec.path for spec in STEP_ATTRIBUTES])
def test_missing_attribute_is_named(path: Path, spec: Any) -> None:
    def change(file: h5py.File) -> None:
        del file[spec.owner].attrs[spec.name]

    edit(path, change)
    assert refusal(path) == f"{spec.owner}: attribute {spec.name}: missing"


@pytest.mark.parametrize("spec", STEP_ATTRIBUTES, ids=[spec.path for spec in STEP_ATTRIBUTES])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2, 3], "is no single value"),
        (h5py.Empty("f8"), "is no single value"),
        (np.bytes_(b"fixed"), "is "),
        (True, "is "),
    ],
    ids=["array", "empty", "bytes", "bool"],
)
def test_attribute_of_a_wrong_type_is_named(path: Path, spec: Any, value: Any, reason: str) -> None:
    edit(path, set_attribute(spec.path, value))
    assert refusal(path).startswith(f"{spec.owner}: attribute {spec.name}: {reason}")


@pytest.mark.parametrize("kind", [AttributeKind.INTEGER, AttributeKind.REAL])
def test_text_is_no_number(path: Path, kind: AttributeKind) -> None:
    names = [spec.path for spec in STEP_ATTRIBUTES if spec.kind is kind]
    for name in names:
        if name != "format_version":
            edit(path, set_attribute(name, "5"))
    reason = refusal(path)
    for name in names:
        if name != "format_version":
            assert f"attribute {name.rpartition('/')[2]}: is '5': must be {kind}" in reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("file_format", "hil-campaign", "is 'hil-campaign': this software reads 'hil-step'"),
        ("format_version", 3, "is 3: this software reads 1 and 2"),
        ("format_version", 0, "is 0: this software reads 1 and 2"),
        ("core", -1, "is -1: must be 0 or more"),
        ("read_mode", "two_phase", "'two_phase' is not a valid ReadMode"),
        ("counter_bits", 17, "is 17: must be 1 to 16"),
        ("rows_used", 5, "is 5: must be 1 to 4"),
        ("rows_used", 0, "is 0: must be 1 to 4"),
        ("columns_used", 4, "is 4: must be 1 to 3"),
        ("columns_used", 0, "is 0: must be 1 to 3"),
        ("temperature_c", float("nan"), "is nan: must be finite"),
        ("temperature_c", float("-inf"), "is -inf: must be finite"),
        ("first_row", -1, "is -1: must be 0 or more"),
        ("chip", "{", "Expecting property name"),
        ("chip", "[1]", "must be an object of texts"),
        ("chip", '{"manufacturer": []}', "must be an object of texts"),
        ("chip", '{"manufacturer": "Acme"}', "ChipIdentity.__init__() missing 3"),
        ("chip", "[" * 100_000, "maximum recursion"),
        ("software", '{"numpy": 2}', "must be an object of texts"),
        ("correction/output_lsb", 0.0, "must be positive and finite"),
        ("correction/output_lsb", float("nan"), "must be positive and finite"),
        ("correction/output_lsb", float("inf"), "must be positive and finite"),
        ("correction/global_gain", float("nan"), "is nan: must be finite"),
        ("correction/global_gain", float("inf"), "is inf: must be finite"),
        ("coefficients/nmpu", "null", "must be an object of in_bits, "),
        ("coefficients/nmpu", '{"in_bits": 10}', "must be an object of in_bits, "),
        ("timing/fault_kinds", '{"timeout": 1}', "must be a list of texts"),
        ("timing/fault_requests", "[1, 2]", "must be a list of texts"),
        ("conditions/instruments", "[1, 2]", "must be a list of texts"),
        ("verification/errors", "{}", "must be an object of uncorrected, float, fp16, nmpu"),
        (
            "verification/errors",
            '{"uncorrected": 1.0, "float": 1.0, "fp16": 1.0, "nmpu": "1"}',
            "must be an object of numbers",
        ),
        (
            "verification/errors",
            '{"uncorrected": 1.0, "float": 1.0, "fp16": NaN, "nmpu": 1}',
            "must be an object of numbers or null: fp16 is nan",
        ),
        (
            "verification/errors",
            '{"uncorrected": Infinity, "float": 1.0, "fp16": 1.0, "nmpu": 1}',
            "must be an object of numbers or null: uncorrected is inf",
        ),
        (
            "verification/errors_all_columns",
            '{"uncorrected": 1.0, "float": 1e400, "fp16": 1.0, "nmpu": 1}',
            "must be an object of numbers or null: float is inf",
        ),
        (
            "verification/errors",
            '{"uncorrected": 1.0, "float": 1.0, "fp16": 1.0, "nmpu": -0.5}',
            "must be an object of numbers or null: nmpu is -0.5",
        ),
        ("verification/errors_all_columns", "[]", "must be an object of uncorrected"),
        ("verification/nmpu_mismatches", "-1", "is -1: must be null, or 0 or more"),
        ("verification/nmpu_mismatches", "false", "is False: must be null, or 0 or more"),
        ("verification/nmpu_mismatches", "9" * 5000, "Exceeds the limit"),
    ],
)
def test_impossible_attribute_is_named(path: Path, name: str, value: Any, reason: str) -> None:
    edit(path, set_attribute(name, value))
    owner, _, short_name = name.rpartition("/")
    assert refusal(path).startswith(f"/{owner}: attribute {short_name}: {reason}")


def test_text_that_is_no_utf8_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace("µ".encode(), b"\xff\xff"))
    reseal(path)
    assert refusal(path).startswith("/: attribute title: 'utf-8' codec can't encode")


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ('"in_bits": 10', '"in_bits": 10.0', "in_bits is 10.0"),
        ('"in_bits": 10', '"in_bits": 99', "in_bits = 99: must be 1 to 16"),
        ('"saturate": true', '"saturate": 1', "saturate is 1"),
        ('"rounding": "half_up"', '"rounding": "up"', "'up' is not a valid Rounding"),
        ('"rounding": "half_up"', '"rounding": []', "rounding is []"),
    ],
)
def test_impossible_nmpu_parameter_is_named(
    path: Path, parameter: str, value: str, reason: str
) -> None:
    def change(file: h5py.File) -> None:
        text = file["coefficients"].attrs["nmpu"]
        assert parameter in text
        file["coefficients"].attrs["nmpu"] = text.replace(parameter, value)

    edit(path, change)
    assert refusal(path) == f"/coefficients: attribute nmpu: {reason}"


def test_code_that_the_register_does_not_hold_is_refused(path: Path) -> None:
    edit(path, replace_dataset("coefficients/offset", data=np.array([0, 128, 0], "i2")))
    assert refusal(path) == "/coefficients: offset of column 1 is 128: must be -128 to 127"


@pytest.mark.parametrize("code", [2, 128, 255])
def test_swap_that_is_no_bit_is_refused(path: Path, code: int) -> None:
    edit(path, replace_dataset("coefficients/swap", data=np.array([0, 1, code], "u1")))
    reason = f"of column 2 is {code}: must be 0 or 1"
    assert refusal(path) == f"/coefficients/swap: {reason}"


@pytest.mark.parametrize("flags", [4096, 32768, 4097])
def test_flag_without_a_meaning_is_refused(path: Path, flags: int) -> None:
    edit(path, replace_dataset("coefficients/flags", data=np.array([4095, flags, 0], "u2")))
    reason = f"of column 1 is {flags}: has bits that mean nothing"
    assert refusal(path) == f"/coefficients/flags: {reason}"


def test_number_of_vectors_is_held_to_the_attributes(path: Path) -> None:
    edit(path, set_attribute("verification_vectors", 1))
    reason = refusal(path)
    assert "/raw: has 6 along vector: must have 5" in reason
    assert "/verification/outputs: has 2 along verification_vector: must have 1" in reason


def test_refusal_is_this_projects_error_and_a_value_error() -> None:
    assert issubclass(DatasetError, HilError)
    assert issubclass(DatasetError, ValueError)
    assert not issubclass(DatasetError, TransportError)


def test_file_that_only_its_seal_was_renewed_of_is_read(path: Path) -> None:
    edit(path, lambda file: file.attrs.__setitem__("note", "added by hand"))
    record = read_step(path)
    assert record.key.read_mode is ReadMode.ONE_PHASE
    assert record.origin == example.ORIGIN
