"""What an exported file says, read back: as little as it takes to load it, or to apply it again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.legible import quoted
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.content_id import set_id
from hil_datasets.step import StepKey

MOST_COLUMNS = 1 << 16
"""No core has more; a file that says so is damaged."""
HIGHEST_SHIFT = 15
"""The highest that `NmpuFormat` takes."""
MOST_TILES = 1 << 16
"""Nor has a chip more cores times read modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedTile:
    """The registers of one core in one read mode."""

    core: int
    """Core number."""
    read_mode: ReadMode
    """Read mode."""
    shift: int
    """The tile's right shift."""
    registers: NmpuRegisters
    """Register codes per column."""
    raw_sha256: str
    """Content hash of the readouts that they were made from."""
    output_lsb: float | None
    """Size of one output code, in product units; None where the format has no room for it."""
    correction_id: str = ""
    """Id of the correction that they hold; empty where the file does not say."""
    coefficients_id: str = ""
    """Their id; empty where the file does not say."""

    @property
    def name(self) -> str:
        """Name of the tile, the same whenever it was calibrated."""
        return StepKey(self.core, self.read_mode).name


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineTile:
    """One real scale and offset per column: what a format holds that knows no registers."""

    core: int
    """Core number."""
    read_mode: ReadMode
    """Read mode."""
    scale: npt.NDArray[np.float64]
    """Product units per count of P - N, shape (column,)."""
    offset: npt.NDArray[np.float64]
    """Product units, shape (column,)."""
    raw_sha256: str
    """Content hash of the readouts that they were made from."""
    correction_id: str = ""
    """Id of the correction that the registers hold; empty where the file does not say."""
    coefficients_id: str = ""
    """Id of the registers; empty where the file does not say."""

    @property
    def name(self) -> str:
        """Name of the tile, the same whenever it was calibrated."""
        return StepKey(self.core, self.read_mode).name


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSet:
    """What a file holds.

    Raises
    ------
    ValueError
        If its id is not that of its tiles.
    """

    tiles: tuple[ExportedTile | AffineTile, ...]
    """The tiles, in the file's order."""
    nmpu: Mapping[str, Any] | None
    """NMPU parameters by name, ``shift`` None; None where the format has no room for them."""
    chip: ChipIdentity | None
    """The chip; None where the format has no room for it."""
    coefficients_id: str = ""
    """Id of the set; empty where the file does not say, as none did before there were ids."""

    def __post_init__(self) -> None:
        ids = [
            (StepKey(tile.core, ReadMode(tile.read_mode)), tile.coefficients_id)
            for tile in self.tiles
        ]
        is_known = self.coefficients_id and all(tile.coefficients_id for tile in self.tiles)
        if is_known and set_id(ids) != self.coefficients_id:
            raise ValueError(
                f"coefficients_id is {quoted(self.coefficients_id)}: those of its tiles make "
                f"{quoted(set_id(ids))}, so a tile was changed or taken out since it was exported"
            )


def format_of(nmpu: Mapping[str, Any], shift: int) -> NmpuFormat:
    """Return the NMPU format of a tile.

    Raises
    ------
    ValueError
        If a parameter is missing, unknown, of the wrong type, or out of its range.
    """
    kinds = {field.name: field.type for field in fields(NmpuFormat)}
    if nmpu.keys() != kinds.keys():
        odd = sorted(nmpu.keys() ^ kinds.keys())
        raise ValueError(f"nmpu: {quoted(odd[0])} is missing or unknown")
    values = {**nmpu, "shift": shift}
    for name, kind in kinds.items():
        wanted = kind if kind in {int, bool} else str
        if type(values[name]) is not wanted:
            raise ValueError(f"nmpu.{name} is {quoted(values[name])}")
    return NmpuFormat(**values)


def nmpu_text(fmt: NmpuFormat) -> str:
    """Return a format's parameters as text without the shift, as each tile has its own."""
    return ",".join(part for part in fmt.to_text().split(",") if not part.startswith("shift="))


def nmpu_from_text(text: str) -> NmpuFormat:
    """Read what `nmpu_text` returned; the shift is the highest, which every format allows.

    Raises
    ------
    ValueError
        If a name is unknown or a value none of that parameter.
    """
    return NmpuFormat.from_text(text, base=NmpuFormat(shift=HIGHEST_SHIFT))


def registers_of(codes: Mapping[str, Any], *, where: str) -> NmpuRegisters:
    """Return registers from lists or arrays of codes by name.

    Raises
    ------
    ValueError
        If their lengths differ, or a code does not fit the register.
    """
    names = ("scale_p", "scale_n", "offset", "swap")
    try:
        arrays = [np.asarray(codes[name], dtype=np.int64) for name in names]
    except OverflowError as error:
        raise ValueError(f"{where}: a register code is beyond 64 bits") from error
    columns = len(arrays[0])
    if any(array.shape != (columns,) for array in arrays) or not 1 <= columns <= MOST_COLUMNS:
        raise ValueError(
            f"{where}: scale_p, scale_n, offset and swap must be lists of one length, "
            f"1 to {MOST_COLUMNS}"
        )
    for name, array, lowest, highest in zip(
        names, arrays, (0, 0, -(1 << 15), 0), (255, 255, (1 << 15) - 1, 1), strict=True
    ):
        outside = (array < lowest) | (array > highest)
        if outside.any():
            column = int(np.argmax(outside))
            raise ValueError(
                f"{where}: {name} of column {column} is {array[column]}: must be "
                f"{lowest} to {highest}"
            )
    return NmpuRegisters.from_codes(np.stack(arrays).astype(np.int16))


def identity_of(chip: Mapping[str, str]) -> ChipIdentity:
    """Return the chip's identity.

    Raises
    ------
    ValueError
        If it is not four texts.
    """
    names = [field.name for field in fields(ChipIdentity)]
    if set(chip) != set(names) or not all(isinstance(word, str) for word in chip.values()):
        raise ValueError(f"source.chip: must be texts named {', '.join(names)}")
    return ChipIdentity(**chip)
