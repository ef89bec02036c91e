"""Images by a register map: every bit where the map says; wrong maps refused with a line."""

import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_samples import CHIP, sample_set, sample_tile
from hil.core.errors import ConfigError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exporter import BINARY, HEX, ExportRequest, make_files
from hil_datasets.export.image_formats import make_image
from hil_datasets.export.register_map import MapFile, example_map, load_register_map

intelhex = pytest.importorskip("intelhex", reason="needs intelhex (extra exporters)")
EXAMPLE = Path(__file__).parents[2] / "examples" / "register_map.toml"

SMALL = """\
schema_version = 1
endianness = "big"
fill = 0
[tile]
base = 0x100
core_stride = 0x40
read_mode_stride = 0x20
read_modes = ["four_phase", "one_phase"]
[[register]]
name = "control"
per = "tile"
offset = 0
bytes = 2
fields = [{holds = "shift", lowest_bit = 12, bits = 4}]
[[register]]
name = "scales"
per = "column"
offset = 4
stride = 8
bytes = 2
fields = [
    {holds = "scale_p", lowest_bit = 8, bits = 8},
    {holds = "scale_n", lowest_bit = 0, bits = 8},
]
[[register]]
name = "rest"
per = "column"
offset = 6
stride = 8
bytes = 4
fields = [
    {holds = "offset", lowest_bit = 3, bits = 9},
    {holds = "swap", lowest_bit = 31, bits = 1},
    {holds = "constant", lowest_bit = 20, bits = 4, constant = 0xA},
]
"""


def map_of(text: str) -> MapFile:
    return MapFile(text.encode(), source="map.toml")


def two_columns() -> CoefficientSet:
    """One tile, core 1 in one-phase mode, whose codes are literal."""
    tile = sample_tile(NmpuFormat(shift=5), core=1, read_mode=ReadMode.ONE_PHASE, columns=2)
    registers = NmpuRegisters(
        scale_p=np.array([0x12, 0xFF], np.uint8),
        scale_n=np.array([0x34, 0x00], np.uint8),
        offset=np.array([-1, 5], np.int16),
        swap=np.array([True, False]),
    )
    return replace(sample_set(), tiles=(replace(tile, registers=registers),))


def test_big_endian_image_is_exactly_these_bytes() -> None:
    image = make_image(two_columns(), map_of(SMALL))
    assert list(image.runs()) == [
        (0x160, bytes.fromhex("5000")),
        (0x164, bytes.fromhex("1234 80A00FF8")),
        (0x16C, bytes.fromhex("FF00 00A00028")),
    ]
    assert image.filled(0xEE) == bytes.fromhex("5000EEEE 1234 80A00FF8 EEEE FF00 00A00028")


def test_little_endian_words_are_the_same_bytes_backwards() -> None:
    image = make_image(two_columns(), map_of(SMALL.replace('"big"', '"little"')))
    assert list(image.runs()) == [
        (0x160, bytes.fromhex("0050")),
        (0x164, bytes.fromhex("3412 F80FA080")),
        (0x16C, bytes.fromhex("00FF 2800A000")),
    ]


def test_intelhex_finds_the_bytes_at_the_addresses_of_the_example_map() -> None:
    coefficients = sample_set()
    whole = intelhex.IntelHex(io.StringIO(HEX.export(coefficients).decode()))
    for tile, base in zip(coefficients.tiles, (0x4001_8000, 0x4004_0000), strict=True):
        control = [whole[base + at] for at in range(4)]
        assert control == [tile.shift, 0, 0, 0x80]
        for column in range(len(tile.flags)):
            word = int.from_bytes(
                bytes(whole[base + 0x1000 + 4 * column + at] for at in range(4)), "little"
            )
            registers = tile.registers
            assert word & 0xFF == registers.scale_p[column]
            assert word >> 8 & 0xFF == registers.scale_n[column]
            assert word >> 16 & 0x1FF == int(registers.offset[column]) % 512
            assert word >> 31 == registers.swap[column]
    assert len(whole) == 32 + 2 * (4 + 4 * 9)


