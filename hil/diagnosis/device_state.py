"""Who has the device, whether its clock is right, and whether it was left as it was."""

import re
import time
from datetime import UTC, datetime

from hil.core.errors import DeviceError, HilError
from hil.core.legible import quoted
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.tested_link import CORE, TestedLink
from hil_drivers.scpi import ScpiError

_LOCK, _LOCK_CLAIM = "lock", "nobody else has the device to themselves"
_CLOCK_CLAIM = "the device's clock agrees with this computer's"
_LARGEST_SKEW_S = 2.0
"""``SYSTem:TIME?`` tells whole seconds (SCPI-99, volume 2)."""
_ZONE_S = 900
"""Time zones differ by quarters of an hour."""


def check_lock(link: TestedLink) -> Finding:
    """Ask who has locked the device; change nothing."""
    try:
        owner = link.session.ask("SYSTem:LOCK:OWNer?").strip()
    except DeviceError as error:
        if error.code != ScpiError.UNDEFINED_HEADER:
            raise
        return Finding(
            check=_LOCK,
            claim=_LOCK_CLAIM,
            verdict=Verdict.SKIPPED,
            evidence="the device knows no locks: another client could change its settings",
        )
    if owner.upper() != "NONE":
        return _locked(f"client {owner[:20]} holds the lock")
    return Finding(
        check=_LOCK, claim=_LOCK_CLAIM, verdict=Verdict.OK, evidence="free", figures={"owner": None}
    )


def take_lock(link: TestedLink) -> Finding | None:
    """Keep others out for the time of the tests; what is wrong if that is refused, else None."""
    if link.keep_others_out() is False:
        return _locked("it was free, and is not given away")
    return None


def _locked(evidence: str) -> Finding:
    return Finding(
        check=_LOCK,
        claim=_LOCK_CLAIM,
        verdict=Verdict.FAIL,
        evidence=evidence,
        advice="end the other client, or let it release the lock (SYSTem:LOCK:RELease); a lock "
        "ends with its connection. What changes settings is not tested meanwhile",
    )


def check_clock(link: TestedLink) -> Finding:
    """Compare the device's clock, if it has one."""
    try:
        before = datetime.now(UTC)
        date, clock = link.session.ask("SYSTem:DATE?"), link.session.ask("SYSTem:TIME?")
        waited_s = (datetime.now(UTC) - before).total_seconds()
    except DeviceError as error:
        return Finding(
            check="clock",
            claim=_CLOCK_CLAIM,
            verdict=Verdict.SKIPPED,
            evidence=f"the device tells no time ({error.code}); runs are dated by this computer",
        )
    told = _told_time(date, clock)
    if told is None:
        return Finding(
            check="clock",
            claim=_CLOCK_CLAIM,
            verdict=Verdict.WARN,
            evidence=f"date {quoted(date)}, time {quoted(clock)}: no date and time",
            advice="SCPI-99 writes 2024,12,31 and 23,59,59",
        )
    return _clock_finding((told - before).total_seconds(), waited_s)


def _told_time(date: str, clock: str) -> datetime | None:
    numbers = re.findall(r"[+-]?\d+(?:\.\d*)?", f"{date},{clock}")
    try:
        year, month, day, hour, minute = (int(number) for number in numbers[:5])
        second = int(float(numbers[5]))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, IndexError):
        return None


def _clock_finding(skew_s: float, waited_s: float) -> Finding:
    zones = round(skew_s / _ZONE_S) if abs(skew_s) <= 14 * 3600 + _LARGEST_SKEW_S else 0
    beside_zone_s = skew_s - zones * _ZONE_S
    is_right = abs(beside_zone_s) <= _LARGEST_SKEW_S + waited_s
    zone = f" in a time zone {zones * _ZONE_S / 3600:+g} h of UTC" if zones and is_right else ""
    shown_s = beside_zone_s if is_right else skew_s
    return Finding(
        check="clock",
        claim=_CLOCK_CLAIM,
        verdict=Verdict.OK if is_right else Verdict.WARN,
        evidence=f"{shown_s:+.1f} s{zone}",
        advice="" if is_right else "set the device's clock; runs are dated by this computer's",
        figures={"skew_s": skew_s, "beside_zone_s": beside_zone_s},
    )


def check_company(link: TestedLink) -> Finding:
    """Look whether somebody else has changed the settings meanwhile."""
    core, read_mode = link.session.ask("CORE:SELect?"), link.session.ask("READ:MODE?")
    if core == str(CORE) and read_mode == "FOUR":
        return company_finding("")
    return company_finding(f"core {core[:20]}, read mode {read_mode[:20]}: not what was set")


def company_finding(seen: str) -> Finding:
    """Say what was seen of another client, empty for nothing."""
    return Finding(
        check="company",
        claim="nobody else uses the device",
        verdict=Verdict.WARN if seen else Verdict.OK,
        evidence=seen or "the settings are those of the tests",
        advice="another client is at work: what is measured here may be its doing, and it may lose "
        "its settings by a test like this"
        if seen
        else "",
    )


def leave_as_it_was(link: TestedLink) -> Finding:
    """Put settings back, make the device safe, free its lock."""
    claim = "the device is left as it was, and safe"
    start = time.perf_counter()
    try:
        link.restore()
    except (HilError, ValueError) as error:
        return Finding(
            check="left as it was",
            claim=claim,
            verdict=Verdict.FAIL,
            evidence=str(error),
            advice="send SAFE and *RST, and load the NMPU's format and registers again",
        )
    return Finding(
        check="left as it was",
        claim=claim,
        verdict=Verdict.OK,
        evidence=f"settings put back, SAFE sent, in {time.perf_counter() - start:.2g} s",
    )
