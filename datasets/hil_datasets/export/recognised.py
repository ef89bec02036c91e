"""Reading an exported file whose format is known by its name alone."""

from collections.abc import Mapping
from pathlib import Path

from hil.core.errors import ConfigError, Problem
from hil.core.extras import MissingExtraError
from hil.core.regular_file import read_regular_file
from hil_datasets.export import exporter as formats
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.exporter import Exporter, ExportRequest
from hil_datasets.export.image_formats import manifest_name
from hil_datasets.export.readmemh_format import parameters_name
from hil_datasets.export.register_map import MapFile
from hil_datasets.export.self_check import read_back

_COMPANIONS: Mapping[str, tuple[str, str]] = {
    ".bin.json": ("manifest", ".bin"),
    ".hex.json": ("manifest", ".hex"),
    ".svh": ("file of parameters", ".mem"),
}
"""What the name of a file ends in that lies beside an exported one: what it is, whose it is."""
_LARGEST_FILE = 1 << 30
"""Most bytes of an exported file that is read, 1 GiB."""
BY_SUFFIX: Mapping[str, Exporter] = {
    ".aihwkit.json": formats.AIHWKIT,
    ".json": formats.JSON,
    ".yaml": formats.YAML,
    ".yml": formats.YAML,
    ".csv": formats.CSV,
    ".npz": formats.NPZ,
    ".h5": formats.HDF5,
    ".h": formats.C_HEADER,
    ".mem": formats.READMEMH,
    ".hex": formats.HEX,
    ".bin": formats.BINARY,
}
"""What the name of an exported file ends in, the longest first, and who reads it."""


def read_exported(path: Path, *, map_file: MapFile | None = None) -> ExportedSet:
    """Read an exported file of any format that comes with this software.

    Parameters
    ----------
    path
        The file; of a format with several files the one that was asked for, the others beside it.
    map_file
        The register map of an image; None for the example's.

    Raises
    ------
    ConfigError
        If it is missing, of no such format, damaged, or what belongs beside it is missing.
    MissingExtraError
        If the library that reads the format is not installed.
    """
    _refuse_companion(path)
    suffix = next((end for end in BY_SUFFIX if path.name.lower().endswith(end)), None)
    if suffix is None:
        message = f"is no exported file by its name: that ends in {', '.join(BY_SUFFIX)}"
        raise ConfigError(str(path), [Problem("", message)])
    names = [path.name]
    if suffix == ".mem":
        names.append(parameters_name(path.name))
    if suffix in {".hex", ".bin"}:
        names.append(manifest_name(path.name))
    files = {name: read_regular_file(path.with_name(name), largest=_LARGEST_FILE) for name in names}
    request = ExportRequest(file_name=path.name, given_map=map_file)
    try:
        found = read_back(BY_SUFFIX[suffix], files, request)
    except MissingExtraError:
        raise
    except (ValueError, MemoryError) as error:
        reason = str(error) or "is too large"
        if "register_map_sha256" in reason:
            reason += "; say with --map which register map it was made by"
        raise ConfigError(str(path), [Problem("", reason)]) from error
    if found is None:
        raise ConfigError(str(path), [Problem("", "cannot be read back")])
    return found


def _refuse_companion(path: Path) -> None:
    """Raise ConfigError for a file that only lies beside an exported one."""
    for end, (what, of) in _COMPANIONS.items():
        if path.name.lower().endswith(end):
            exported = path.with_name(path.name[: -len(end)] + of)
            is_there = "" if exported.is_file() else ", which is not there"
            message = f"is the {what} of {exported.name}{is_there}: give that file"
            raise ConfigError(str(path), [Problem("", message)])
