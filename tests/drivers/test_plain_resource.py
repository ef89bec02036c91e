"""Resource strings that lead to one device have one spelling, and others keep theirs."""

from itertools import combinations
from pathlib import Path

import pytest

from hil_drivers.plain_resource import plain_resource

ONE_PLACE = [
    (
        "TCPIP0::127.0.0.1::5025::SOCKET",
        "TCPIP1::127.0.0.1::5025::SOCKET",
        "tcpip::127.1::05025::socket",
        "TCPIP::0x7f000001::5025::SOCKET",
        "TCPIP::2130706433::5025::SOCKET",
        "TCPIP::localhost.::5025::SOCKET",
        "TCPIP::LocalHost::5025::SOCKET",
        "TCPIP::[::1]::5025::SOCKET",
        "TCPIP::[::ffff:127.0.0.1]::5025::SOCKET",
        "TCPIP::0.0.0.0::5025::SOCKET",
    ),
    ("TCPIP::10.0.0.9::INSTR", "TCPIP0::10.0.0.9::inst0::INSTR", "TCPIP2::10.0.0.9"),
    ("TCPIP::bench.lab::hislip0::INSTR", "TCPIP0::Bench.LAB.::HISLIP0,4880::INSTR"),
    (
        "serial:///dev/ttyS0",
        "serial:///dev/ttyS0?baud=9600",
        "serial:///dev/../dev/ttyS0",
        "serial:///dev//ttyS0?baud=115200",
        "ASRL/dev/ttyS0::INSTR",
        "asrl/dev/./ttyS0::instr",
    ),
    ("GPIB::5::INSTR", "gpib0::5"),
]


@pytest.mark.parametrize("resources", ONE_PLACE, ids=lambda resources: resources[0])
def test_resources_of_one_place_have_one_spelling(resources: tuple[str, ...]) -> None:
    assert len({plain_resource(resource) for resource in resources}) == 1


def test_resources_of_several_places_have_several_spellings() -> None:
    others = [
        *(resources[0] for resources in ONE_PLACE),
        "TCPIP::127.0.0.1::5026::SOCKET",
        "TCPIP::127.0.0.2::5025::SOCKET",
        "TCPIP::bench.lab::hislip1::INSTR",
        "TCPIP::bench.lab::hislip0,4881::INSTR",
        "TCPIP::[fe80::1]::5025::SOCKET",
        "serial:///dev/ttys0",
        "GPIB1::5::INSTR",
        "USB0::0x1234::0x5678::A1::INSTR",
        "other://place/A",
        "other://place/a",
    ]
    for one, other in combinations(others, 2):
        assert plain_resource(one) != plain_resource(other)


def test_link_to_a_device_file_is_that_file(tmp_path: Path) -> None:
    port, link = tmp_path / "port", tmp_path / "by-id"
    port.touch()
    link.symlink_to(port)
    assert plain_resource(f"serial://{link}") == plain_resource(f"ASRL{port}::INSTR")
