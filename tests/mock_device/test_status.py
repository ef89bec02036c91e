"""The status model of IEEE 488.2: event register, masks, status byte, and the error queue's bit.

Weights of the bits are those of the standard: in the event register 1 operation complete, 4 query,
8 device-dependent, 16 execution and 32 command error, 128 power on; in the status byte 4 error
queue, 16 message available, 32 event, 64 summary.
"""

import pytest

from hil.core.errors import DeviceError
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.firmware.error_queue import ErrorQueue
from hil_mock_device.firmware.status import Status
from small_profiles import ideal_profile


class Instrument:
    """A mock device that one client talks to in plain SCPI."""

    def __init__(self) -> None:
        self._device = MockDevice(Firmware(ChipModel(ideal_profile())))

    def __call__(self, message: str) -> str:
        return self._device.receive(message.encode() + b"\n").decode().rstrip("\n")


@pytest.fixture
def device() -> Instrument:
    """Return an instrument that has told that it was switched on."""
    instrument = Instrument()
    instrument("*ESR?")
    return instrument


def test_power_on_is_the_first_event_and_told_once() -> None:
    device = Instrument()
    assert device("*ESR?;*ESR?") == "128;0"


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("BAD", 32),
        ("CORE:SEL", 32),
        ("*ESE MANY", 32),
        ("CORE:SEL 9", 16),
        ("READ:MODE TWOP", 16),
        ("READ?", 16),
        ("*OPC", 1),
        ("*OPC?", 0),
        ("*WAI", 0),
        ("*IDN?", 0),
    ],
)
def test_event_is_that_of_the_class_of_the_error(
    device: Instrument, message: str, event: int
) -> None:
    device(message)
    assert device("*ESR?") == str(event)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        *[(-100, 32), (-199, 32), (-200, 16), (-299, 16), (-300, 8), (-399, 8), (-400, 4)],
        *[(-499, 4), (1, 8), (150, 8), (-99, 8), (-500, 8)],
    ],
)
def test_class_of_an_error_has_these_limits(code: int, event: int) -> None:
    status = Status(ErrorQueue())
    status.take_events()
    status.add_error(DeviceError(code, "words"))
    assert status.take_events() == event


def test_overflow_of_the_queue_is_device_dependent(device: Instrument) -> None:
    device(";".join(["BAD"] * 16))
    assert device("*ESR?") == "32"
    device("BAD")
    assert device("*ESR?") == str(32 + 8)


def test_tagged_refusal_is_no_event() -> None:
    device = MockDevice(Firmware(ChipModel(ideal_profile())))
    device.receive(b"*ESR?\n@1 BAD\n")
    assert device.receive(b"*ESR?;*STB?\n") == b"0;16\n"


def test_event_shows_in_the_status_byte_only_through_its_mask(device: Instrument) -> None:
    device("*OPC")
    assert device("*STB?") == "0"
    device("*ESE 1")
    assert device("*STB?") == "32"
    device("*ESE 254")
    assert device("*STB?") == "0"


def test_errors_in_the_queue_show_in_the_status_byte_until_they_are_read(
    device: Instrument,
) -> None:
    device("BAD")
    assert device("*STB?") == "4"
    device("SYST:ERR?")
    assert device("*STB?") == "0"


def test_answer_earlier_in_the_message_shows_in_the_status_byte(device: Instrument) -> None:
    assert device("*STB?;*STB?") == "0;16"


def test_summary_shows_what_the_request_mask_lets_through(device: Instrument) -> None:
    device("*ESE 32;*SRE 32;BAD")
    assert device("*STB?") == str(4 + 32 + 64)
    device("*SRE 16")
    assert device("*STB?") == str(4 + 32)
    assert device("*OPC?;*STB?") == f"1;{4 + 16 + 32 + 64}"


def test_reading_the_status_byte_changes_nothing(device: Instrument) -> None:
    device("BAD")
    assert device("*STB?") == device("*STB?") == "4"


def test_clear_empties_events_and_queue_and_keeps_the_masks(device: Instrument) -> None:
    device("*ESE 60;*SRE 36;BAD;*OPC;*CLS")
    assert device("*ESR?;*STB?;*ESE?;*SRE?;:SYST:ERR?") == '0;16;60;36;0,"No error"'


def test_reset_keeps_status_and_masks(device: Instrument) -> None:
    device("*ESE 60;*SRE 36;BAD;*RST")
    assert device("*ESE?;*SRE?;*ESR?").startswith("60;36;32")


def test_summary_bit_of_the_request_mask_cannot_be_set(device: Instrument) -> None:
    assert device("*SRE 255;*SRE?") == "191"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("0", "0"), ("255", "255"), ("3.2E1", "32"), ("+7.", "7"), (".6", "1"), ("254.5", "255")],
)
def test_mask_is_taken_in_any_decimal_form(device: Instrument, sent: str, kept: str) -> None:
    assert device(f"*ESE {sent};*ESE?") == kept


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("*ESE", -109),
        ("*ESE 1,2", -108),
        ("*ESE ON", -104),
        ("*ESE ''", -104),
        ("*ESE 256", -222),
        ("*SRE -1", -222),
        ("*SRE 1e300", -222),
        ("*SRE 1e9999", -104),
    ],
)
def test_mask_that_is_none_is_refused(device: Instrument, message: str, code: int) -> None:
    device("*ESE 8;*SRE 8")
    assert device(message) == ""
    assert device("SYST:ERR?").split(",", maxsplit=1)[0] == str(code)
    assert device("*ESE?;*SRE?") == "8;8"


def test_status_is_that_of_the_instrument_for_every_client() -> None:
    firmware = Firmware(ChipModel(ideal_profile()))
    first, second = MockDevice(firmware), MockDevice(firmware)
    first.receive(b"*ESE 32;BAD\n")
    assert second.receive(b"*ESE?;*STB?\n") == b"32;52\n"
