"""The files that are converted: which source of the mapping each belongs to, and their hashes."""

import hashlib
import re
from collections.abc import Mapping as Mapped
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import DatasetError, Problem
from hil.core.legible import quoted
from hil.core.readout import ReadMode
from hil.core.regular_file import open_regular_file
from hil.recorded.convert.mapping import MOST_CORES

_PLACEHOLDERS = {
    "*": ".*",
    "?": ".",
    "{core}": r"(?P<core>[0-9]{1,6})",
    "{visit}": r"(?P<visit>[0-9]{1,3})",
    "{read_mode}": "(?P<read_mode>.+?)",
}
_PIECE_BYTES = 1 << 20
_PARTS = re.compile(r"(\*|\?|\{core\}|\{visit\}|\{read_mode\})")


@dataclass(frozen=True, slots=True)
class PartialKey:
    """What is known of the step that something belongs to."""

    core: int | None = None
    """Core number; None if it is that of any core."""
    read_mode: ReadMode | None = None
    """Read mode; None if it is that of any."""
    visit: int | None = None
    """Number of the visit; None if it is that of any."""

    def joined(self, other: "PartialKey") -> "PartialKey":
        """Return what both know.

        Raises
        ------
        ValueError
            If they contradict each other.
        """
        fields: dict[str, int | ReadMode | None] = {}
        for name in ("core", "read_mode", "visit"):
            mine, others = getattr(self, name), getattr(other, name)
            if mine is not None and others is not None and mine != others:
                raise ValueError(f"{name} is {mine} by the name of the file and {others} in it")
            fields[name] = others if mine is None else mine
        return PartialKey(**fields)  # type: ignore[arg-type]

    def fits(self, other: "PartialKey") -> bool:
        """Tell whether nothing that this knows is otherwise in the other."""
        return all(
            getattr(self, name) in {None, getattr(other, name)}
            for name in ("core", "read_mode", "visit")
        )

    @property
    def known(self) -> int:
        """How much is known."""
        return sum(each is not None for each in (self.core, self.read_mode, self.visit))

    def __str__(self) -> str:
        names = {"core": self.core, "read mode": self.read_mode, "visit": self.visit}
        said = [f"{name} {value}" for name, value in names.items() if value is not None]
        return ", ".join(said) or "every step"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that is converted."""

    path: Path
    """Where it is."""
    sha256: str
    """Hash of its content."""
    size_bytes: int
    """Its size."""

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.name

    @property
    def is_table(self) -> bool:
        """Whether it is a CSV file, not one of arrays."""
        return self.path.suffix.lower() not in {".npz", ".npy"}


def hash_sources(paths: Sequence[Path]) -> list[SourceFile]:
    """Return the files with their hashes, sorted by name.

    Raises
    ------
    ConfigError
        If one is missing, unreadable or no regular file.
    DatasetError
        If two have the same name: provenance tells them by it.
    """
    files: dict[str, SourceFile] = {}
    for path in paths:
        digest, size = hashlib.sha256(), 0
        with open_regular_file(path) as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
        if path.name in files:
            message = f"has the same name as {files[path.name].path}: a run tells its sources by it"
            raise DatasetError(str(path), [Problem("", message)])
        files[path.name] = SourceFile(path=path, sha256=digest.hexdigest(), size_bytes=size)
    return [files[name] for name in sorted(files)]


def match_name(name: str, pattern: str, read_modes: Mapped[str, ReadMode]) -> PartialKey | None:
    """Return what the name of a file says of its step; None if it is not of the pattern.

    Parameters
    ----------
    name
        Name of the file, without its folder.
    pattern
        What the mapping says of it.
    read_modes
        Other words for read modes.

    Raises
    ------
    ValueError
        If what stands for the read mode is none.

    Examples
    --------
    >>> match_name("die7_core12.csv", "*_core{core}.csv", {})
    PartialKey(core=12, read_mode=None, visit=None)
    """
    expression = "".join(_PLACEHOLDERS.get(part, re.escape(part)) for part in _PARTS.split(pattern))
    found = re.fullmatch(expression, name, re.DOTALL)
    if found is None:
        return None
    said = found.groupdict()
    return PartialKey(
        core=int(said["core"]) if "core" in said else None,
        read_mode=read_mode_of(said["read_mode"], read_modes) if "read_mode" in said else None,
        visit=int(said["visit"]) if "visit" in said else None,
    )


def read_mode_of(word: str, read_modes: Mapped[str, ReadMode]) -> ReadMode:
    """Return the read mode that a word stands for.

    Raises
    ------
    ValueError
        If it is none.
    """
    if word in read_modes:
        return read_modes[word]
    try:
        return ReadMode(word)
    except ValueError:
        known = ", ".join([*map(str, ReadMode), *read_modes])
        raise ValueError(
            f"{quoted(word)} is no read mode: must be one of {known}; read_modes gives other words"
        ) from None


def core_of(number: int) -> int:
    """Return a core number.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not 0 <= number < MOST_CORES:
        raise ValueError(f"core {number}: must be 0 to {MOST_CORES - 1}")
    return number
