"""The control channel: what goes wrong, how often it did, and the chip's time and temperature.

Plain SCPI on a connection of its own, which meets no faults itself.
"""

from collections.abc import Callable, Iterator

from hil.core.errors import ConfigError, DeviceError, FrameError
from hil_drivers.link import DeviceLink
from hil_drivers.scpi import ScpiError, matches
from hil_mock_device.bench_instruments.plain_instrument import PlainInstrument, number, only
from hil_mock_device.environment import Environment
from hil_mock_device.faults.fault_kinds import MockFault
from hil_mock_device.faults.fault_script import FaultRule, parse_fault_script
from hil_mock_device.faults.injector import FaultInjector
from hil_mock_device.firmware.call import refusal
from hil_mock_device.silicon import Silicon

_LARGEST_SCRIPT = 1 << 20
_SCRIPT = "FAULt:SCRipt"


class FaultControl:
    """What the control channel's clients share.

    Parameters
    ----------
    injector
        What goes wrong.
    silicon
        The chip, without faults.
    """

    def __init__(self, injector: FaultInjector, silicon: Silicon) -> None:
        self._injector = injector
        self._silicon = silicon
        self.let_pass: Callable[[float], None] | None = None
        """Lets time pass for the chip and the bench around it; None where there is no bench."""
        self.instrument = PlainInstrument(
            "aimc-hil,mock-faults,0,1.0",
            {
                "FAULt:ARM": self._arm,
                "FAULt:CLEar": self._clear,
                "FAULt:COUNt?": self._count,
                f"{_SCRIPT}?": self._rules,
                "MOCK:TIME:ADVance": self._advance_time,
                "MOCK:TIME?": lambda _: f"{self._environment().elapsed_s:g}",
                "MOCK:TEMPerature": self._set_temperature,
                "MOCK:TEMPerature?": lambda _: f"{self._environment().ambient_c:g}",
            },
            reset=injector.clear,
        )
        """Its commands and its error queue."""

    def load(self, content: bytes) -> None:
        """Replace all rules by those of a script, the content of a TOML file."""
        try:
            self._injector.load(parse_fault_script(content, source="script"))
        except ConfigError as error:
            self.instrument.note(refusal(ScpiError.ILLEGAL_PARAMETER, str(error)))

    def _arm(self, parameters: list[str]) -> None:
        try:
            self._injector.arm(FaultRule.from_text(only(parameters)))
        except ConfigError as error:
            raise refusal(ScpiError.ILLEGAL_PARAMETER, str(error)) from error

    def _clear(self, parameters: list[str]) -> None:
        if parameters:
            raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "no parameter is due")
        self._injector.clear()

    def _count(self, parameters: list[str]) -> str:
        counts = self._injector.counts
        if not parameters:
            return str(counts.total())
        word = only(parameters).lower()
        if word not in {kind.value for kind in MockFault}:
            known = ", ".join(MockFault)
            raise refusal(ScpiError.ILLEGAL_PARAMETER, f"{word[:20]}: must be one of {known}")
        return str(counts[MockFault(word)])

    def _rules(self, parameters: list[str]) -> str:
        if parameters:
            raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "no parameter is due")
        return ",".join(f'"{rule.to_text()}"' for rule in self._injector.rules) or '""'

    def _advance_time(self, parameters: list[str]) -> None:
        seconds = number(parameters)
        pass_for_all = self.let_pass
        if pass_for_all is None:
            self._change(lambda environment: environment.advance_time(seconds))
        else:
            self._change(lambda _: pass_for_all(seconds))

    def _set_temperature(self, parameters: list[str]) -> None:
        self._change(lambda environment: environment.set_temperature(number(parameters)))

    def _change(self, change: Callable[[Environment], None]) -> None:
        try:
            change(self._environment())
        except ValueError as error:
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, str(error)) from error

    def _environment(self) -> Environment:
        if not isinstance(self._silicon, Environment):
            detail = "a recording has neither time nor temperature"
            raise refusal(ScpiError.SETTINGS_CONFLICT, detail)
        return self._silicon


class ControlConversation:
    """One client's conversation on the control channel.

    Parameters
    ----------
    control
        What it controls.
    """

    def __init__(self, control: FaultControl) -> None:
        self._control = control
        self.client = control.instrument.new_client()
        """The client's number."""
        self.is_lost = False
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        self._link = DeviceLink(largest_block=_LARGEST_SCRIPT)

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Take bytes of the client; carry out one message at a time, and yield its answers."""
        if self.is_lost:
            return
        instrument = self._control.instrument
        try:
            requests = self._link.receive(data)
        except FrameError:
            requests = []  # the link keeps the reason
        for request in requests:
            if request.block is None and request.tag is None:
                if answer := instrument.carry_out(request.text):
                    yield answer
            elif request.block is not None and matches(_SCRIPT, request.text):
                self._control.load(request.block)
            else:
                instrument.note(_refused("a plain command is due, or a script in a block"))
        if self._link.failure is not None:
            self.is_lost = True
            instrument.note(_refused(str(self._link.failure)))

    def end_message(self) -> Iterator[bytes]:
        """Finish the message that the client has marked as ended."""
        yield from self.answers(b"\n")
        self.clear()

    def clear(self) -> None:
        """Forget a message that has come in part."""
        self._link = DeviceLink(largest_block=_LARGEST_SCRIPT)
        self.is_lost = False

    def leave(self) -> None:
        """Take note that the client has gone: nothing here is locked."""


def _refused(detail: str) -> DeviceError:
    return refusal(ScpiError.SYNTAX_ERROR, detail)
