"""A small mock chip in a process of its own, and the same one in this process."""

import tempfile
from pathlib import Path

from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.serial_address import SerialAddress
from hil_drivers.serial_port import SerialTransport
from hil_drivers.transport import Transport
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.launch import MockProcess
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.profile import load_profile

PROFILE = """\
schema_version = 1
name = "small"
temperature_c = 31.5
[identity]
serial = "S-1"
[array]
cores = 3
rows = 16
columns = 8
dead_column_chance = 0.0
stuck_share = 0.0
[counter]
full_scale_products = 200000.0
"""


def write_profile(folder: Path) -> Path:
    """Write the small chip's profile into a folder."""
    path = folder / "small.toml"
    path.write_text(PROFILE, "utf-8")
    return path


CARRIERS = ("loopback", "tcp", "visa", "hislip", "serial")
"""Ways to the small chip: in this process, raw socket, VISA socket, HiSLIP, packets on a pty."""


def start_process(profile: Path) -> MockProcess:
    """Serve one small chip over TCP, HiSLIP and a pseudo terminal, in this order."""
    # A path of its own: a killed process leaves a link to a terminal that may be another's.
    line = Path(tempfile.mkdtemp(dir=profile.parent)) / "tty"
    return MockProcess(
        [
            *("--profile", str(profile), "--seed", "5", "--tcp", "127.0.0.1:0"),
            *("--hislip", "127.0.0.1:0", "--pty", str(line)),
        ]
    )


def open_carrier(carrier: str, process: MockProcess, timeout_s: float) -> Transport:
    """Open a link to the chip of a process."""
    tcp, hislip, serial = process.resources
    if carrier == "serial":
        address = SerialAddress.parse(serial)
        return SerialTransport(address, resource=serial, timeout_s=timeout_s)
    if carrier == "hislip":
        return open_transport(hislip, timeout_s=timeout_s)
    return open_transport(tcp, timeout_s=timeout_s, choice=TransportChoice(carrier))


def open_loopback(profile: Path) -> Transport:
    """Open a link to the small chip in this process."""
    settings = load_profile(str(profile), base=Path())
    device = MockDevice(Firmware(ChipModel(settings.model_copy(update={"seed": 5}))))
    return LoopbackTransport(device, resource="loopback")
