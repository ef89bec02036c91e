"""The archive of a program that `torch.export.save` wrote, read where nothing in it can run code.

torch itself unpickles what a program's archive holds, loads compiled libraries from it and hands
its sizes to an evaluating parser. What `torch.export.save` writes for a plain network needs none of
that, so an archive with more than it is refused before torch sees it. torch never sees the file
either: another reader of archives could find other files in the same bytes, so it is handed an
archive that is written anew, of what was checked and nothing else.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/serialize.py of torch 2.13.
"""

import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, DatasetError, HilError, Problem
from hil.core.legible import cut_short
from hil.core.regular_file import read_regular_file
from hil.inference.libraries import load_torch

MOST_BYTES = 1 << 31
"""Of a program, and of all that is in it: it is held in memory, twice for a while."""
_MEMBER = re.compile(
    r"models/model\.json|data/(weights|constants)/(weight|tensor)_\d+|"
    r"data/(weights|constants)/model_(weights|constants)_config\.json|"
    r"data/sample_inputs/model\.pt|archive_format|archive_version|version|byteorder|"
    r"\.data/\w+|extra/.*"
)
"""Files of an archive, below its first folder."""
_EXTRA = "extra/"
"""Files of the user's own among them: not handed on."""
_PROGRAM = "models/model.json"
"""The file among them that every program has."""
_FOLDER = "program"
"""First folder of the archive that is written anew."""
_NUMBER = r"\d{1,9}(?!\d)"
"""More digits, or powers of numbers, could take forever: sympy computes as it reads."""
_SYMBOL = rf"Symbol\('[su]{_NUMBER}'"
_SIZE = re.compile(
    rf"(?:{_SYMBOL}|Pow\({_SYMBOL}(?:, \w+=True)*+\), Integer\(-?\d\)\)|"
    r"Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|"
    rf"positive=True|nonnegative=True|integer=True|[su]{_NUMBER}|{_NUMBER}|\*(?!\*)|[-+/(), ])*+"
)
"""A size that depends on the number of images, as sympy writes it."""
_LONGEST_SIZE = 2000
"""Characters of it."""
_LONGEST_SHOWN = 100
_TARGET = re.compile(r"torch\.ops\.\w+\.\w+\.\w+|_operator\.\w+|math\.\w+|torch\.sym_\w+|\w+")
_END = struct.Struct("<4s4H2LH")
"""The record at an archive's end, without a comment (APPNOTE.TXT 6.3.10, section 4.3.16)."""
_ELSEWHERE = 0xFFFF_FFFF
"""What it says where the place is in a longer record (section 4.4.24)."""


def read_archive(path: Path) -> bytes:
    """Return an archive of the checked files of a program, for `torch.export.load`.

    Raises
    ------
    DatasetError
        If it is missing, damaged, or could run code.
    """
    try:
        content = read_regular_file(path, largest=MOST_BYTES)
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive, path)
            _check_layout(archive, content, path)
            members = {_inner(one): archive.read(one) for one in archive.namelist()}
        for name, member in members.items():
            if name.endswith(".json"):
                _check_json(json.loads(member.decode()), path)
            if name.endswith(".pt"):
                load_torch().load(io.BytesIO(member), weights_only=True, map_location="cpu")
    except HilError:
        raise
    except Exception as error:
        reason = f"is no program of torch.export.save, or damaged, or holds code: {error}"
        raise damaged(path, reason.splitlines()[0]) from error
    return _written_anew(members)


def _inner(name: str) -> str:
    return name.partition("/")[2]


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    inner = [_inner(name) for name in archive.namelist()]
    wrong = [name for name in inner if not _MEMBER.fullmatch(name)]
    if _PROGRAM not in inner:
        reason = f"is no program of torch.export.save, or cut off: holds no {_PROGRAM}"
        raise damaged(path, reason)
    if wrong or len(set(inner)) != len(inner):
        strange = wrong[0] if wrong else "a file twice"
        raise damaged(path, f"holds {strange}, which torch.export.save does not write")
    total = sum(one.file_size for one in archive.infolist())
    if total > MOST_BYTES:
        reason = f"is {total} bytes when inflated, must be at most {MOST_BYTES}"
        raise damaged(path, reason)
    broken = archive.testzip()  # torch does not look at the check sums of weights
    if broken is not None:
        raise damaged(path, f"is damaged: {broken} is not what its check sum says")


def _check_layout(archive: zipfile.ZipFile, content: bytes, path: Path) -> None:
    """Refuse bytes around the archive: readers differ in what they take for its files then."""
    signature, *_, start, comment = _END.unpack(content[-_END.size :])
    if signature != b"PK\5\6" or comment:
        raise damaged(path, "has bytes behind its archive, which torch.export.save does not write")
    if start not in (archive.start_dir, _ELSEWHERE):
        reason = (
            f"says that the list of its files is at byte {start}, it is at {archive.start_dir}: "
            "another reader would find other files in it; not opened"
        )
        raise damaged(path, reason)
    if min(one.header_offset for one in archive.infolist()):
        raise damaged(path, "has bytes before its archive, which torch.export.save does not write")


def _check_json(content: Any, path: Path) -> None:
    for key, value in _entries(content):
        strange = (
            (key == "use_pickle" and value is not False)
            or (key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value)))
            or (key == "expr_str" and not _is_size(str(value)))
            or (key == "target" and not (value is None or _TARGET.fullmatch(str(value))))
        )
        if strange:
            shown = cut_short(repr(value), longest=_LONGEST_SHOWN)
            reason = (
                f"{key} = {shown} could run code when it is opened, or compute without end: not "
                "opened"
            )
            raise damaged(path, reason)


def _is_size(text: str) -> bool:
    return len(text) <= _LONGEST_SIZE and _SIZE.fullmatch(text) is not None


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    # A stack of its own: a file nests as deep as it likes.
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _written_anew(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members.items():
            if not name.startswith(_EXTRA):
                archive.writestr(f"{_FOLDER}/{name}", member)
    return file.getvalue()


def damaged(path: Path, message: str) -> DatasetError:
    """Return the error that a program cannot be opened."""
    return DatasetError(str(path), [Problem("", message)])
