"""Reading a mapping file; what is wrong with its keys together, each named with its line."""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import ConfigError, Problem
from hil.core.file_kinds import MAPPING_KEY, refuse_other_kind
from hil.core.toml_file import TomlText, check_document, key_path, read_toml_bytes
from hil.core.toml_lines import KeyPath
from hil.recorded.convert.mapping import (
    LEAST_CALIBRATION,
    Axis,
    FitsSection,
    Form,
    Mapping,
    Rule,
    SourceSection,
    StimulusSection,
)

KEY_AXES = (Axis.CORE, Axis.READ_MODE, Axis.VISIT)
"""Axes that tell one step from another."""
_COMBINED = (Axis.CORE, Axis.VECTOR, Axis.COLUMN, Axis.NOTHING)
_INNER = {
    "counts": (Axis.VECTOR, Axis.COLUMN),
    "inputs": (Axis.VECTOR, Axis.ROW),
    "weights": (Axis.ROW, Axis.COLUMN),
    "expected": (Axis.VECTOR, Axis.COLUMN),
    "fits": (Axis.COLUMN,),
}
"""Axes that each source must have, besides those that tell steps apart."""
_NUMBER_OF = {"counts": "column", "inputs": "row", "weights": "column", "expected": "column"}
PLACEHOLDERS = ("core", "read_mode", "visit")
_BRACES = re.compile(r"\{([^{}]*)\}")
LARGEST_X = 1_000_000
"""Most product units away from 0 that a stimulus reaches."""

