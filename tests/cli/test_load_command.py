"""`hil load` against a served mock: what is loaded is there, and what does not fit is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import hil, served_mock
from export_samples import chip_named, sample_set, sample_tile
from hil.cli.load import read_export
from hil.core.errors import ConfigError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.hdf5_format import export_hdf5
from hil_datasets.export.json_format import export_json
from hil_datasets.export.npz_format import export_npz
from hil_drivers.chip_driver import ChipOptions, find_chip_driver

MOCK = chip_named(manufacturer="aimc-hil", model="mock-chip", serial="quickstart-5")
FMT = NmpuFormat(shift=2)
KEYS = ((0, ReadMode.FOUR_PHASE), (2, ReadMode.FOUR_PHASE), (2, ReadMode.ONE_PHASE))


def coefficients(
    columns: int = 256, keys: tuple[tuple[int, ReadMode], ...] = KEYS
) -> CoefficientSet:
    tiles = tuple(
        sample_tile(FMT, core=core, read_mode=mode, columns=columns) for core, mode in keys
    )
    return replace(sample_set(FMT, chip=MOCK), tiles=tiles)


@pytest.fixture(scope="module")
def resource() -> Iterator[str]:
    with served_mock("--profile", "quickstart", "--seed", 5) as resource:
        yield resource


def loaded(resource: str, core: int, mode: ReadMode) -> object:
    """Return what a new connection finds in the NMPU."""
    chip = find_chip_driver().open_chip(resource, ChipOptions(timeout_s=10))
    try:
        return chip.read_nmpu(core, mode)
    finally:
        chip.close()


@pytest.mark.parametrize(
    ("suffix", "export"), [(".json", export_json), (".npz", export_npz), (".h5", export_hdf5)]
)
def test_loaded_registers_are_found_by_the_next_connection(
    resource: str, tmp_path: Path, suffix: str, export: object
) -> None:
    path = tmp_path / f"chip{suffix}"
    assert callable(export)
    path.write_bytes(export(coefficients()))
    ended = hil("load", path, resource)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "core00_four_phase: 256 columns, shift 2",
        "core02_four_phase: 256 columns, shift 2",
        "core02_one_phase: 256 columns, shift 2",
    ]
    for tile in coefficients().tiles:
        found = loaded(resource, tile.key.core, tile.key.read_mode)
        assert found == (FMT, tile.registers)


def test_what_was_loaded_is_told_in_json(resource: str, tmp_path: Path) -> None:
    path = tmp_path / "chip.json"
    path.write_bytes(export_json(coefficients()))
    ended = hil("load", path, resource, "--core", 0, "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["chip"]["serial"] == "quickstart-5"
    assert ended.json["tiles"] == [
        {
            "core": 0, "read_mode": "four_phase", "columns": 256, "shift": 2,
            "coefficients_id": f"{32:064x}",
        }
    ]  # fmt: skip


def test_only_the_core_that_is_asked_for_is_loaded(resource: str, tmp_path: Path) -> None:
    path = tmp_path / "chip.json"
    document = json.loads(export_json(coefficients()))
    for tile in document["cores"]:
        tile["scale_p"] = [77] * 256
    path.write_text(json.dumps(document))
    ended = hil("load", path, resource, "--core", 2, "--read-mode", "one_phase")
    assert ended.code == 0, ended.stderr
    assert ended.stdout == "core02_one_phase: 256 columns, shift 2\n"
    missing = hil("load", path, resource, "--core", 1)
    assert missing.code == 3
    assert "holds nothing for core 1; it holds core00_four_phase" in missing.stderr


def test_coefficients_of_another_chip_are_refused_unless_told(
    resource: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.json"
    document = json.loads(export_json(coefficients()))
    document["source"]["chip"]["serial"] = "quickstart-6"
    document["cores"] = document["cores"][:1]
    del document["coefficients_id"]  # it would be that of all tiles
    document["cores"][0]["offset"] = [11] * 256
    path.write_text(json.dumps(document))
    before = loaded(resource, *KEYS[0])
    refused = hil("load", path, resource)
    assert refused.code == 3
    assert "serial quickstart-6" in refused.stderr
    assert "--other-chip loads it all the same" in refused.stderr
    assert loaded(resource, *KEYS[0]) == before
    assert hil("load", path, resource, "--other-chip").code == 0
    assert loaded(resource, *KEYS[0]) != before


def test_file_that_does_not_fit_the_chip_is_refused_before_anything_is_written(
    resource: str, tmp_path: Path
) -> None:
    path = tmp_path / "narrow.json"
    document = json.loads(export_json(coefficients(columns=9)))
    document["cores"][0]["core"] = 40
    document.pop("coefficients_id")
    path.write_text(json.dumps(document))
    ended = hil("load", path, resource)
    assert ended.code == 3
    assert "core40_four_phase: the chip has cores 0 to 3" in ended.stderr
    assert "core02_one_phase: has 9 columns: the chip has 256" in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "its name must end in .json, .npz, .h5, .hdf5"),
        ("x.json", b"{}", "x.json: format: Field required"),
        ("x.npz", b"PK", "x.npz: is no .npz archive"),
        ("x.h5", b"HDF", "x.h5: is no HDF5 file"),
        ("x.json", None, "x.json: no such file"),
    ],
)
def test_file_that_is_no_export_is_refused(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_export(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("unusable", "words"),
    [
        ("mock://nothing", "no such profile; use mock://"),
        ("mock://quickstart?speed=2", "speed"),
        ("replay://run?tempo=often", "tempo"),
    ],
)
def test_resource_that_is_none_is_refused_with_what_there_is(
    tmp_path: Path, unusable: str, words: str
) -> None:
    path = tmp_path / "chip.json"
    path.write_bytes(export_json(coefficients()))
    ended = hil("load", path, unusable)
    assert ended.code == 3
    assert ended.stderr.startswith("error: RESOURCE: ")
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_wrong_file_is_refused_before_the_device_is_looked_for(tmp_path: Path) -> None:
    ended = hil("load", tmp_path / "x.json", "TCPIP0::127.0.0.1::1::SOCKET")
    assert (ended.code, ended.stderr) == (3, f"error: {tmp_path}/x.json: no such file\n")
