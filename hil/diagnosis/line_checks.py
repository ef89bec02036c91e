"""What is particular to a kind of link: serial lines, VISA libraries, raw sockets."""

import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.latencies import shown_rate
from hil.diagnosis.speed import Carried
from hil_drivers.discovery.visa_resources import serial_path
from hil_drivers.packets import LineFault
from hil_drivers.serial_address import SerialAddress, is_serial

_BITS_PER_BYTE = 10
"""A start bit, eight data bits, a stop bit."""
_PACING_CLAIM = "the line carries what its baud says"
_TTYS = Path("/sys/class/tty")
_DAMAGE = {
    LineFault.OVERSIZE,
    LineFault.GARBLED,
    LineFault.WRONG_CRC,
    LineFault.MISSING,
    LineFault.RESENT,
}
"""Faults that a line does; the others may come of beginning anew, which the tests do often."""
_TOO_FAST, _TOO_SLOW = 1.2, 0.5
"""Shares of what the baud carries beyond which it is not what paces the line."""


def line_findings(
    resource: str,
    carried: Carried | None,
    *,
    faults: Mapping[str, int] = MappingProxyType({}),
    ttys: Path = _TTYS,
) -> list[Finding]:
    """Return what there is to say of this kind of link.

    Parameters
    ----------
    resource
        Resource string.
    carried
        What was carried to the device; None if that was not tested.
    faults
        What the transport has mended, by kind.
    ttys
        Where the kernel describes serial ports.
    """
    if is_serial(resource):
        address = SerialAddress.parse(resource)
        return [
            *pacing(address.baud, carried, is_terminal=_is_terminal(address.path)),
            mended(faults),
            latency_timer(address.path, ttys=ttys),
        ]
    path = serial_path(resource)
    findings = [] if path is None else [latency_timer(path, ttys=ttys)]
    if not resource.upper().endswith("::SOCKET"):
        findings.append(visa_library(resource, is_serial_line=path is not None))
    return findings


def _is_terminal(path: str) -> bool:
    return os.path.realpath(path).startswith("/dev/pts/")


def pacing(baud: int, carried: Carried | None, *, is_terminal: bool = False) -> list[Finding]:
    """Compare what a line has carried with what its baud allows; a pseudo-terminal has none."""
    if carried is None:
        return []
    if is_terminal:
        return [
            Finding(
                check="pacing",
                claim=_PACING_CLAIM,
                verdict=Verdict.SKIPPED,
                evidence=f"{shown_rate(carried.rate)} of payload",
                advice="the line is a pseudo-terminal: the baud means nothing there",
            )
        ]
    nominal = baud / _BITS_PER_BYTE
    share = carried.rate / nominal
    verdict, advice = Verdict.OK, ""
    if share > _TOO_FAST:
        verdict = Verdict.WARN
        advice = (
            "more than the baud allows: the line is USB or a terminal all the way, and the baud "
            "means nothing; if the device has a real line somewhere, its rate is another"
        )
    elif share < _TOO_SLOW and carried.size > nominal / 4:
        verdict = Verdict.WARN
        advice = (
            "less than half of what the baud allows: compare the rate at both ends, look for flow "
            "control, and for packets that are sent again because the line changes bytes"
        )
    return [
        Finding(
            check="pacing",
            claim=_PACING_CLAIM,
            verdict=verdict,
            evidence=(
                f"{shown_rate(carried.rate)} of payload, {100 * share:.0f} % of the "
                f"{shown_rate(nominal)} of {baud} baud"
            ),
            advice=advice,
            figures={"share": share, "baud": baud},
        )
    ]


def mended(faults: Mapping[str, int]) -> Finding:
    """Tell how often the packets of a line had to be mended."""
    seen = {kind: count for kind, count in faults.items() if count and kind in _DAMAGE}
    return Finding(
        check="line faults",
        claim="the line changes and loses nothing",
        verdict=Verdict.WARN if seen else Verdict.OK,
        evidence=", ".join(f"{kind} {count}" for kind, count in seen.items()) or "none",
        advice="all of it was mended, and costs time: look at cable, ground, rate and flow control"
        if seen
        else "",
        figures=seen,
    )


def latency_timer(path: str, *, ttys: Path = _TTYS) -> Finding:
    """Look at how long a USB adapter holds back short answers, where the kernel tells it."""
    claim = "the USB adapter hands on short answers at once"
    real = Path(os.path.realpath(path))
    place = ttys / real.name / "device" / "latency_timer"
    try:
        timer_ms = int(place.read_text("ascii"))
    except (OSError, ValueError):
        return Finding(
            check="latency timer",
            claim=claim,
            verdict=Verdict.SKIPPED,
            evidence=f"the kernel tells of no latency timer for {real}",
        )
    is_short = timer_ms <= 1
    return Finding(
        check="latency timer",
        claim=claim,
        verdict=Verdict.OK if is_short else Verdict.WARN,
        evidence=f"{timer_ms} ms",
        advice="" if is_short else f"as root: echo 1 > {place}; or setserial {path} low_latency",
        figures={"timer_ms": timer_ms},
    )


def visa_library(resource: str, *, is_serial_line: bool) -> Finding:
    """Say what VISA means for this resource."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pyvisa", "pyvisa-py"))
    advice = ""
    if is_serial_line:
        advice = (
            "pyvisa-py reads serial lines one byte at a time; a device that speaks packets is "
            "faster and safer as " + SerialAddress(serial_path(resource) or "").resource
        )
    elif re.match("TCPIP", resource, re.IGNORECASE):
        advice = "if the device has a raw socket, TCPIP0::HOST::PORT::SOCKET carries more"
    return Finding(
        check="VISA",
        claim="the VISA library is known to work with this driver",
        verdict=Verdict.OK,
        evidence=versions,
        advice=advice,
    )
