"""What a conformance test found, as lines for people and as one document for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from hil_drivers.conformance.check import Finding, Result

_STYLES = {Result.PASS: "green", Result.FAIL: "bold red", Result.SKIP: "yellow"}
_WORDS = {Result.PASS: "passed", Result.FAIL: "failed", Result.SKIP: "skipped"}


def finding_line(finding: Finding) -> Text:
    """Return a finding as one line, with its evidence below."""
    line = Text(f"{finding.result:<5}", style=_STYLES[finding.result])
    line.append(f"{finding.seconds:7.2f} s  {finding.claim}", style="default")
    line.append(f"\n{'':16}{finding.evidence}", style="dim")
    return line


def verdict(findings: Sequence[Finding]) -> str:
    """Return how many checks ended in which way.

    Examples
    --------
    >>> verdict([Finding(claim="", result=Result.PASS, evidence="", seconds=0.0)])
    '1 passed'
    """
    counts = Counter(finding.result for finding in findings)
    return ", ".join(f"{counts[result]} {_WORDS[result]}" for result in Result if counts[result])


def conformance_document(
    findings: Sequence[Finding], *, driver: str, resource: str, programming: str
) -> dict[str, Any]:
    """Return a test as plain data.

    Parameters
    ----------
    findings
        What was found.
    driver, resource, programming
        What was tested, where, and what might be programmed.
    """
    return {
        "driver": driver,
        "resource": resource,
        "programming": programming,
        "passed": all(finding.result is not Result.FAIL for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