def test_binary_begins_at_the_first_address_with_the_digest_that_the_manifest_names() -> None:
    request = ExportRequest(file_name="chip.bin")
    files = make_files(BINARY, sample_set(), request)
    manifest = json.loads(files["chip.bin.json"])
    assert manifest["first_address"] == 0x4000_0000
    assert files["chip.bin"][:32].hex() == manifest["coefficients_id"]
    assert manifest["last_address"] - manifest["first_address"] + 1 == len(files["chip.bin"])
    assert [tile["raw_sha256"] for tile in manifest["tiles"]] == [f"{0:064x}", f"{3:064x}"]


def test_example_is_the_map_that_is_used_where_none_is_given() -> None:
    assert load_register_map(EXAMPLE).sha256 == example_map().sha256


@st.composite
def maps(draw: st.DrawFn) -> dict[str, Any]:
    """Return a legal map: the fields of a column shuffled over words, with gaps."""
    size = draw(st.sampled_from([2, 4, 8]))
    widths = {"scale_p": 8, "scale_n": 8, "offset": draw(st.integers(8, 12)), "swap": 1}
    order = draw(st.permutations(list(widths)))
    words: list[list[dict[str, Any]]] = [[]]
    at = 0
    for name in order:
        at += draw(st.integers(0, 3))
        if at + widths[name] > 8 * size:
            words.append([])
            at = 0
        words[-1].append({"holds": name, "lowest_bit": at, "bits": widths[name]})
        at += widths[name]
    stride = size * len(words) + draw(st.integers(0, 5))
    registers = [
        {"name": f"r{number}", "per": "column", "offset": 8 + number * size, "stride": stride,
         "bytes": size, "fields": fields}
        for number, fields in enumerate(words)
    ]  # fmt: skip
    low = draw(st.integers(0, 4))
    registers.append(
        {"name": "control", "per": "tile", "offset": draw(st.integers(0, 7)), "bytes": 1,
         "fields": [{"holds": "shift", "lowest_bit": low, "bits": 4}]}
    )  # fmt: skip
    room = 8 + 9 * stride + draw(st.integers(0, 9))
    return {
        "endianness": draw(st.sampled_from(["little", "big"])),
        "tile": {
            "base": draw(st.integers(0, 1 << 20)),
            "core_stride": 2 * room,
            "read_mode_stride": room,
            "read_modes": draw(st.permutations(["one_phase", "four_phase"])),
        },
        "register": registers,
    }


def toml_of(document: dict[str, Any]) -> str:
    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {value(part)}" for key, part in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(value(part) for part in item) + "]"
        return json.dumps(item)

    text = "".join(f"{key} = {value(item)}\n" for key, item in document.items())
    assert tomllib.loads(text) == document
    return f"schema_version = 1\n{text}"


@given(document=maps(), columns=st.integers(3, 9))
@settings(max_examples=60, deadline=None)
def test_every_code_is_at_the_bits_and_addresses_of_the_map(
    document: dict[str, Any], columns: int
) -> None:
    coefficients = sample_set(columns=columns)
    image = make_image(coefficients, map_of(toml_of(document)))
    memory = dict(zip(image.addresses.tolist(), image.values.tolist(), strict=True))
    section = document["tile"]
    used = 0
    for tile in coefficients.tiles:
        base = section["base"] + tile.key.core * section["core_stride"]
        base += section["read_modes"].index(str(tile.key.read_mode)) * section["read_mode_stride"]
        for register in document["register"]:
            count = columns if register["per"] == "column" else 1
            for column in range(count):
                first = base + register["offset"] + column * register.get("stride", 0)
                content = bytes(memory[first + at] for at in range(register["bytes"]))
                word = int.from_bytes(content, document["endianness"])
                used += register["bytes"]
                due = 0
                for field in register["fields"]:
                    name = field["holds"]
                    code = tile.shift if name == "shift" else getattr(tile.registers, name)[column]
                    due += (int(code) % 2 ** field["bits"]) * 2 ** field["lowest_bit"]
                assert word == due
    assert len(memory) == used


