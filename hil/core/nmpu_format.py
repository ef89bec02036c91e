"""The NMPU's format (every width and rounding) and the contents of its registers.

Source: Ferro et al., "A Precision-Optimized Fixed-Point Near-Memory Digital Processing Unit for
Analog In-Memory Computing", ISCAS 2024, arXiv 2402.07549: scale (1,7) unsigned, offset (7,1)
signed, 10-bit inputs, 8-bit signed output. Positions of shift, cuts and roundings are this
project's reading; each is a field here. See ``docs/reference/nmpu.md``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.fixed_point import QFormat, Rounding


class Merge(StrEnum):
    """Where the two branches meet."""

    AFTER_SUBTRACT = "after_subtract"
    """Subtract the exact products, then compress once."""
    PER_BRANCH = "per_branch"
    """Compress each branch by itself, then subtract."""


class OffsetAt(StrEnum):
    """Where the offset is added."""

    AFTER_SHIFT = "after_shift"
    """To the compressed result: one code weighs ``2**-off_frac`` output LSB."""
    BEFORE_SHIFT = "before_shift"
    """To the exact product, before the shift acts: ``2**-(off_frac + shift)`` output LSB."""


_LIMITS = {
    "in_bits": (1, 16),
    "scale_int": (0, 8),
    "scale_frac": (0, 8),
    "off_int": (1, 16),
    "off_frac": (0, 8),
    "off_bits": (2, 16),
    "shift": (0, 15),
    "cut_pre": (0, 23),
    "acc_bits": (2, 30),
    "out_bits": (2, 8),
}
"""Lowest and highest value of each width.

