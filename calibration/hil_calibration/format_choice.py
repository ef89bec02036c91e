"""Whether a format can hold a chip's corrections, and which one could.

What the codes of a format that holds them cost is bounded by `hil_calibration.error_bound`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, OffsetAt

_WIDEST_SCALE = 8
_WIDEST_INPUT = 16
_WIDEST_OFFSET = 16
_WIDEST_RESULT = 30
_SLACK = 1 - 1e-12
"""A value chosen to fit a register exactly is not refused for its last digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """One thing that a format cannot hold."""

    parameter: str
    """The format's parameter that is too small."""
    needed: int | None
    """The least value of it that would do; None where no format has it."""
    reason: str
    """What does not fit, with the value, the register's end, and where."""


def shortfalls(
    correction: Correction,
    fmt: NmpuFormat,
    *,
    highest_count: int,
    headroom: float = 1.5,
) -> tuple[Shortfall, ...]:
    """Name everything of a core's corrections that a format cannot hold.

    Parameters
    ----------
    correction
        Gains and offsets in output LSB, with no mixed signs in a column.
    fmt
        The format; its shift is left as it is for offsets and taken as 0 for gains, since a shift
        only makes gains larger.
    highest_count
        Largest count that shall not be clipped.
    headroom
        Factor to leave in the scales for drift, 1 <= headroom.

    Raises
    ------
    ValueError
        If the head-room is below 1, a coefficient is not finite, or a column has mixed signs.
    """
    if not headroom >= 1:
        raise ValueError(f"headroom = {headroom:g}: must be at least 1")
    _check_correction(correction)
    found = (
        _input_shortfall(fmt, highest_count),
        _scale_shortfall(correction, fmt, headroom),
        _shared_shortfall(correction, fmt),
        _offset_shortfall(correction, fmt),
        _result_shortfall(correction, fmt, highest_count),
    )
    return tuple(shortfall for shortfall in found if shortfall is not None)


def smallest_format(
    correction: Correction,
    fmt: NmpuFormat,
    *,
    highest_count: int,
    headroom: float = 1.5,
) -> NmpuFormat | None:
    """Return the smallest format that holds a core's corrections, grown from a given one.

    Each width grows by what is missing and no more; fraction bits stay as long as the whole
    register is not wider than the model allows (8 bits of a scale), then they make room.

    Returns
    -------
    The format itself where nothing is missing; None where no format of the model could hold it.
    Parameters as for `shortfalls`.
    """
    grown: dict[str, Any] = {}
    for missing in shortfalls(correction, fmt, highest_count=highest_count, headroom=headroom):
        if missing.needed is None:
            return None
        grown[missing.parameter] = missing.needed
    if "shared_scale" in grown:
        grown["shared_scale"] = False
    if "off_int" in grown:
        grown["off_bits"] = fmt.off_bits + grown["off_int"] - fmt.off_int
    if "scale_int" in grown:
        grown["scale_frac"] = min(fmt.scale_frac, _WIDEST_SCALE - grown["scale_int"])
        lowest_frac = fmt.off_frac + (fmt.cut_pre - fmt.shift)
        if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
            lowest_frac = max(lowest_frac, fmt.off_frac)
        if grown["scale_frac"] < lowest_frac:
            return None
    return replace(fmt, **grown)


def require_format(
    correction: Correction,
    fmt: NmpuFormat,
    *,
    highest_count: int,
    headroom: float = 1.5,
) -> None:
    """Refuse a format that cannot hold a core's corrections. Parameters as for `shortfalls`.

    Raises
    ------
    CalibrationError
        If something does not fit: with every reason and the widths to add.
    """
    missing = shortfalls(correction, fmt, highest_count=highest_count, headroom=headroom)
    if not missing:
        return
    reasons = "; ".join(shortfall.reason for shortfall in missing)
    best = smallest_format(correction, fmt, highest_count=highest_count, headroom=headroom)
    if best is None:
        advice = "no NMPU format holds it: make the output step coarser"
    else:
        old, new = fmt.to_dict(), best.to_dict()
        changed = [f"{name} = {new[name]}" for name in new if new[name] != old[name]]
        advice = f"the smallest format that holds it has {', '.join(changed)}"
    raise CalibrationError(f"the NMPU format cannot hold this correction: {reasons}; {advice}")


