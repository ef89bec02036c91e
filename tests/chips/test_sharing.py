"""What chips that run at the same time must not share."""

from pathlib import Path

import pytest

from hil.campaign.chips.campaigns import load_chips
from hil.core.errors import ConfigError

SUPPLY = """[instruments.supply]
resource = "{resource}"
[instruments.supply.quantities.voltage]
query = "MEAS:VOLT?"
"""
CAN_SET = 'set = "VOLT {value}"\nlower = 0\nupper = 5\n'


def problems(folder: Path, left: str, right: str, rest: str = "") -> list[str]:
    path = folder / "two.toml"
    path.write_text(
        f'schema_version = 1\n[campaign]\ntitle = "Two"\n'
        f'[devices.left]\nresource = "{left}"\n[devices.right]\nresource = "{right}"\n{rest}'
    )
    try:
        load_chips(path, environment={})
    except ConfigError as error:
        return [problem.located(path.name) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("TCPIP0::10.0.0.9::5025::SOCKET", "TCPIP0::10.0.0.9::5025::SOCKET"),
        ("TCPIP::10.0.0.9::05025::SOCKET", "tcpip0::10.0.0.9::5025::socket"),
        ("TCPIP0::localhost::hislip0::INSTR", "TCPIP::127.0.0.1::HISLIP0::INSTR"),
        ("serial:///dev/ttyUSB0", "serial:///dev/ttyUSB0"),
        ("serial:///dev/ttyUSB0", "serial:///dev/../dev/ttyUSB0?baud=9600"),
        ("serial:///dev/ttyUSB0", "ASRL/dev/ttyUSB0::INSTR"),
        ("TCPIP0::127.0.0.1::5025::SOCKET", "TCPIP1::0x7f000001::5025::SOCKET"),
    ],
)
def test_two_chips_at_one_address_are_refused(tmp_path: Path, left: str, right: str) -> None:
    (problem,) = problems(tmp_path, left, right)
    assert problem.startswith(f"two.toml:7: devices.right.resource: '{right}' of left and right")
    assert "would program and read each other's weights" in problem


@pytest.mark.parametrize("right", ["mock://quickstart", "mock://quickstart?seed=0&vector_s=0.1"])
def test_two_private_mocks_of_one_seed_are_one_chip(tmp_path: Path, right: str) -> None:
    (problem,) = problems(tmp_path, "mock://quickstart", right)
    assert "is the same mock chip, profile and seed: give each a seed" in problem


def test_private_mocks_of_one_profile_are_one_chip_in_whatever_words(tmp_path: Path) -> None:
    profile, link = tmp_path / "a.toml", tmp_path / "b.toml"
    profile.write_text('schema_version = 1\nname = "a"\n')
    link.symlink_to(profile)
    for right in (f"mock://{profile}", "mock://./a.toml", "mock://b.toml"):
        (problem,) = problems(tmp_path, "mock://a.toml", right)
        assert "is the same mock chip, profile and seed" in problem
    assert problems(tmp_path, "mock://a.toml", "mock://b.toml?seed=1") == []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("TCPIP0::10.0.0.9::5025::SOCKET", "TCPIP0::10.0.0.9::5026::SOCKET"),
        ("mock://quickstart", "mock://quickstart?seed=1"),
        ("mock://quickstart", "mock://hermes-like"),
    ],
)
def test_chips_of_their_own_are_taken(tmp_path: Path, left: str, right: str) -> None:
    assert problems(tmp_path, left, right) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        (f"{CAN_SET}value = 1\n", "two.toml:15: instruments.supply.quantities.voltage.value"),
        (f"{CAN_SET}safe = 0\n", "two.toml:15: instruments.supply.quantities.voltage.safe"),
        (
            f'{CAN_SET}[[sweep]]\nquantity = "supply.voltage"\nvalues = [1.0, 2.0]\n',
            "two.toml:16: sweep[0].quantity",
        ),
    ],
)
def test_instrument_that_one_would_change_under_the_other_is_refused(
    tmp_path: Path, more: str, where: str
) -> None:
    supply = SUPPLY.format(resource="TCPIP0::10.0.0.7::5025::SOCKET") + more
    found = problems(tmp_path, "TCPIP0::10.0.0.8::5025::SOCKET", "mock://quickstart", supply)
    words = f"{where}: is for an instrument that left and right share: one would change it"
    assert [problem for problem in found if problem.startswith(words)] == found
    assert len(found) == 1


def test_instrument_that_is_only_read_may_be_shared(tmp_path: Path) -> None:
    supply = SUPPLY.format(resource="TCPIP0::10.0.0.7::5025::SOCKET")
    left, right = "TCPIP0::10.0.0.8::5025::SOCKET", "TCPIP0::10.0.0.9::5025::SOCKET"
    assert problems(tmp_path, left, right, supply) == []


def test_instruments_of_private_mocks_are_not_shared(tmp_path: Path) -> None:
    supply = SUPPLY.format(resource="mock://supply") + f"{CAN_SET}value = 1\n"
    assert problems(tmp_path, "mock://quickstart?seed=1", "mock://quickstart?seed=2", supply) == []


def test_problem_of_the_whole_file_is_named_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "mock://quickstart", "mock://stress", "[vectors]\nblock = 0\n")
    assert found == ["two.toml:9: vectors.block: Input should be greater than or equal to 1, got 0"]
