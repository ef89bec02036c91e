"""The formats that have a name."""

import pytest

import hil.core.nmpu_format
import hil_calibration.nmpu
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import PRESETS, NmpuFormat, preset_format


def test_presets_are_listed_by_name() -> None:
    assert list(PRESETS) == ["paper", "offset9", "inputs12", "truncating"]


def test_the_paper_preset_is_the_default_format() -> None:
    assert preset_format("paper") == NmpuFormat()


def test_nine_bit_offset_reaches_twice_as_far() -> None:
    register = preset_format("offset9").offset_format
    assert (register.lowest, register.highest, register.step) == (-128.0, 127.5, 0.5)


def test_twelve_bit_inputs_change_nothing_else() -> None:
    fmt = preset_format("inputs12")
    assert fmt.in_bits == 12
    assert fmt.to_text().replace("in_bits=12", "in_bits=10") == NmpuFormat().to_text()


def test_truncating_drops_bits_without_rounding() -> None:
    assert preset_format("truncating") == NmpuFormat(rounding=Rounding.FLOOR)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    message = "'paper2' is no NMPU preset; there are paper, offset9, inputs12, truncating"
    with pytest.raises(ValueError, match=message):
        preset_format("paper2")


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["mine"] = NmpuFormat()  # type: ignore[index]


@pytest.mark.parametrize("name", ["PRESETS", "NmpuFormat", "NmpuRegisters", "preset_format"])
def test_the_calibration_package_offers_the_same_objects(name: str) -> None:
    assert getattr(hil_calibration.nmpu, name) is getattr(hil.core.nmpu_format, name)


def test_text_changes_a_preset_and_nothing_else() -> None:
    fmt = NmpuFormat.from_text("shift=2,saturate=0", base=preset_format("inputs12"))
    assert fmt == NmpuFormat(in_bits=12, shift=2, saturate=False)


def test_text_that_contradicts_its_base_is_refused() -> None:
    with pytest.raises(ValueError, match="cut_pre = 7: must be at most the 6 bits"):
        NmpuFormat.from_text("cut_pre=7", base=preset_format("offset9"))
