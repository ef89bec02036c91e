"""The examination of a link: every check in its order, whatever goes wrong in one of them.

The device is asked, its NMPU registers and input vectors are written, and all of it is put back. It
is never programmed, and inputs are driven only if a core holds weights already: once, with zeros.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from hil.core.errors import DeviceError, FrameError, HilError, TransportError
from hil.diagnosis.device_state import (
    check_clock,
    check_company,
    check_lock,
    company_finding,
    leave_as_it_was,
    take_lock,
)
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.latencies import shown_time
from hil.diagnosis.line_checks import line_findings
from hil.diagnosis.open_advice import open_advice, without_hint
from hil.diagnosis.round_trip import check_byte_values, check_payloads, prepare_registers
from hil.diagnosis.speed import (
    Carried,
    check_latency,
    check_throughput_back,
    check_throughput_there,
)
from hil.diagnosis.stale_answers import check_stale_answers
from hil.diagnosis.tested_link import TestedLink
from hil_drivers.board_requests import PROTOCOL_VERSION
from hil_drivers.discovery.found_device import State
from hil_drivers.discovery.identify import ask
from hil_drivers.open_transport import open_transport
from hil_drivers.transport import Transport

_SHARES = {"latency": 0.3, "there": 0.25, "back": 0.2, "bytes": 0.2, "payloads": 0.2, "stale": 0.1}
"""Shares of the time, by check; that of bytes is needed by slow lines only, hence more than 1."""
_LONGEST_PLAIN_S = 2.0

Tell = Callable[[Finding], None]


def diagnose_link(
    resource: str,
    *,
    seconds: float,
    timeout_s: float,
    tell: Tell = lambda _: None,
) -> tuple[Finding, ...]:
    """Examine a link and the device at its end.

    Parameters
    ----------
    resource
        What `open_transport` takes.
    seconds
        How long the measurements may take together; a few requests more are made beside them.
    timeout_s
        How long an answer may take.
    tell
        Called with every finding when it is made.
    """
    findings: list[Finding] = []

    def add(finding: Finding) -> Finding:
        findings.append(finding)
        tell(finding)
        return finding

    def make() -> Transport:
        return open_transport(resource, timeout_s=timeout_s)

    link = _opened(make, timeout_s, add)
    if link is not None:
        try:
            _Examination(link, seconds, add).examine()
        finally:
            link.session.close()
    return tuple(findings)


def _opened(
    make: Callable[[], Transport], timeout_s: float, add: Callable[[Finding], Finding]
) -> TestedLink | None:
    """Open the link to a device that speaks the protocol; None if it does not come to that."""
    start = time.perf_counter()
    try:
        transport = make()
    except HilError as error:
        add(_opens(Verdict.FAIL, without_hint(error), open_advice(error)))
        return None
    add(_opens(Verdict.OK, f"in {shown_time(time.perf_counter() - start)}", ""))
    try:
        link = TestedLink(transport, timeout_s=timeout_s)
    except HilError as error:
        transport.close()
        add(_speaks_otherwise(error, make, timeout_s))
        return None
    add(_speaks(Verdict.OK, f"version {PROTOCOL_VERSION}; {link.identity}", ""))
    return link


class _Examination:
    """The checks of a device that speaks the protocol."""

    def __init__(self, link: TestedLink, seconds: float, add: Callable[[Finding], Finding]) -> None:
        self._link = link
        self._seconds = seconds
        self._add = add
        self._median_s = 0.01
        self._has_company = False
        self._there: Carried | None = None
        self._is_lost = False

    def examine(self) -> None:
        """Make all checks; the device is put back whatever happens."""
        lock = self._try("lock", "nobody else has the device", lambda: check_lock(self._link))
        self._try("latency", "short answers come evenly", self._latency)
        is_free = lock is not None and lock.verdict is not Verdict.FAIL and not self._has_company
        try:
            if is_free and self._take():
                self._write()
                self._try("company", "nobody else was there", lambda: check_company(self._link))
            self._try("stale answers", "after a timeout, answers are right", self._stale)
            self._try("clock", "the device's clock is right", lambda: check_clock(self._link))
            faults = self._link.transport.line_faults
            for finding in line_findings(self._link.resource, self._there, faults=faults):
                self._add(finding)
        finally:
            if self._link.before is not None:
                self._leave()

    def _take(self) -> bool:
        """Lock the device and take note of its settings; tell whether it may be written to."""
        refused = self._try("lock", "nobody else has the device", lambda: take_lock(self._link))
        if self._is_lost or refused is not None:
            return False
        claim = "the settings can be read, so that they can be put back"
        return self._try("settings", claim, self._remember) is not None

    def _leave(self) -> None:
        if self._is_lost or not self._link.session.is_in_step:
            with suppress(HilError):  # the attempt below then says why
                self._link.come_back()
        self._add(leave_as_it_was(self._link))

    def _write(self) -> None:
        link, limits = self._link, {name: self._seconds * part for name, part in _SHARES.items()}
        claim = "bytes survive the way there and back"
        try:
            registers = prepare_registers(link)
        except HilError as error:
            self._add(_broke("byte values", claim, error))
            self._is_lost = not link.come_back()
            return
        self._try(
            "byte values",
            claim,
            lambda: check_byte_values(link, registers, limit_s=limits["bytes"]),
        )
        self._try(
            "payloads",
            claim,
            lambda: check_payloads(link, registers, limit_s=limits["payloads"]),
        )
        claim = "blocks are carried at the speed of the link"
        self._try("throughput to the device", claim, lambda: self._throughput(limits["there"]))
        self._try(
            "throughput from the device",
            claim,
            lambda: check_throughput_back(link, limit_s=limits["back"])[0],
        )

    def _try(self, check: str, claim: str, run: Callable[[], Finding | None]) -> Finding | None:
        """Make one check; what goes wrong in it is what it finds."""
        if self._is_lost:
            return self._add(
                Finding(
                    check=check,
                    claim=claim,
                    verdict=Verdict.SKIPPED,
                    evidence="the link is lost",
                )
            )
        try:
            finding = run()
        except (HilError, ValueError) as error:
            finding = _broke(check, claim, error)
            self._is_lost = not self._link.come_back()
            self._add(finding)
            return None
        return finding if finding is None else self._add(finding)

    def _remember(self) -> Finding:
        before = self._link.remember()
        loaded = "no NMPU registers" if before.codes is None else "NMPU registers"
        return Finding(
            check="settings",
            claim="the settings can be read, so that they can be put back",
            verdict=Verdict.OK,
            evidence=f"core {before.core}, {before.read_mode}, {loaded}, latched by "
            f"{before.latched or 'nobody'}",
        )

    def _latency(self) -> Finding:
        finding, watched = check_latency(self._link, limit_s=self._seconds * _SHARES["latency"])
        self._median_s = watched.latencies.median_s
        self._has_company = watched.measures
        if watched.measures:
            self._add(company_finding("counts were latched that were not asked for here"))
        return finding

    def _throughput(self, limit_s: float) -> Finding:
        finding, self._there = check_throughput_there(self._link, limit_s=limit_s)
        return finding

    def _stale(self) -> Finding:
        finding = check_stale_answers(
            self._link, median_s=self._median_s, limit_s=self._seconds * _SHARES["stale"]
        )
        # A connection that was opened again is another client, and the lock was the old one's.
        if self._link.holds_lock:
            self._link.keep_others_out()
        return finding


def _opens(verdict: Verdict, evidence: str, advice: str) -> Finding:
    return Finding(
        check="opens", claim="the link opens", verdict=verdict, evidence=evidence, advice=advice
    )


def _speaks(verdict: Verdict, evidence: str, advice: str) -> Finding:
    return Finding(
        check="protocol",
        claim=f"the device speaks version {PROTOCOL_VERSION} of the protocol",
        verdict=verdict,
        evidence=evidence,
        advice=advice,
    )


def _speaks_otherwise(error: HilError, make: Callable[[], Transport], timeout_s: float) -> Finding:
    """Ask in plain SCPI what it is that does not speak the protocol."""
    try:
        transport = make()
    except HilError as again:
        return _speaks(Verdict.FAIL, str(error), f"and it cannot be opened again: {again}")
    try:
        asked = ask(transport, timeout_s=min(timeout_s, _LONGEST_PLAIN_S))
        if asked.state is State.IDENTIFIED:
            with suppress(HilError):  # it has our question of above as an error in its queue
                transport.send(b"*CLS\n", timeout_s=timeout_s)
    finally:
        transport.close()
    if asked.state is State.IDENTIFIED:
        return _speaks(
            Verdict.FAIL,
            without_hint(error),
            f"it is an instrument ({asked.identity}), and no board of this protocol: check the "
            "address, or use it as an instrument of the campaign",
        )
    advice = f"in plain SCPI it is no better: {asked.detail}; check address, port, rate and power"
    return _speaks(Verdict.FAIL, str(error), advice)


def _broke(check: str, claim: str, error: Exception) -> Finding:
    return Finding(
        check=check, claim=claim, verdict=Verdict.FAIL, evidence=str(error), advice=_advice(error)
    )


def _advice(error: Exception) -> str:
    if isinstance(error, DeviceError):
        return "the device refuses what every device must do: look at its firmware"
    if isinstance(error, FrameError):
        return "the device answers something else than was asked: look at its firmware"
    if isinstance(error, TransportError):
        return "look at power, cable and address; a longer --timeout helps a device that is slow"
    return ""
