"""What is wrong in a run: each problem with its kind, its file and its place there."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class FindingKind(StrEnum):
    """What sort of problem it is."""

    SCHEMA = "schema"
    """Missing, of another type, size or value than the reference allows."""
    CHECKSUM = "checksum"
    """The bytes are not those that were sealed."""
    HASH = "hash"
    """The content is not what its content hash says."""
    SEQUENCE = "sequence"
    """A gap or a wrong order: in the journal, or in the times of blocks."""
    REFERENCE = "reference"
    """Something names what is not there, or nothing names what is there."""
    UNFINISHED = "unfinished"
    """A step, a file or a line that was never finished."""
    FOREIGN = "foreign"
    """It belongs to another run or chip."""
    UNREADABLE = "unreadable"
    """The file cannot be read, or reading it broke the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem of a run."""

    kind: FindingKind
    """What sort of problem it is."""
    path: str
    """File, relative to the run's folder."""
    where: str = ""
    """Line of a text file, or object in an HDF5 file."""
    message: str
    """What is wrong, with the value and what is allowed."""
    step: str = ""
    """Planned step that has no end; empty for any other problem."""

    def __str__(self) -> str:
        place = f"{self.path}: {self.where}" if self.where else self.path
        return f"{place}: {self.message} [{self.kind}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFindings:
    """What was found in a run."""

    run: Path
    """Its folder."""
    is_quick: bool
    """Whether checksums and content hashes were left out."""
    steps: int
    """Step files that were looked at."""
    checked_bytes: int
    """Their size."""
    findings: tuple[Finding, ...]
    """Every problem; none where the run is whole."""
    notes: tuple[str, ...] = ()
    """What is no problem and still worth knowing: what a repair has lost."""
    planned_steps: int = 0
    """Steps that the run was to take; 0 where its journal does not say."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def unfinished_steps(self) -> int:
        """How many planned steps have no end."""
        return sum(bool(finding.step) for finding in self.findings)

    @property
    def is_only_unfinished(self) -> bool:
        """Whether all that is wrong is that the run has not come to its end: nothing is damaged."""
        return bool(self.findings) and all(
            finding.kind is FindingKind.UNFINISHED for finding in self.findings
        )
