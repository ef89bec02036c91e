"""The control channel: plain SCPI that arms faults, counts them, and moves the chip's time."""

import pytest

from benchmarks.fault_bench import CountingChip, make_chip
from faulty_device import device, said
from hil.core.readout import ReadMode
from hil_drivers.scpi import encode_block
from hil_mock_device.bench_instruments.bench import MockBench
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conversation import Conversation
from hil_mock_device.faults.faulty_device import FaultyDevice
from mock_bench import OwnTime
from small_profiles import ideal_profile

NO_ERROR = '0,"No error"'


def ask(control: Conversation, text: str) -> str:
    [answer] = said(control, text.encode() + b"\n")
    assert isinstance(answer, bytes)
    return answer.decode().rstrip("\n")


def tell(control: Conversation, text: str) -> str:
    """Send a command; return the error it has left."""
    assert said(control, text.encode() + b"\n") == []
    return ask(control, "SYST:ERR?")


def test_fault_is_armed_strikes_is_counted_and_cleared() -> None:
    faulty = device()
    client, control = faulty.converse(), faulty.control()
    assert ask(control, "FAUL:COUN? DROP") == "0"
    assert tell(control, 'FAUL:ARM "kind=drop,every=2"') == NO_ERROR
    assert [said(client, b"*OPC?\n") for _ in range(4)] == [[b"1\n"], [], [b"1\n"], []]
    assert ask(control, "FAULt:COUNt? drop") == "2"
    assert ask(control, "FAULt:COUNt? flip") == "0"
    assert ask(control, "FAULt:COUNt?") == "2"
    assert tell(control, "FAULt:CLEar") == NO_ERROR
    assert said(client, b"*OPC?\n") == [b"1\n"]
    assert ask(control, "FAULt:COUNt?") == "2"


def test_control_channel_meets_no_faults() -> None:
    faulty = device("kind=drop,every=1")
    assert ask(faulty.control(), "*IDN?") == "aimc-hil,mock-faults,0,1.0"


def test_rules_are_told_as_they_are_armed() -> None:
    control = device("kind=stale,every=3").control()
    assert tell(control, "FAUL:ARM \"kind=identity,at=[1],identity='A,B,1,1'\"") == NO_ERROR
    rules = '"kind=stale,every=3","kind=identity,at=[1],identity=\'A,B,1,1\'"'
    assert ask(control, "FAULt:SCRipt?") == rules


def test_script_in_a_block_replaces_the_rules() -> None:
    control = device("kind=stale,every=3").control()
    script = b'seed = 5\n[[fault]]\nkind = "drop"\nchance = 0.5\n'
    assert said(control, b"FAUL:SCR " + encode_block(script) + b"\n") == []
    assert ask(control, "SYST:ERR?") == NO_ERROR
    assert ask(control, "FAULt:SCRipt?") == '"kind=drop,chance=0.5"'


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ('FAUL:ARM "kind=dorp,every=1"', "-224,"),
        ('FAUL:ARM "every=1"', "-224,"),
        ("FAUL:ARM", "-109,"),
        ("FAUL:ARM kind=drop,every=1", "-108,"),
        ("FAUL:CLE 1", "-108,"),
        ("MOCK:TIME:ADV -1", "-222,"),
        ("MOCK:TIME:ADV soon", "-224,"),
        ("MOCK:TEMP 5000", "-222,"),
        ("FAUL:FROB", "-113,"),
        ("@1 FAUL:CLE", "-102,"),
    ],
)
def test_wrong_command_is_refused_by_number_and_changes_nothing(command: str, error: str) -> None:
    control = device("kind=stale,every=3").control()
    assert tell(control, command).startswith(error)
    assert ask(control, "FAULt:SCRipt?") == '"kind=stale,every=3"'


def test_unknown_kind_has_no_count() -> None:
    control = device().control()
    assert said(control, b"FAUL:COUN? dorp\n") == []
    assert ask(control, "SYST:ERR?").startswith('-224,"Illegal parameter value; dorp: must be one')


def test_script_that_is_wrong_is_refused_and_the_old_one_holds() -> None:
    control = device("kind=stale,every=3").control()
    assert said(control, b"FAUL:SCR " + encode_block(b"[[fault]]\n") + b"\n") == []
    error = ask(control, "SYST:ERR?")
    assert error.startswith('-224,"Illegal parameter value; script')
    assert "fault[0].kind: is missing" in error
    assert ask(control, "FAULt:SCRipt?") == '"kind=stale,every=3"'


def test_time_moves_the_bench_around_the_chip_too() -> None:
    chip = ChipModel(ideal_profile())
    faulty, bench = FaultyDevice(chip), MockBench(chip, seed=1, time=OwnTime())
    faulty.share_time(bench.let_pass)
    assert tell(faulty.control(), "MOCK:TIME:ADV 600") == NO_ERROR
    assert (chip.elapsed_s, bench.chamber.air_c()) == (600.0, 25.0)
    bench.chamber.set(45.0)
    assert tell(faulty.control(), "MOCK:TIME:ADV 3600") == NO_ERROR
    assert tell(faulty.control(), "MOCK:TIME:ADV -1").startswith("-222,")
    assert (chip.elapsed_s, round(bench.chamber.air_c(), 6)) == (4200.0, 45.0)


def test_time_and_temperature_of_the_chip_are_moved() -> None:
    chip = ChipModel(ideal_profile())
    control = FaultyDevice(chip).control()
    assert tell(control, "MOCK:TIME:ADV 3600") == NO_ERROR
    assert tell(control, "MOCK:TEMP 55.5") == NO_ERROR
    assert ask(control, "MOCK:TIME?;MOCK:TEMP?") == "3600;55.5"
    assert chip.elapsed_s == 3600
    assert chip.temperature_c(0, ReadMode.FOUR_PHASE) == 55.5


def test_chip_without_an_environment_has_no_time() -> None:
    control = FaultyDevice(CountingChip(make_chip(1))).control()
    assert tell(control, "MOCK:TIME:ADV 1").startswith("-221,")


def test_bytes_that_are_no_message_end_the_conversation_and_nothing_else() -> None:
    faulty = device()
    control = faulty.control()
    assert said(control, b"FAUL:ARM #0\n") == []
    assert control.is_lost
    assert said(control, b"*IDN?\n") == []
    assert ask(faulty.control(), "SYST:ERR?").startswith("-102,")