Together they keep every intermediate of every accepted format below 2**31: 32-bit integers are
exact, and a format that is built needs no other limit and no second path. float32 would not do: it
holds whole numbers up to 2**24, and an offset before the shift leads beyond.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NmpuFormat:
    """Every width and rounding of one NMPU; the defaults are the paper's, as far as known.

    Examples
    --------
    >>> fmt = NmpuFormat(shift=2)
    >>> fmt.scale_format.highest, fmt.offset_format.lowest
    (1.9921875, -64.0)
    >>> NmpuFormat(cut_pre=9)
    Traceback (most recent call last):
        ...
    ValueError: cut_pre = 9: must be at most the 6 bits cut in all (scale_frac + shift - off_frac)
    """

    in_bits: int = 10
    """Width of each input, P and N; larger counts saturate."""
    scale_int: int = 1
    """Integer bits of a scale (unsigned)."""
    scale_frac: int = 7
    """Fraction bits of a scale."""
    off_int: int = 7
    """Integer bits of the offset."""
    off_frac: int = 1
    """Fraction bits of the offset."""
    off_bits: int = 8
    """Width of the offset register: ``off_int + off_frac``, or one more if the sign is apart."""
    shift: int = 0
    """Right shift of the product, the same for every column of a tile."""
    cut_pre: int = 0
    """Bits of the product dropped without rounding, before the rounding of the rest."""
    rounding: Rounding = Rounding.HALF_UP
    """Rounding of both later cuts."""
    acc_bits: int = 12
    """Width of the compressed result, signed."""
    out_bits: int = 8
    """Width of the output, signed."""
    saturate: bool = True
    """Clip at the ends; wrap round if false."""
    symmetric: bool = False
    """Clip the output to -(2**(out_bits-1) - 1), not one lower."""
    merge: Merge = Merge.AFTER_SUBTRACT
    """Where the branches meet."""
    offset_at: OffsetAt = OffsetAt.AFTER_SHIFT
    """Where the offset is added."""
    shared_scale: bool = False
    """One scale register serves both branches."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounding", Rounding(self.rounding))
        object.__setattr__(self, "merge", Merge(self.merge))
        object.__setattr__(self, "offset_at", OffsetAt(self.offset_at))
        for name, (lowest, highest) in _LIMITS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"{name} = {value}: must be {lowest} to {highest}")
        self._check_widths_together()

    def _check_widths_together(self) -> None:
        scale_bits = self.scale_int + self.scale_frac
        if not 1 <= scale_bits <= 8:
            raise ValueError(f"scale_int + scale_frac = {scale_bits}: must be 1 to 8")
        if self.off_bits - self.off_int - self.off_frac not in (0, 1):
            raise ValueError(
                f"off_bits = {self.off_bits}: must be off_int + off_frac = "
                f"{self.off_int + self.off_frac}, or one more"
            )
        if self.total_cut < 0:
            raise ValueError(
                f"off_frac = {self.off_frac}: must be at most scale_frac + shift = "
                f"{self.scale_frac + self.shift}"
            )
        if self.cut_pre > self.total_cut:
            raise ValueError(
                f"cut_pre = {self.cut_pre}: must be at most the {self.total_cut} bits cut in all "
                "(scale_frac + shift - off_frac)"
            )
        if self.offset_at is OffsetAt.BEFORE_SHIFT and self.off_frac > self.scale_frac:
            raise ValueError(
                f"off_frac = {self.off_frac}: must be at most scale_frac = {self.scale_frac} "
                "where the offset is added before the shift"
            )
        if self.symmetric and not self.saturate:
            raise ValueError("symmetric = true: means nothing where saturate = false")

    @property
    def total_cut(self) -> int:
        """Bits between the product's binary point and the offset's: K of the specification."""
        return self.scale_frac + self.shift - self.off_frac

    @property
    def scale_format(self) -> QFormat:
        """The scale register."""
        return QFormat(
            bits=self.scale_int + self.scale_frac, frac_bits=self.scale_frac, is_signed=False
        )

    @property
    def offset_format(self) -> QFormat:
        """The offset register, in output LSB."""
        extra = self.shift if self.offset_at is OffsetAt.BEFORE_SHIFT else 0
        return QFormat(bits=self.off_bits, frac_bits=self.off_frac + extra, is_signed=True)

    @property
    def lowest_output(self) -> int:
        """Smallest output code."""
        return -(1 << (self.out_bits - 1)) + self.symmetric

    @property
    def highest_output(self) -> int:
        """Largest output code."""
        return (1 << (self.out_bits - 1)) - 1

    def with_shift(self, shift: int) -> "NmpuFormat":
        """Return the same format with another shift."""
        return replace(self, shift=shift)

    def to_dict(self) -> dict[str, int | bool | str]:
        """Return every parameter by name, as plain numbers and words."""
        return {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in asdict(self).items()
        }

    def to_text(self) -> str:
        """Return every parameter as ``name=value``, comma-separated: the form on the wire.

        Examples
        --------
        >>> NmpuFormat().to_text()[:38]
        'in_bits=10,scale_int=1,scale_frac=7,of'
        """
        return ",".join(
            f"{name}={int(value) if isinstance(value, bool) else value}"
            for name, value in self.to_dict().items()
        )

    @classmethod
    def from_text(cls, text: str, *, base: "NmpuFormat | None" = None) -> "NmpuFormat":
        """Read what `to_text` wrote.

        Parameters
        ----------
        text
            ``name=value``, comma-separated.
        base
            Format whose values stand where `text` names none; the defaults where None.

        Raises
        ------
        ValueError
            If a name is unknown or there twice, a value is no number or word of that parameter,
            or the parameters contradict each other.
        """
        kinds = {field.name: field.type for field in fields(cls)}
        values: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in kinds:
                raise ValueError(f"{name!r} is no NMPU parameter; there are {', '.join(kinds)}")
            if name in values:
                raise ValueError(f"{name}: is there twice")
            values[name] = _value_from_text(name, kinds[name], value)
        return replace(base or cls(), **values)


PRESETS: Mapping[str, NmpuFormat] = MappingProxyType(
    {
        "paper": NmpuFormat(),
        "offset9": NmpuFormat(off_bits=9),
        "inputs12": NmpuFormat(in_bits=12),
        "truncating": NmpuFormat(rounding=Rounding.FLOOR),
    }
)
"""Formats by name; ``docs/reference/nmpu.md`` says where each comes from.