def _check_correction(correction: Correction) -> None:
    for name in ("a_p", "a_n", "b"):
        values = getattr(correction, name)
        if not np.isfinite(values).all():
            column = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{name} of column {column} is {values[column]}: must be finite")
    is_mixed = correction.a_p * correction.a_n < 0
    if is_mixed.any():
        raise ValueError(
            f"a_p and a_n of column {int(np.argmax(is_mixed))} differ in sign: two unsigned scales "
            "and a swap bit hold no such column"
        )


def _input_shortfall(fmt: NmpuFormat, highest_count: int) -> Shortfall | None:
    needed = max(int(highest_count).bit_length(), 1)
    if needed <= fmt.in_bits:
        return None
    return Shortfall(
        parameter="in_bits",
        needed=needed if needed <= _WIDEST_INPUT else None,
        reason=f"counts reach {highest_count}, {fmt.in_bits} input bits hold {2**fmt.in_bits - 1}",
    )


def _scale_shortfall(correction: Correction, fmt: NmpuFormat, headroom: float) -> Shortfall | None:
    gains = np.maximum(np.abs(correction.a_p), np.abs(correction.a_n))
    needed_scale = float(gains.max(initial=0.0)) * headroom * _SLACK
    if needed_scale <= fmt.scale_format.highest:
        return None
    needed = None
    for scale_int in range(fmt.scale_int + 1, _WIDEST_SCALE + 1):
        frac = min(fmt.scale_frac, _WIDEST_SCALE - scale_int)
        if needed_scale <= 2.0**scale_int - 2.0**-frac:
            needed = scale_int
            break
    return Shortfall(
        parameter="scale_int",
        needed=needed,
        reason=f"gain {gains.max():.4g} LSB per count of column {int(gains.argmax())} with "
        f"head-room {headroom:g} needs a scale of {needed_scale:.4g}, the register holds "
        f"{fmt.scale_format.highest:g}",
    )


def _shared_shortfall(correction: Correction, fmt: NmpuFormat) -> Shortfall | None:
    both = (correction.a_p != 0) & (correction.a_n != 0)
    apart = np.where(both, np.abs(correction.a_p - correction.a_n), 0.0)
    scale = np.maximum(np.abs(correction.a_p), np.abs(correction.a_n))
    is_apart = apart > (1 - _SLACK) * scale
    if not fmt.shared_scale or not is_apart.any():
        return None
    column = int(apart.argmax())
    return Shortfall(
        parameter="shared_scale",
        needed=0,
        reason=f"gains {correction.a_p[column]:.4g} and {correction.a_n[column]:.4g} of column "
        f"{column} differ, the format has one scale for both",
    )


def _offset_shortfall(correction: Correction, fmt: NmpuFormat) -> Shortfall | None:
    register = fmt.offset_format
    codes = np.rint(correction.b / register.step)
    is_outside = (codes < register.lowest_code) | (codes > register.highest_code)
    if not is_outside.any():
        return None
    lowest, highest = int(codes.min()), int(codes.max())
    bits = 1 + max((-lowest - 1).bit_length() if lowest < 0 else 0, max(highest, 0).bit_length())
    column = int(np.abs(np.where(is_outside, correction.b, 0.0)).argmax())
    return Shortfall(
        parameter="off_int",
        needed=fmt.off_int + bits - fmt.off_bits if bits <= _WIDEST_OFFSET else None,
        reason=f"offset {correction.b[column]:.4g} LSB of column {column} is outside the "
        f"register's {register.lowest:g} to {register.highest:g}",
    )


def _result_shortfall(
    correction: Correction, fmt: NmpuFormat, highest_count: int
) -> Shortfall | None:
    """Judge the compressed result of the outputs that matter: those the output code can hold.

    Before the offset is added, such a result lies within the output's range less the offset.
    """
    before = 0.0 if fmt.offset_at is OffsetAt.BEFORE_SHIFT else 1.0
    step = 2.0**-fmt.off_frac
    gain = np.maximum(np.abs(correction.a_p), np.abs(correction.a_n))
    reach = np.minimum(
        gain * highest_count + (1 - before) * np.abs(correction.b),
        -fmt.lowest_output + before * np.abs(correction.b),
    )
    largest = float(reach.max(initial=0.0))
    bits = 1 + int(np.ceil(largest / step) + 1).bit_length()
    if bits <= fmt.acc_bits or largest == 0:
        return None
    return Shortfall(
        parameter="acc_bits",
        needed=bits if bits <= _WIDEST_RESULT else None,
        reason=f"the compressed result of column {int(reach.argmax())} reaches {largest:.4g} LSB, "
        f"{fmt.acc_bits} bits hold {(2 ** (fmt.acc_bits - 1) - 1) * step:g}",
    )
