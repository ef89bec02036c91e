"""A small device with faults, without any socket."""

from collections.abc import Iterator

from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing, Wait
from hil_mock_device.faults.fault_script import FaultRule, FaultScript
from hil_mock_device.faults.faulty_device import FaultyDevice
from small_profiles import ideal_profile

CUT = "cut"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def script(*rules: str, seed: int = 0) -> FaultScript:
    return FaultScript(seed=seed, fault=tuple(map(FaultRule.from_text, rules)))


def device(*rules: str, seed: int = 0) -> FaultyDevice:
    """Return a device with two cores of three rows and two columns, and these faults."""
    return FaultyDevice(ChipModel(ideal_profile()), script(*rules, seed=seed))


def said(conversation: Conversation, data: bytes) -> list[bytes | float | str]:
    """Return what comes of bytes: bytes, seconds to wait, `CUT`; nothing follows a cut."""
    return list(_until_cut(conversation.answers(data)))


def _until_cut(items: Iterator[Outgoing]) -> Iterator[bytes | float | str]:
    for item in items:
        if isinstance(item, Disconnect):
            yield CUT
            return
        if isinstance(item, Wait):
            yield item.seconds
        elif item:
            yield item
