"""Everything that a packed file holds besides its steps: the one table of it.

The page ``docs/reference/packed-file.md`` is held to this table by a test. What is below a step is
in `hil_datasets.step_files.schema`.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

PACK_FORMAT = "hil-pack"
"""``file_format`` of a packed file, and what its seal begins with."""
PACK_VERSION = 1
"""``format_version`` that is written and read."""
PACK_SUFFIX = ".hil.h5"
"""How the name of a packed file ends, by custom."""
FILES_GROUP = "/entry/files"
STEPS_GROUP = "/entry/steps"


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """One attribute, dataset or group of a packed file."""

    path: str
    """Path in the file; of an attribute with an @ before its name."""
    kind: str
    """``group`` with its NeXus class, or the type of a value."""
    meaning: str
    """What it says."""


ENTRIES = (
    EntrySpec("/@file_format", "text", "`hil-pack`"),
    EntrySpec("/@format_version", "integer", "1"),
    EntrySpec("/@NX_class", "text", "`NXroot`"),
    EntrySpec("/@default", "text", "`entry`"),
    EntrySpec("/@creator", "text", "name and version of the software that packed it"),
    EntrySpec("/@compression", "text", "how readouts are stored: a name of the table below"),
    EntrySpec("/@has_readouts", "integer", "1, or 0 where the readouts were left out"),
    EntrySpec("/entry", "group NXentry", "the run"),
    EntrySpec("/entry@default", "text", "`data`, where there is one"),
    EntrySpec("/entry/title", "text", "title of the campaign"),
    EntrySpec("/entry/start_time", "text", "when the run began, ISO 8601"),
    EntrySpec("/entry/end_time", "text", "when its last event was, ISO 8601"),
    EntrySpec("/entry/experiment_identifier", "text", "SHA-256 of `campaign.toml`, byte for byte"),
    EntrySpec("/entry/instrument", "group NXinstrument", "the chip"),
    EntrySpec("/entry/instrument/name", "text", "manufacturer, model and serial number"),
    EntrySpec(
        "/entry/data",
        "group NXdata",
        "hard link to what is plotted first: of the newest calibration of the first core",
    ),
    EntrySpec("/entry/files", "group NXcollection", "the other files of the run"),
    EntrySpec("/entry/files/NAME", "uint8 (byte)", "one of them, byte for byte"),
    EntrySpec(
        "/entry/files/suspect/NAME", "uint8 (byte)", "suspect readouts, where readouts are kept"
    ),
    EntrySpec("/entry/steps", "group NXcollection", "the finished steps"),
    EntrySpec("/entry/steps/STEP", "group NXcollection", "one step, as in a step file"),
)

_FILES = (
    re.compile(r"campaign(\.\d+)?\.(toml|resolved\.json)"),
    re.compile(r"journal\.jsonl"),
    re.compile(r"mapping(\.\d+)?\.toml"),
    re.compile(r"known-answers\.jsonl"),
    re.compile(r"log(\.\d+)?\.jsonl"),
)
_SUSPECT_FILE = re.compile(r"suspect/[A-Za-z0-9_.-]+\.npz")


def is_packed_file(name: str) -> bool:
    """Return whether a file of a run, by its name in the folder, belongs into a packed file.

    Examples
    --------
    >>> is_packed_file("campaign.2.toml"), is_packed_file("lock.json"), is_packed_file("../x.toml")
    (True, False, False)
    """
    return any(pattern.fullmatch(name) for pattern in _FILES) or is_suspect_file(name)


def is_suspect_file(name: str) -> bool:
    """Return whether a file of a run holds readouts that a guard did not trust.

    Examples
    --------
    >>> is_suspect_file("suspect/core00_one_phase-0-8.npz"), is_suspect_file("suspect/../x.npz")
    (True, False)
    """
    return _SUSPECT_FILE.fullmatch(name) is not None and PurePosixPath(
        name
    ).name == name.removeprefix("suspect/")
