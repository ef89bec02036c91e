"""The commands of the NMPU; all work on the selected core in the selected read mode."""

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_drivers.frames import FrameKind
from hil_drivers.scpi import ScpiError
from hil_mock_device.firmware.call import (
    Call,
    Handler,
    check_shape,
    no_parameters,
    only_parameter,
    refusal,
)
from hil_mock_device.firmware.settings import Settings, encoded
from hil_mock_device.silicon import Silicon


class NmpuCommands:
    """``NMPU:FORMat``, ``NMPU:REGisters`` and the switch.

    Parameters
    ----------
    silicon, settings
        What the commands work on.
    """

    def __init__(self, silicon: Silicon, settings: Settings) -> None:
        self._silicon = silicon
        self._settings = settings

    def handlers(self) -> dict[str, Handler]:
        """Return each command's pattern with its handler."""
        return {
            "NMPU:STATe": self._switch,
            "NMPU:STATe?": lambda _: str(int(self._settings.nmpu_is_on)),
            "NMPU:FORMat": self._set_format,
            "NMPU:FORMat?": self._get_format,
            "NMPU:REGisters": self._set_registers,
            "NMPU:REGisters?": self._get_registers,
        }

    def _switch(self, call: Call) -> None:
        word = only_parameter(call).upper()
        if word not in {"ON", "OFF", "1", "0"}:
            raise refusal(ScpiError.ILLEGAL_PARAMETER, f"{word[:20]}: must be ON or OFF")
        self._settings.nmpu_is_on = word in {"ON", "1"}

    def _set_format(self, call: Call) -> None:
        text = only_parameter(call)
        try:
            fmt = NmpuFormat.from_text(text)
        except ValueError as error:
            raise refusal(ScpiError.ILLEGAL_PARAMETER, str(error)) from error
        # Registers of another format would mean other numbers: they must be sent again.
        settings = self._settings
        settings.nmpu_formats[settings.core, settings.read_mode] = (fmt, None)

    def _get_format(self, _: Call) -> str:
        return f'"{self._settings.nmpu()[0].to_text()}"'

    def _set_registers(self, call: Call) -> None:
        settings = self._settings
        frame = settings.addressed_frame(call, FrameKind.REGISTERS)
        check_shape(frame, (4, self._silicon.geometry.columns))
        fmt, _ = settings.nmpu()
        try:
            registers = NmpuRegisters.from_codes(frame.payload)
            registers.check_fits(fmt)
        except ValueError as error:
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, str(error)) from error
        settings.nmpu_formats[settings.core, settings.read_mode] = (fmt, registers)

    def _get_registers(self, call: Call) -> bytes:
        no_parameters(call)
        settings = self._settings
        _, registers = settings.nmpu()
        if registers is None:
            raise refusal(ScpiError.SETTINGS_CONFLICT, "no NMPU registers were sent")
        codes = registers.to_codes()
        return encoded(FrameKind.REGISTERS, call.sequence, settings.core, settings.read_mode, codes)
