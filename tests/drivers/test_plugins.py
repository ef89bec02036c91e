"""Plug-ins from distributions in a folder of their own, as pip lays them out."""

import sys
import tomllib
from pathlib import Path

import pytest

from hil_drivers.conformance.kit import CHECKS, LEFT_SAFE
from hil_drivers.plugins import (
    PluginError,
    PluginGroup,
    PluginWarning,
    find_plugin,
    list_plugins,
    load_plugin,
    load_usable,
)

PROJECT = Path(__file__).parents[2]
GOOD = """
api_version = 1
summary = "a chip"
resource_form = "good://"
def check_resource(resource): ...
def open_chip(resource, options): ...
"""
BUILT_IN = {
    "hil.chips": {"aimc-board": "hil_drivers.built_in:AIMC_BOARD"},
    "hil.transports": {
        "serial": "hil_drivers.built_in:SERIAL",
        "tcp": "hil_drivers.built_in:TCP",
        "visa": "hil_drivers.built_in:VISA",
    },
    "hil.exporters": {
        "aihwkit": "hil_datasets.export.exporter:AIHWKIT",
        "bin": "hil_datasets.export.exporter:BINARY",
        "c-header": "hil_datasets.export.exporter:C_HEADER",
        "csv": "hil_datasets.export.exporter:CSV",
        "hdf5": "hil_datasets.export.exporter:HDF5",
        "hex": "hil_datasets.export.exporter:HEX",
        "json": "hil_datasets.export.exporter:JSON",
        "npz": "hil_datasets.export.exporter:NPZ",
        "readmemh": "hil_datasets.export.exporter:READMEMH",
        "yaml": "hil_datasets.export.exporter:YAML",
    },
    "hil.instruments": {
        "pymeasure": "hil.campaign.instrument_driver:PYMEASURE",
        "scpi": "hil.campaign.instrument_driver:SCPI",
    },
}
"""What this project's own distribution declares."""

CHIPS = PluginGroup.CHIPS