_Found = Iterator[tuple[KeyPath, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMapping:
    """A checked mapping file, with its bytes and its place."""

    says: Mapping
    """What it says."""
    content: bytes
    """The file, byte for byte."""
    path: Path
    """Where it was read from."""

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.content).hexdigest()


def load_mapping(path: Path) -> LoadedMapping:
    """Read and check a mapping file.

    Raises
    ------
    ConfigError
        If it is missing or wrong; every problem is listed with its key path and line.
    """
    content = read_toml_bytes(path)
    text = TomlText(content, source=str(path))
    refuse_other_kind(text.document, MAPPING_KEY, source=str(path))
    says = check_document(Mapping, text.document, source=str(path), place_of=text.place)
    problems = [
        Problem(key_path(where), message, text.place(where).line)
        for where, message in mapping_problems(says)
    ]
    if problems:
        raise ConfigError(str(path), problems)
    return LoadedMapping(says=says, content=content, path=path)


def inner_axes(section: str, rule: Rule | None, *, stacks: bool = False) -> tuple[Axis, ...]:
    """Return the axes of a source within one step, in the order in which they are stored.

    Parameters
    ----------
    section
        Its section of the mapping file.
    rule
        The rule of counts and fits.
    stacks
        Whether the two polarities are arrays of their own.
    """
    axes = _INNER[section]
    if rule is Rule.PAIR and not stacks:
        return (*axes[:-1], Axis.POLARITY, axes[-1])
    return axes


def mapping_problems(says: Mapping) -> list[tuple[KeyPath, str]]:
    """Return key and message of everything wrong with a mapping whose keys are right alone."""
    problems = [
        *_form_problems(says),
        *_names_problems(says),
        *_visits_problems(says),
        *_csv_problems(says),
        *_unused_problems(says),
        *_number_problems(says),
    ]
    for name in _NUMBER_OF:
        section = getattr(says, name)
        if section is not None:
            problems += _source_problems(name, section, says)
    if says.fits is not None:
        problems += _fits_problems(says.fits, says)
    return problems


def _form_problems(says: Mapping) -> _Found:
    if says.form is Form.COUNTS:
        for name in ("counts", "inputs"):
            if getattr(says, name) is None:
                yield (name,), 'is missing: form = "counts" needs it'
        if says.weights is None and says.expected is None:
            yield ("weights",), "is missing, and so is expected: one of them is needed"
        if says.fits is not None:
            yield ("fits",), 'belongs to form = "fits": leave it out'
        return
    if says.fits is None:
        yield ("fits",), 'is missing: form = "fits" needs it'
    for name in _NUMBER_OF:
        if getattr(says, name) is not None:
            yield (name,), 'belongs to form = "counts": leave it out'


def _names_problems(says: Mapping) -> _Found:
    for name in ("core", "read_mode", "polarity"):
        named = getattr(says.axes, name) or []
        if len(set(named)) != len(named):
            yield ("axes", name), f"names one twice: {', '.join(map(str, named))}"
    for name in PLACEHOLDERS:
        taken = getattr(says.take, name) or []
        if len(set(taken)) != len(taken):
            yield ("take", name), f"takes one twice: {', '.join(map(str, taken))}"
    for name in ("core", "read_mode"):
        named, taken = getattr(says.axes, name), getattr(says.take, name)
        if named is not None and taken is not None and len(named) != len(taken):
            yield (
                ("axes", name),
                f"names {len(named)} places, and take.{name} takes {len(taken)}",
            )


def _unused_problems(says: Mapping) -> _Found:
    """Yield what names places along an axis that nothing has."""
    sources = [getattr(says, name) for name in (*_NUMBER_OF, "fits")]
    axes = {axis for source in sources if source is not None for axis in source.axes or ()}
    for section, names in (("axes", ("core", "read_mode")), ("take", PLACEHOLDERS)):
        for name in names:
            if getattr(getattr(says, section), name) is not None and Axis(name) not in axes:
                yield (section, name), f"no source has the axis {name}: leave it out"
    if says.form is Form.COUNTS and says.stimulus != StimulusSection():
        yield ("stimulus",), 'belongs to form = "fits": leave it out'


def _visits_problems(says: Mapping) -> _Found:
    if says.visits is not None:
        values, taken = says.visits.values, says.take.visit
        if len(set(values)) != len(values):
            yield ("visits", "values"), "holds a value twice: visits differ in it"
        if taken is not None and len(taken) != len(values):
            message = f"has {len(values)} values, and take.visit takes {len(taken)} places"
            yield ("visits", "values"), message


def _csv_problems(says: Mapping) -> _Found:
    columns = [(name, getattr(says.csv, name)) for name in ("core", "read_mode", "visit", "vector")]
    named_columns = [column for _, column in columns if column is not None]
    for name, column in columns:
        if column is not None and named_columns.count(column) > 1:
            yield ("csv", name), f"names the column {column!r}, and so does another key"


def _number_problems(says: Mapping) -> _Found:
    for name in _NUMBER_OF:
        section = getattr(says, name)
        if section is not None and section.scale == 0:
            yield (name, "scale"), "is 0: must be the size of one code"
    if says.nmpu.shift != 0:
        yield ("nmpu", "shift"), "is chosen per core by the calibration; leave it out"
    if says.form is not Form.FITS:
        return
    stimulus, held_out = says.stimulus, says.vectors.verification
    fitted = stimulus.vectors - held_out
    if fitted < LEAST_CALIBRATION:
        message = f"is {stimulus.vectors}, of which vectors.verification holds out {held_out}"
        yield ("stimulus", "vectors"), f"{message}: must leave {LEAST_CALIBRATION} for the fit"
    lowest, highest = product_range(says)
    if highest - lowest < 2:
        message = f"leaves {max(0, highest - lowest + 1)} whole products from x_lowest: must be 3"
        hint = "or more; widen the range or lower x_per_product"
        yield ("stimulus", "x_highest"), f"{message} {hint}"
    elif max(-lowest, highest) > LARGEST_X:
        message = f"are {max(-lowest, highest)} products or more: must be at most {LARGEST_X}"
        yield ("stimulus", "x_per_product"), f"is too small: x_lowest and x_highest {message}"


def product_range(says: Mapping) -> tuple[int, int]:
    """Return the lowest and the highest whole product within the range of x."""
    stimulus = says.stimulus
    ends = (stimulus.x_lowest / stimulus.x_per_product, stimulus.x_highest / stimulus.x_per_product)
    lowest, highest = (min(max(end, -1e12), 1e12) for end in ends)
    return math.ceil(lowest), math.floor(highest)


def _source_problems(name: str, section: SourceSection, says: Mapping) -> _Found:
    yield from _files_problems(name, section.files)
    given = [key for key in ("array", "arrays", "columns") if getattr(section, key) is not None]
    rule = getattr(section, "rule", None)
    if len(given) != 1:
        what = " and ".join(given) if given else "none"
        yield (name,), f"must have one of array, arrays and columns: has {what}"
        return
    if given == ["arrays"] and rule is not Rule.PAIR:
        yield (name, "arrays"), 'is for counts with rule = "pair": name one array'
        return
    if given == ["columns"]:
        yield from _columns_problems(name, section, rule)
    elif section.axes is None:
        yield (name,), "axes is missing: an array needs it"
    else:
        yield from _axes_problems(
            name, section.axes, inner_axes(name, rule, stacks=given == ["arrays"]), says
        )


def _fits_problems(section: FitsSection, says: Mapping) -> _Found:
    yield from _files_problems("fits", section.files)
    if section.axes is not None:
        yield from _axes_problems("fits", section.axes, inner_axes("fits", section.rule), says)


def _files_problems(name: str, files: str) -> _Found:
    for word in _BRACES.findall(files):
        if word not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            yield (name, "files"), f"has the placeholder {{{word}}}: must be one of {known}"
        elif files.count(f"{{{word}}}") > 1:
            yield (name, "files"), f"has the placeholder {{{word}}} twice"


def _columns_problems(name: str, section: SourceSection, rule: Rule | None) -> _Found:
    wanted = 2 if rule is Rule.PAIR else 1
    columns, number = section.columns or [], f"{{{_NUMBER_OF[name]}}}"
    if section.axes is not None:
        yield (name, "axes"), "is for arrays: columns have none"
    if len(columns) != wanted:
        what = "those of P and N" if wanted == 2 else "one"
        yield (name, "columns"), f"names {len(columns)}: must be {what}"
    for place, column in enumerate(columns):
        if column.count(number) != 1 or len(_BRACES.findall(column)) != 1:
            yield (name, "columns", place), f"is {column!r}: must have {number} once"


def _axes_problems(name: str, axes: list[Axis], inner: tuple[Axis, ...], says: Mapping) -> _Found:
    for axis in inner:
        if axis not in axes:
            yield (name, "axes"), f"lacks the axis {axis}"
    for place, axis in enumerate(axes):
        if axis not in (*inner, *KEY_AXES, Axis.NOTHING):
            yield (name, "axes", place), f"{axis} is no axis of {name}"
        elif axis in axes[:place] and axis not in _COMBINED:
            yield (name, "axes", place), f"{axis} is there twice"
    if Axis.READ_MODE in axes and says.axes.read_mode is None:
        yield ("axes",), f"read_mode is missing: {name} has this axis, whose places need names"
