"""Where a board keeps the NMPU's registers: a TOML file, checked before anything is made by it."""

from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.core.toml_file import TomlText, check_document, key_path, read_toml_bytes
from hil.core.toml_lines import KeyPath

ADDRESS_SPACE = 1 << 32
"""Bytes that can be addressed: Intel HEX has 32 bits for an address."""
_Address = Annotated[int, Field(ge=0, lt=ADDRESS_SPACE)]


class Held(StrEnum):
    """What a field holds."""

    SCALE_P = "scale_p"
    SCALE_N = "scale_n"
    OFFSET = "offset"
    SWAP = "swap"
    FLAGS = "flags"
    SHIFT = "shift"
    CONSTANT = "constant"


_OF_TILES = {Held.SHIFT, Held.CONSTANT}
"""What there is one of for a whole tile."""
_NEEDED = (Held.SCALE_P, Held.OFFSET, Held.SHIFT)
"""Without these nothing can be computed; `scale_n` and `swap` can be those of no importance."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldSection(_Section):
    """Some bits of a word."""

    holds: Held
    """What is in them."""
    lowest_bit: int = Field(ge=0, le=63)
    """The lowest of them, from 0."""
    bits: int = Field(ge=1, le=64)
    """How many."""
    constant: int | None = Field(default=None, ge=0)
    """What they hold always, where they hold a constant."""

    @model_validator(mode="after")
    def _check(self) -> "FieldSection":
        if (self.constant is None) == (self.holds is Held.CONSTANT):
            raise ValueError("constant: must be given where holds = 'constant', and only there")
        if self.constant is not None and self.constant >> self.bits:
            raise ValueError(f"constant: {self.constant} does not fit into {self.bits} bits")
        return self

    @property
    def mask(self) -> int:
        """The bits of the word that are its own."""
        return ((1 << self.bits) - 1) << self.lowest_bit


class RegisterSection(_Section):
    """A register that every tile has once, or every column of it."""

    name: str
    """Name, for messages."""
    per: Literal["tile", "column"]
    """What has one of its own."""
    offset: _Address
    """From the tile's base to it, or to that of column 0, bytes."""
    stride: _Address | None = None
    """From one column's to the next one's, bytes."""
    bytes: Literal[1, 2, 4, 8]
    """Size of its word."""
    fields: list[FieldSection] = Field(min_length=1)
    """What is in the word; bits that are not named are 0."""

    @model_validator(mode="after")
    def _check(self) -> "RegisterSection":
        if (self.stride is None) == (self.per == "column"):
            raise ValueError("stride: must be given where per = 'column', and only there")
        if self.stride is not None and self.stride < self.bytes:
            raise ValueError(f"stride: must be at least {self.bytes}, the size of the word")
        taken = 0
        for number, field in enumerate(self.fields):
            where = f"fields: field {number}, {field.holds},"
            if field.lowest_bit + field.bits > 8 * self.bytes:
                raise ValueError(
                    f"{where} ends at bit {field.lowest_bit + field.bits - 1}: "
                    f"the word has bits 0 to {8 * self.bytes - 1}"
                )
            if taken & field.mask:
                raise ValueError(f"{where} has bits that a field before it has")
            if self.per == "tile" and field.holds not in _OF_TILES:
                raise ValueError(f"{where} is one for each column: must be in a register of those")
            taken |= field.mask
        return self


class TileSection(_Section):
    """Where the registers of one core in one read mode begin."""

    base: _Address
    """Of core 0 in the first read mode."""
    core_stride: _Address
    """From one core's to the next one's, bytes."""
    read_mode_stride: _Address
    """From one read mode's to the next one's, bytes."""
    read_modes: list[ReadMode] = Field(min_length=1)
    """The read modes that have registers, in the order of their addresses."""

    @model_validator(mode="after")
    def _check(self) -> "TileSection":
        if len(set(self.read_modes)) < len(self.read_modes):
            raise ValueError("read_modes: names one twice")
        return self


class RegisterMap(_Section):
    """The whole file."""

    schema_version: Literal[1]
    """Version of the file's form."""
    title: str = ""
    """What it is the map of."""
    endianness: Literal["little", "big"]
    """Which byte of a word has the lowest address."""
    fill: int = Field(default=0xFF, ge=0, le=0xFF)
    """What gaps of a binary image hold."""
    digest_address: _Address | None = None
    """Where 32 bytes tell what the image was made from; None for nowhere."""
    tile: TileSection
    """Where the tiles are."""
    register_: list[RegisterSection] = Field(min_length=1, alias="register")
    """The registers of a tile."""

    @model_validator(mode="after")
    def _check(self) -> "RegisterMap":
        holds = [field.holds for register in self.register_ for field in register.fields]
        for held in _NEEDED:
            if held not in holds:
                raise ValueError(f"register: no field holds {held}")
        for held in set(holds) - {Held.CONSTANT}:
            if holds.count(held) > 1:
                raise ValueError(f"register: {holds.count(held)} fields hold {held}: must be one")
        return self

    def register_of(self, held: Held) -> tuple[int, int] | None:
        """Return which register and field of it hold something; None if none does."""
        for number, register in enumerate(self.register_):
            for place, field in enumerate(register.fields):
                if field.holds is held:
                    return number, place
        return None


class MapFile:
    """A register map with its text, so that every problem has a line.

    Parameters
    ----------
    content
        The file's bytes.
    source
        Its name, for messages.

    Raises
    ------
    ConfigError
        If it is no map; every problem is listed with its key path and line.
    """

    def __init__(self, content: bytes, *, source: str) -> None:
        self._text = TomlText(content, source=source)
        self.map = check_document(
            RegisterMap, self._text.document, source=source, place_of=self._text.place
        )
        """What it says."""
        self.sha256 = sha256(content).hexdigest()
        """Hash of the file."""

    @cached_property
    def source(self) -> str:
        """The file's name, for messages."""
        return self._text.source

    def refuse(self, path: KeyPath, message: str) -> NoReturn:
        """Raise ConfigError about a key of it."""
        line = self._text.place(path).line
        raise ConfigError(self.source, [Problem(key_path(path), message, line)])


def load_register_map(path: Path) -> MapFile:
    """Read a register map.

    Raises
    ------
    ConfigError
        If it cannot be read, or is no map; every problem is listed with its key path and line.
    """
    return MapFile(read_toml_bytes(path), source=str(path))


def example_map() -> MapFile:
    """Return the map that is used where none is given: ``examples/register_map.toml``."""
    content = resources.files("hil_datasets.export").joinpath("register_map.toml").read_bytes()
    return MapFile(content, source="examples/register_map.toml")
