"""A whole mock device with faults: chip, firmware, links, and the channel to control them."""

from collections.abc import Callable

from hil_mock_device.conversation import Conversation
from hil_mock_device.device import MockDevice
from hil_mock_device.faults.control_channel import ControlConversation, FaultControl
from hil_mock_device.faults.fault_script import FaultScript
from hil_mock_device.faults.faulty_conversation import FaultyConversation
from hil_mock_device.faults.faulty_silicon import FaultySilicon
from hil_mock_device.faults.injector import FaultInjector
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.silicon import Silicon


class FaultyDevice:
    """One instrument.

    Parameters
    ----------
    silicon
        The chip behind it, without faults.
    script
        What goes wrong from the beginning.
    """

    def __init__(self, silicon: Silicon, script: FaultScript | None = None) -> None:
        self.injector = FaultInjector(script)
        """What goes wrong, and how often it did."""
        self.firmware = Firmware(FaultySilicon(silicon, self.injector))
        """The instrument's firmware."""
        self._control = FaultControl(self.injector, silicon)

    def share_time(self, let_pass: Callable[[float], None]) -> None:
        """Have the control channel move the time of the bench around the chip, too."""
        self._control.let_pass = let_pass

    def around(self, conversation: Conversation) -> Conversation:
        """Return a conversation with this instrument, with its faults."""
        return FaultyConversation(conversation, self.injector, self.firmware)

    def converse(self) -> Conversation:
        """Begin the conversation of one more client."""
        return self.around(MockDevice(self.firmware))

    def control(self) -> Conversation:
        """Begin a conversation on the control channel."""
        return ControlConversation(self._control)