``paper`` is this project's reading of arXiv 2402.07549. ``offset9`` counts the sign of the (7,1)
offset apart: -128 to +127.5. ``inputs12`` takes the whole 12-bit counters of arXiv 2212.02872.
``truncating`` drops bits where the others round.
"""


def preset_format(name: str) -> NmpuFormat:
    """Return a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> preset_format("offset9").offset_format.lowest
    -128.0
    """
    if name not in PRESETS:
        raise ValueError(f"{name!r} is no NMPU preset; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _value_from_text(name: str, kind: object, text: str) -> int | bool | str:
    if kind is bool:
        if text not in {"0", "1"}:
            raise ValueError(f"{name} = {text!r}: must be 0 or 1")
        return text == "1"
    if kind is int:
        if not text.removeprefix("-").isdecimal():
            raise ValueError(f"{name} = {text!r}: must be a whole number")
        return int(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class NmpuRegisters:
    """The register codes of one core's NMPUs, one of each per column."""

    scale_p: npt.NDArray[np.uint8]
    """Scale of the P branch, shape (column,), unsigned codes."""
    scale_n: npt.NDArray[np.uint8]
    """Scale of the N branch, shape (column,), unsigned codes."""
    offset: npt.NDArray[np.int16]
    """Offset, shape (column,), two's complement codes."""
    swap: npt.NDArray[np.bool_]
    """Whether P and N change places before the branches, shape (column,): a negative gain."""

    def __post_init__(self) -> None:
        dtypes = {"scale_p": np.uint8, "scale_n": np.uint8, "offset": np.int16, "swap": np.bool_}
        for name, dtype in dtypes.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != self.scale_p.shape or array.ndim != 1:
                raise ValueError(
                    f"{name}: must be {np.dtype(dtype)} of shape (column,) = "
                    f"{self.scale_p.shape}, got {array.dtype} of shape {array.shape}"
                )
            object.__setattr__(self, name, read_only(array))

    def check_fits(self, fmt: NmpuFormat) -> None:
        """Raise ValueError naming the first column whose codes the format does not hold."""
        for name, register in (
            ("scale_p", fmt.scale_format),
            ("scale_n", fmt.scale_format),
            ("offset", fmt.offset_format),
        ):
            codes = getattr(self, name).astype(np.int64)
            outside = (codes < register.lowest_code) | (codes > register.highest_code)
            if outside.any():
                column = int(np.argmax(outside))
                raise ValueError(
                    f"{name} of column {column} is {codes[column]}: must be "
                    f"{register.lowest_code} to {register.highest_code}"
                )
        if fmt.shared_scale and not np.array_equal(self.scale_p, self.scale_n):
            column = int(np.argmax(self.scale_p != self.scale_n))
            raise ValueError(f"scale_n of column {column}: must equal scale_p (shared_scale)")

    def to_codes(self) -> npt.NDArray[np.int16]:
        """Return the registers as shape (register, column): scale_p, scale_n, offset, swap."""
        return np.stack(
            [getattr(self, name).astype(np.int16) for name in ("scale_p", "scale_n", "offset")]
            + [self.swap.astype(np.int16)]
        )

    @classmethod
    def from_codes(cls, codes: npt.NDArray[np.int16]) -> "NmpuRegisters":
        """Read what `to_codes` returned.

        Raises
        ------
        ValueError
            If the shape is not (4, column), or a scale or swap code is out of its range.
        """
        if codes.ndim != 2 or codes.shape[0] != 4:
            raise ValueError(f"registers must have shape (4, column), got {codes.shape}")
        if codes[:2].min(initial=0) < 0 or codes[:2].max(initial=0) > 255:
            raise ValueError("a scale register code must be 0 to 255")
        if codes[3].min(initial=0) < 0 or codes[3].max(initial=0) > 1:
            raise ValueError("a swap bit must be 0 or 1")
        return cls(
            scale_p=codes[0].astype(np.uint8),
            scale_n=codes[1].astype(np.uint8),
            offset=codes[2].astype(np.int16),
            swap=codes[3].astype(np.bool_),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NmpuRegisters):
            return NotImplemented
        return np.array_equal(self.to_codes(), other.to_codes())

    __hash__ = None  # type: ignore[assignment]  # arrays inside: compared, never a key
