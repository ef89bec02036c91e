"""Plug-ins that come with this project, for `hil.chips` and `hil.transports`."""

from hil.core.errors import TransportError
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import ChipOptions
from hil_drivers.connect import connect_chip
from hil_drivers.open_transport import (
    FORMS,
    TransportChoice,
    check_resource,
    check_visa_resource,
    open_transport,
)
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.serial_address import SERIAL_FORM, SerialAddress
from hil_drivers.transport import Transport


class AimcBoardDriver:
    """Boards that speak ``docs/reference/protocol.md``."""

    api_version = 1
    summary = "boards that speak this project's device protocol"
    resource_form = FORMS

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no resource of such a board."""
        check_resource(resource)

    def open_chip(self, resource: str, options: ChipOptions) -> Chip:
        """Open the link to a board and shake hands with it."""
        return connect_chip(
            resource,
            timeout_s=options.timeout_s,
            choice=options.transport,
            recovery=RecoveryPolicy(deadline_s=options.recovery_s),
            on_fault=options.on_fault,
        )


class TcpDriver:
    """Raw sockets."""

    api_version = 1
    summary = "a raw TCP socket"
    resource_form = "TCPIP0::HOST::PORT::SOCKET"

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no resource of a raw socket."""
        check_visa_resource(resource)
        if not resource.upper().endswith("::SOCKET"):
            raise ValueError(f"{resource!r} is no raw socket: use {self.resource_form}")

    def open_transport(self, resource: str, *, timeout_s: float) -> Transport:
        """Connect."""
        return open_transport(resource, timeout_s=timeout_s, choice=TransportChoice.TCP)


class VisaDriver:
    """Everything that pyvisa opens."""

    api_version = 1
    summary = "pyvisa, with the pyvisa-py backend"
    resource_form = "a VISA resource string, as TCPIP0::HOST::hislip0::INSTR"

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no VISA resource."""
        check_visa_resource(resource)

    def open_transport(self, resource: str, *, timeout_s: float) -> Transport:
        """Open a VISA session."""
        return open_transport(resource, timeout_s=timeout_s, choice=TransportChoice.VISA)


class SerialDriver:
    """Serial lines that carry packets."""

    api_version = 1
    summary = "a serial line that carries packets with numbers and CRC"
    resource_form = SERIAL_FORM

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no serial resource."""
        try:
            SerialAddress.parse(resource)
        except TransportError as error:
            raise ValueError(str(error)) from error

    def open_transport(self, resource: str, *, timeout_s: float) -> Transport:
        """Open the port."""
        from hil_drivers.serial_port import open_serial  # noqa: PLC0415 - needs pyserial

        return open_serial(resource, timeout_s=timeout_s)


AIMC_BOARD = AimcBoardDriver()
TCP, VISA, SERIAL = TcpDriver(), VisaDriver(), SerialDriver()