@given(document=maps())
@settings(max_examples=25, deadline=None)
def test_images_are_read_back_as_the_registers_they_were_made_of(document: dict[str, Any]) -> None:
    coefficients = sample_set()
    request = ExportRequest(file_name="image", given_map=map_of(toml_of(document)))
    for exporter in (HEX, BINARY):
        assert exporter.read is not None
        back = exporter.read(make_files(exporter, coefficients, request), request)
        assert back.chip == CHIP
        for found, tile in zip(back.tiles, coefficients.tiles, strict=True):
            assert found.registers == tile.registers  # type: ignore[union-attr]
            assert found.shift == tile.shift  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("bits = 9}", "bits = 9, bit = 1}", "32: register[2].fields[0].bit: unknown key"),
        ('"big"', '"middle"', "2: endianness: Input should be 'little' or 'big'"),
        ("bytes = 4", "bytes = 3", "30: register[2].bytes: "),
        ("stride = 8\nbytes = 4", "stride = 2\nbytes = 4",
         "29: register[2]: stride: must be at least 4, the size of the word"),
        ("offset = 0\nbytes = 2", "offset = 0\nstride = 4\nbytes = 2",
         "13: register[0]: stride: must be given where per = 'column', and only there"),
        ("lowest_bit = 3, bits = 9", "lowest_bit = 12, bits = 9",
         "register[2]: fields: field 2, constant, has bits that a field before it has"),
        ("lowest_bit = 31", "lowest_bit = 32",
         "register[2]: fields: field 1, swap, ends at bit 32: the word has bits 0 to 31"),
        ("constant = 0xA", "constant = 0x10", "constant: 16 does not fit into 4 bits"),
        (', constant = 0xA', "", "constant: must be given where holds = 'constant'"),
        ('{holds = "shift", lowest_bit = 12', '{holds = "flags", lowest_bit = 0',
         "fields: field 0, flags, is one for each column"),
        ('holds = "offset"', 'holds = "flags"', "register: no field holds offset"),
        ('holds = "swap"', 'holds = "shift"', "register: 2 fields hold shift: must be one"),
        ('["four_phase", ', '["one_phase", ', "read_modes: names one twice"),
        ("base = 0x100", "base = -1", "5: tile.base: Input should be greater than or equal to 0"),
        ("schema_version = 1", "schema_version = 2", "1: schema_version: "),
    ],
)  # fmt: skip
def test_wrong_map_is_refused_with_key_and_line(old: str, new: str, problem: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigError) as caught:
        map_of(SMALL.replace(old, new, 1))
    assert "map.toml:" in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("lowest_bit = 8, bits = 8", "lowest_bit = 9, bits = 7",
         "map.toml:22: register[1].fields[0]: scale_p of core 1 one_phase column 1 is 255: "),
        ("offset = 6", "offset = 5",
         "scales of core 1 one_phase and rest of core 1 one_phase share address 0x00000165"),
        ("base = 0x100", "base = 0xFFFF_FFF0", "must be below 2^32"),
        ('["four_phase", "one_phase"]', '["four_phase"]',
         "map.toml:8: tile.read_modes: names no one_phase, which core 1 has"),
        ('    {holds = "swap", lowest_bit = 31, bits = 1},\n', "",
         "no field holds swap, but column 0 of core 1 one_phase swaps P and N"),
        ('    {holds = "scale_n", lowest_bit = 0, bits = 8},\n', "",
         "no field holds scale_n, but column 0 of core 1 one_phase has another scale for N"),
    ],
)  # fmt: skip
def test_map_that_cannot_hold_the_coefficients_is_refused(old: str, new: str, problem: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigError) as caught:
        make_image(two_columns(), map_of(SMALL.replace(old, new, 1)))
    assert problem in str(caught.value)


def test_binary_that_is_mostly_gap_is_refused_before_it_is_made() -> None:
    far = SMALL.replace("core_stride = 0x40", "core_stride = 0x2000_0000")
    with pytest.raises(ConfigError, match="use the format hex, which leaves gaps out"):
        make_files(BINARY, sample_set(), ExportRequest(given_map=map_of(far)))
