"""Which formats hold a correction, against a search over all of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil_calibration.format_choice import require_format, shortfalls, smallest_format


def correction_of(a_p: float = 0.5, a_n: float = 0.4, b: float = 3.0) -> Correction:
    return Correction(a_p=np.array([0.1, a_p]), a_n=np.array([0.1, a_n]), b=np.array([0.0, b]))


def test_the_default_format_holds_an_ordinary_column() -> None:
    assert shortfalls(correction_of(), NmpuFormat(), highest_count=1023) == ()
    assert smallest_format(correction_of(), NmpuFormat(), highest_count=1023) == NmpuFormat()
    require_format(correction_of(), NmpuFormat(), highest_count=1023)


@pytest.mark.parametrize(
    ("correction", "highest_count", "changed", "reason"),
    [
        (correction_of(a_p=1.4), 1023, {"scale_int": 2, "scale_frac": 6}, "needs a scale of 2.1"),
        (correction_of(a_n=4.0), 1023, {"scale_int": 3, "scale_frac": 5}, "gain 4 LSB"),
        (correction_of(b=64.0), 1023, {"off_int": 8, "off_bits": 9}, "offset 64 LSB of column 1"),
        (correction_of(b=-64.5), 1023, {"off_int": 8, "off_bits": 9}, "register's -64 to 63.5"),
        (correction_of(), 1024, {"in_bits": 11}, "counts reach 1024, 10 input bits hold 1023"),
        (correction_of(), 4095, {"in_bits": 12}, "counts reach 4095"),
    ],
    ids=["scale", "scale-3", "offset", "offset-below", "input-11", "input-12"],
)
def test_what_is_missing_is_named_and_added(
    correction: Correction, highest_count: int, changed: dict[str, int], reason: str
) -> None:
    fmt = NmpuFormat()
    (missing,) = shortfalls(correction, fmt, highest_count=highest_count)
    assert missing.parameter == next(iter(changed))
    assert reason in missing.reason
    found = smallest_format(correction, fmt, highest_count=highest_count)
    assert found == replace(fmt, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("b", [-64.0, 63.5, 63.7])
def test_an_offset_at_the_end_of_the_register_is_held(b: float) -> None:
    assert shortfalls(correction_of(b=b), NmpuFormat(), highest_count=1023) == ()


def test_a_shared_scale_holds_no_two_gains() -> None:
    fmt = NmpuFormat(shared_scale=True)
    (missing,) = shortfalls(correction_of(), fmt, highest_count=1023)
    assert "gains 0.5 and 0.4 of column 1 differ" in missing.reason
    assert smallest_format(correction_of(), fmt, highest_count=1023) == NmpuFormat()


def test_a_narrow_result_register_is_named() -> None:
    fmt = NmpuFormat(acc_bits=8)
    (missing,) = shortfalls(correction_of(), fmt, highest_count=1023)
    assert missing.parameter == "acc_bits"
    # 128 + 3 LSB in halves: 262, and one for the rounding, in 10 bits
    assert missing.needed == 10


def test_refusal_gives_every_reason_and_the_widths_to_add() -> None:
    with pytest.raises(
        CalibrationError,
        match=r"gain 1\.4 .*; offset 70 .*; the smallest format that holds it has "
        r"scale_int = 2, scale_frac = 6, off_int = 8, off_bits = 9",
    ):
        require_format(correction_of(a_p=1.4, b=70.0), NmpuFormat(), highest_count=1023)


def test_refusal_says_when_no_format_helps() -> None:
    with pytest.raises(CalibrationError, match="no NMPU format holds it: make the output step"):
        require_format(correction_of(a_p=300.0), NmpuFormat(), highest_count=1023)
    assert smallest_format(correction_of(a_p=300.0), NmpuFormat(), highest_count=1023) is None
    assert smallest_format(correction_of(b=1e6), NmpuFormat(), highest_count=1023) is None
    assert smallest_format(correction_of(), NmpuFormat(), highest_count=1 << 16) is None


def test_a_scale_that_would_lose_the_offsets_fraction_has_no_format() -> None:
    fmt = NmpuFormat(off_int=1, off_frac=7, offset_at=OffsetAt.BEFORE_SHIFT)
    correction = correction_of(a_p=1.4, b=0.5)
    assert smallest_format(correction, fmt, highest_count=1023) is None


def holds(fmt: NmpuFormat, gain: float, b: float, highest_count: int) -> bool:
    """Say in other words what it means to hold a column of equal gains."""
    scale_codes, offset_codes = 2 ** (fmt.scale_int + fmt.scale_frac), 2 ** (fmt.off_bits - 1)
    offset = round(b * 2**fmt.off_frac)
    return (
        highest_count.bit_length() <= fmt.in_bits
        and gain * 1.5 * 2**fmt.scale_frac <= scale_codes - 1
        and bool(-offset_codes <= offset <= offset_codes - 1)
    )


@settings(max_examples=80, deadline=None)
@given(
    gain=st.floats(0.001, 160),
    b=st.floats(-500, 500),
    highest_count=st.integers(1, 5000),
    scale_int=st.integers(0, 3),
    off_int=st.integers(2, 8),
)
def test_no_smaller_growth_holds_the_column(
    gain: float, b: float, highest_count: int, scale_int: int, off_int: int
) -> None:
    fmt = NmpuFormat(
        in_bits=8,
        scale_int=scale_int,
        scale_frac=5,
        off_int=off_int,
        off_bits=off_int + 1,
        acc_bits=20,
    )
    correction = Correction(a_p=np.array([gain]), a_n=np.array([gain]), b=np.array([b]))
    found = smallest_format(correction, fmt, highest_count=highest_count)
    candidates = []
    for wider_in in range(9):
        for wider_scale in range(9 - scale_int):
            for wider_off in range(9):
                if fmt.off_bits + wider_off > 16:
                    continue
                scale = scale_int + wider_scale
                changes: dict[str, Any] = {"in_bits": 8 + wider_in}
                changes |= {"scale_int": scale, "scale_frac": min(5, 8 - scale)}
                changes |= {"off_int": off_int + wider_off, "off_bits": off_int + 1 + wider_off}
                if changes["scale_frac"] < fmt.off_frac:
                    continue
                grown = replace(fmt, **changes)
                if holds(grown, gain, b, highest_count):
                    candidates.append((wider_in + wider_scale + wider_off, grown))
    assert found == (min(candidates, key=lambda pair: pair[0])[1] if candidates else None)


@pytest.mark.parametrize(
    ("correction", "headroom", "message"),
    [
        (correction_of(a_p=np.nan), 1.5, "a_p of column 1 is nan: must be finite"),
        (correction_of(b=np.inf), 1.5, "b of column 1 is inf"),
        (correction_of(a_n=-0.4), 1.5, "a_p and a_n of column 1 differ in sign"),
        (correction_of(), 0.9, "headroom = 0.9: must be at least 1"),
    ],
    ids=["nan", "inf", "mixed", "headroom"],
)
def test_what_is_no_correction_is_refused(
    correction: Correction, headroom: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        shortfalls(correction, NmpuFormat(), highest_count=1023, headroom=headroom)
