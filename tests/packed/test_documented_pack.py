"""The reference page of packed files is held to the tables and to a file that is written."""

import re
from pathlib import Path

import h5py

import example_steps as example
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.layout import ENTRIES, PACK_VERSION
from hil_datasets.packed.pack import PackOptions, pack_run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "packed-file.md"


def table_under(heading: str) -> list[list[str]]:
    part = PAGE.read_text().split(f"\n{heading}\n")[1]
    lines = part[part.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_page_lists_what_the_table_in_the_code_has() -> None:
    assert table_under("## Contents") == [
        [f"`{entry.path}`", entry.kind, entry.meaning] for entry in ENTRIES
    ]
    assert f"`format_version` is {PACK_VERSION}." in PAGE.read_text()


def test_page_lists_every_compression() -> None:
    assert table_under("## Compressions") == [
        [f"`{way.name}`", ", ".join(map(str, way.filters)) or "none", way.meaning]
        for way in COMPRESSIONS.values()
    ]


def test_file_holds_what_the_page_lists_and_nothing_else(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    (run.path / "suspect").mkdir()
    (run.path / "suspect" / "a.npz").write_bytes(b"PK")
    pack_run(run, tmp_path / "run.hil.h5", PackOptions(compression=COMPRESSIONS["gzip"]))
    found: set[str] = set()

    def note(name: str, node: h5py.Group | h5py.Dataset) -> None:
        path = re.sub(r"^/entry/files/(suspect/)?[^/]*\..*$", r"/entry/files/\1NAME", f"/{name}")
        path = re.sub(r"^/entry/steps/[^/]+$", "/entry/steps/STEP", path)
        if re.match(r"/entry/(steps/[^/]+|data)/", path) is None:
            found.add(path)
            given = {"NX_class", "units", "long_name"}  # of every group, and of every row of bytes
            if path not in {"/entry/steps/STEP", "/entry/data"}:
                found.update(f"{path}@{attribute}" for attribute in set(node.attrs) - given)

    with h5py.File(tmp_path / "run.hil.h5") as file:
        found.update(f"/@{attribute}" for attribute in file.attrs)
        # Not visititems: it shows what has several names under one of them only.
        for name in _names_in(file, ""):
            note(name, file[name])
    assert found == {entry.path for entry in ENTRIES} | {"/entry/files/suspect"}


def _names_in(group: h5py.Group, above: str) -> list[str]:
    names = []
    for name, node in group.items():
        names.append(f"{above}{name}")
        if isinstance(node, h5py.Group):
            names += _names_in(node, f"{above}{name}/")
    return names