class Shelf:
    """A folder on the import path into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self, distribution: str, entries: str, *, code: str = GOOD, module: str | None = None
    ) -> str:
        name = module or f"plugin_of_{distribution}"
        info = self.folder / f"{distribution}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n"
        )
        (info / "entry_points.txt").write_text(entries.replace("MODULE", name))
        (self.folder / f"{name}.py").write_text(code)
        return name


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Shelf(tmp_path)


def test_plugin_is_listed_by_name_with_its_distribution(shelf: Shelf) -> None:
    shelf.put("lab_chip", "[hil.chips]\nlab = MODULE\n")
    assert str(find_plugin(CHIPS, "lab")) == "plug-in lab (hil.chips) of lab_chip 1.5"
    assert "lab" in [plugin.name for plugin in list_plugins(CHIPS)]


def test_listing_imports_nothing(shelf: Shelf) -> None:
    module = shelf.put("explosive", "[hil.chips]\nboom = MODULE\n", code="raise SystemExit(3)")
    list_plugins(CHIPS)
    find_plugin(CHIPS, "boom")
    assert module not in sys.modules


def test_plugin_of_another_group_is_not_listed(shelf: Shelf) -> None:
    shelf.put("exports", "[hil.exporters]\nxml = MODULE\n")
    assert "xml" not in [plugin.name for plugin in list_plugins(CHIPS)]


def test_module_or_object_is_what_is_loaded(shelf: Shelf) -> None:
    code = f"class Driver:\n{GOOD.replace(chr(10), chr(10) + '    ')}\nDRIVER = Driver\n"
    name = shelf.put("with_class", "[hil.chips]\nlab = MODULE:DRIVER\n", code=code)
    assert load_plugin(CHIPS, "lab") is sys.modules[name].Driver


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise RuntimeError('\\x1b[2J')", r"RuntimeError: \?\[2J"),
        ("", "has no api_version: must be 1"),
        (GOOD.replace("= 1", "= 2"), "has api_version 2: this program speaks 1"),
        (GOOD.replace("= 1", "= '1'"), "has api_version '1': this program speaks 1"),
        (GOOD.replace("def open_chip", "def open"), "has no method open_chip"),
        (GOOD.replace("summary", "title"), "has no text summary"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_plugin_that_cannot_be_used_is_named_with_its_distribution_and_the_reason(
    shelf: Shelf, code: str, reason: str
) -> None:
    module = f"broken_{abs(hash(code))}"
    shelf.put("half_done", "[hil.chips]\nlab = MODULE\n", code=code, module=module)
    named = rf"plug-in lab \(hil\.chips\) of half_done 1\.5: .*{reason}"
    with pytest.raises(PluginError, match=named):
        load_plugin(CHIPS, "lab")
    with pytest.warns(PluginWarning, match=named):
        assert "lab" not in load_usable(CHIPS)


def test_broken_plugin_does_not_stop_another(shelf: Shelf) -> None:
    shelf.put("sound", "[hil.chips]\nsound = MODULE\n")
    shelf.put("broken", "[hil.chips]\nbroken = MODULE:nothing\n", code="")
    with pytest.warns(PluginWarning, match="broken 1.5"):
        assert "sound" in load_usable(CHIPS)


def test_entry_that_names_no_object_is_named(shelf: Shelf) -> None:
    shelf.put("typo", "[hil.chips]\nlab = not a module!\n")
    with pytest.raises(PluginError, match=r"lab .* of typo 1.5: cannot be imported"):
        load_plugin(CHIPS, "lab")


def test_metadata_that_cannot_be_read_are_a_warning(shelf: Shelf) -> None:
    shelf.put("sound", "[hil.chips]\nsound = MODULE\n")
    shelf.put("damaged", "[hil.chips]\nno equals sign here\n")
    with pytest.warns(PluginWarning, match="distribution damaged: its metadata cannot be read"):
        assert "sound" in [plugin.name for plugin in list_plugins(CHIPS)]
    assert find_plugin(CHIPS, "sound").distribution == "sound"


def test_one_name_of_two_distributions_stands_for_neither(shelf: Shelf) -> None:
    for distribution in ("first", "second"):
        shelf.put(distribution, "[hil.chips]\nlab = MODULE\n")
    with pytest.warns(
        PluginWarning, match=r"first 1\.5 and second 1\.5|second 1\.5 and first 1\.5"
    ):
        assert "lab" not in [plugin.name for plugin in list_plugins(CHIPS)]
    with pytest.raises(PluginError, match="both bring a plug-in of this name; remove one"):
        find_plugin(CHIPS, "lab")


def test_distribution_that_is_on_the_path_twice_is_one(
    shelf: Shelf, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Shelf(tmp_path_factory.mktemp("again"))
    monkeypatch.syspath_prepend(str(again.folder))
    shelf.put("lab_chip", "[hil.chips]\nlab = MODULE\n")
    again.put("Lab_Chip", "[hil.chips]\nlab = MODULE\n")
    assert find_plugin(CHIPS, "lab").distribution == "Lab_Chip"


def test_distribution_behind_another_of_its_name_is_not_listed_for_what_that_one_lacks(
    shelf: Shelf, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("lab_chip", "[hil.chips]\nlab = MODULE\n")
    assert find_plugin(CHIPS, "lab").distribution == "lab_chip"
    forward = Shelf(tmp_path_factory.mktemp("forward"))
    monkeypatch.syspath_prepend(str(forward.folder))
    forward.put("Lab.Chip", "", module="without_plugins")
    with pytest.raises(PluginError, match="no plug-in 'lab'"):
        find_plugin(CHIPS, "lab")


def test_name_that_is_not_there_is_told_with_those_that_are(shelf: Shelf) -> None:
    shelf.put("lab_chip", "[hil.chips]\nlab = MODULE\n")
    with pytest.raises(PluginError, match=r"hil.chips: no plug-in 'nope': there are .*lab"):
        load_plugin(CHIPS, "nope")


def test_built_in_plugins_are_of_their_groups(shelf: Shelf) -> None:
    for group, entries in BUILT_IN.items():
        lines = "\n".join(f"my-{name} = {target}" for name, target in entries.items())
        shelf.put(group.replace(".", "_"), f"[{group}]\n{lines}\n")
    for group, entries in BUILT_IN.items():
        assert {f"my-{name}" for name in entries} <= set(load_usable(PluginGroup(group)))


def test_project_declares_its_built_in_plugins() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    if "entry-points" not in declared:
        pytest.skip("pyproject.toml has no entry points yet")
    assert declared["entry-points"] == BUILT_IN


def test_page_names_every_claim_of_the_conformance_test_in_order() -> None:
    page = (PROJECT / "docs" / "reference" / "plug-ins.md").read_text()
    table = page.split("| claim | programs |\n|---|---|\n")[1].split("\n\n")[0]
    claims = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]
    assert claims == [*(check.claim for check in CHECKS), LEFT_SAFE]
