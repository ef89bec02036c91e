"""What is refused of the archive of an exported program, and what torch is handed of it."""

import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hil.core.errors import DatasetError
from hil.inference.networks import program_archive
from hil.inference.networks.network import load_network
from hil.inference.networks.program_archive import read_archive

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole program."""
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    images = ({0: torch.export.Dim("images")},)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    torch.export.save(
        torch.export.export(module, (torch.zeros(2, *SHAPE),), dynamic_shapes=images), path
    )
    return path


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _hostile(members: Mapping[str, bytes], marker: Path) -> dict[str, bytes]:
    """The same files, but that the first weight is unpickled."""
    changed = dict(members)
    (config,) = (name for name in members if name.endswith("model_weights_config.json"))
    content = json.loads(members[config])
    next(iter(content["config"].values()))["use_pickle"] = True
    changed[config] = json.dumps(content).encode()
    pickled = io.BytesIO()
    torch.save(_Marker(marker), pickled)
    changed["good/data/weights/weight_0"] = pickled.getvalue()
    return changed


def _stored(out: bytearray, members: Mapping[str, bytes]) -> dict[str, int]:
    places = {}
    for name, data in members.items():
        places[name] = len(out)
        head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, 0, 0, 0, 0, zlib.crc32(data), len(data),
                           len(data), len(name), 0)  # fmt: skip
        out.extend(head + name.encode() + data)
    return places


def _listed(members: Mapping[str, bytes], places: Mapping[str, int], *, shift: int) -> bytes:
    listed = b""
    for name, data in members.items():
        size = len(data)
        listed += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, 0, 0, 0, 0, zlib.crc32(data),
                              size, size, len(name), 0, 0, 0, 0, 0,
                              places[name] - shift)  # fmt: skip
        listed += name.encode()
    return listed


def _two_lists(members: Mapping[str, bytes], marker: Path) -> bytes:
    """An archive with two lists of files: the end record names one, the other lies before it.

    zipfile takes the list that lies before the end record, and miniz, with which torch reads, the
    one that the record names.
    """
    hostile = _hostile(members, marker)
    out = bytearray()
    bad, good = _stored(out, hostile), _stored(out, members)
    first = _listed(hostile, bad, shift=0)
    start = len(out)
    out += first + _listed(members, good, shift=len(first))
    count = len(members)
    out += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(first), start, 0)
    return bytes(out)


def test_archive_that_two_readers_see_differently_runs_nothing(
    program: Path, tmp_path: Path
) -> None:
    marker, path = tmp_path / "was here", tmp_path / "two.pt2"
    path.write_bytes(_two_lists(_members(program), marker))
    # So the file is what it is meant to be: zipfile sees nothing that is pickled, torch does.
    name = "data/weights/model_weights_config.json"
    assert b'"use_pickle": true' not in _members(path)[f"good/{name}"]
    seen = torch._C.PyTorchFileReader(str(path)).get_record(name)
    assert b'"use_pickle": true' in seen
    with pytest.raises(DatasetError, match=r"two\.pt2: .*another reader would find other files"):
        load_network(str(path), None, image_shape=SHAPE)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("before", "behind", "words"),
    [
        (b"#!/bin/sh\n", b"", r"the list of its files is at byte \d+, it is at \d+"),
        (b"", b"\n", "bytes behind its archive"),
    ],
)
def test_bytes_around_the_archive_are_refused(
    program: Path, tmp_path: Path, before: bytes, behind: bytes, words: str
) -> None:
    path = tmp_path / "around.pt2"
    path.write_bytes(before + program.read_bytes() + behind)
    with pytest.raises(DatasetError, match=words):
        load_network(str(path), None, image_shape=SHAPE)


def test_torch_is_handed_the_checked_files_alone(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "with_extra.pt2"
    path.write_bytes(program.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good/extra/note", b"mine")
    with zipfile.ZipFile(io.BytesIO(read_archive(path))) as archive:
        handed = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert handed == {name.partition("/")[2]: one for name, one in _members(program).items()}


def test_program_larger_than_memory_should_hold_is_refused(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_archive, "MOST_BYTES", 1000)
    with pytest.raises(DatasetError, match=r"bytes or more: must be at most 1000"):
        read_archive(program)


@pytest.mark.parametrize(
    "size",
    [
        "9**9**9**9**9",
        "Pow(Integer(9), Pow(Integer(9), Integer(99)))",
        "Integer(" + "9" * 5000 + ")",
        "1" * 60 + "x",
        "Symbol('s0')**2**99",
    ],
    ids=["powers", "nested powers", "long number", "digits and a letter", "power of a symbol"],
)
def test_size_that_would_be_computed_without_end_is_refused(
    program: Path, tmp_path: Path, size: str
) -> None:
    path = tmp_path / "endless.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _members(program).items():
            said = b'"expr_str": ' + json.dumps(size).encode()
            archive.writestr(name, re.sub(rb'"expr_str": "[^"]*"', said, content))
    with pytest.raises(DatasetError, match=r"expr_str = .* could run code .*not opened"):
        load_network(str(path), None, image_shape=SHAPE)
