"""What an answer says where it is not what was asked for."""

import re

from hil.core.errors import DeviceError, FrameError, LinkLostError, TransportError
from hil.core.legible import printable
from hil_drivers.link import Answer
from hil_drivers.link_fault import FaultKind, FrameFault

_LONGEST_QUOTE = 60
"""How much of a strange answer is shown in a message."""

_REFUSAL = re.compile(r"!(-?\d{1,9})(?:,(.*))?", re.DOTALL)


def shown(answer: Answer) -> str:
    """Return an answer as it is shown in a message."""
    if answer.block is not None:
        return f"a block of {len(answer.block)} bytes"
    more = "..." if len(answer.text) > _LONGEST_QUOTE else ""
    return f"{answer.text[:_LONGEST_QUOTE]!r}{more}"


def check_not_refused(answer: Answer, request: str) -> None:
    """Raise the refusal that an answer is, if it is one."""
    if answer.text.startswith("!"):
        raise _refusal(answer, request)


def check_ok(answer: Answer, request: str) -> None:
    """Refuse an answer that is not ``OK``."""
    if answer.text != "OK":
        raise FrameFault(
            FaultKind.WRONG_ANSWER,
            f"{request}: the device answered {shown(answer)} where OK is due",
        )


def fault_error(
    answer: Answer, request: str, tag: int, resource: str
) -> FrameError | TransportError:
    """Return the error that an answer is with which something is wrong."""
    fault = answer.fault
    if fault is None:
        raise ValueError("nothing is wrong with this answer")
    if fault is FaultKind.GARBLED_REQUEST:
        return LinkLostError(
            f"{resource}: {request}: the device could not read its bytes and closes the "
            f"link: {shown(answer)}"
        )
    about = {
        FaultKind.NO_TAG: f"answered {shown(answer)} without the request's tag @{tag}: it does "
        "not speak this protocol",
        FaultKind.GARBLED_ANSWER: f"answered {shown(answer)}, which was changed on its way: the "
        "checksum is wrong, or missing",
    }.get(fault, f"answered request {answer.tag}, this is request {tag}")
    return FrameFault(fault, f"{request}: the device {about}")


def _refusal(answer: Answer, request: str) -> FrameError | DeviceError:
    refusal = _REFUSAL.fullmatch(answer.text)
    if refusal is None:
        return FrameFault(
            FaultKind.WRONG_ANSWER,
            f"{request}: the device answered {shown(answer)}: no error number",
        )
    words = printable((refusal[2] or "").strip().strip('"'))
    return DeviceError(int(refusal[1]), words, request=request)
