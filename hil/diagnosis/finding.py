"""What a check has found, and all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    """The claim holds."""
    WARN = "warn"
    """Work is possible, and something should be seen to."""
    FAIL = "fail"
    """The claim does not hold."""
    SKIPPED = "skipped"
    """There was nothing to check, or no way to."""


class Part(StrEnum):
    """What a check is about."""

    LINK = "link"
    """The device and the way to it."""
    HOST = "host"
    """This computer and what is installed on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found."""

    check: str
    """Short name."""
    claim: str
    """What should be true."""
    verdict: Verdict
    """Whether it is."""
    evidence: str
    """What was seen."""
    advice: str = ""
    """What to do about it."""
    part: Part = Part.LINK
    """What it is about."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured: numbers, texts and lists, units in the names."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "check": self.check,
            "part": str(self.part),
            "claim": self.claim,
            "verdict": str(self.verdict),
            "evidence": self.evidence,
            "advice": self.advice,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found."""

    resource: str | None
    """The link tested; None where only the installation was."""
    findings: tuple[Finding, ...]
    """In the order they were made."""

    def has_failed(self, part: Part) -> bool:
        """Tell whether a check about that part has failed."""
        return any(
            finding.part is part and finding.verdict is Verdict.FAIL for finding in self.findings
        )

    def count(self, verdict: Verdict) -> int:
        """Return how many checks ended so."""
        return sum(finding.verdict is verdict for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "resource": self.resource,
            "findings": [finding.to_dict() for finding in self.findings],
        }
