"""From a coefficient back to what it was made from: one link after the other, each checked.

A link is `ok` if its hash was computed again from the bytes and is the one that the link before
names; `broken`, with the reason, if it is not; and `unchecked` if there is nothing to hold it to:
readings of instruments, or what a file of an older version does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hil_datasets.step import StepKey


class LinkState(StrEnum):
    """What became of checking a link."""

    OK = "ok"
    """Its hash, computed again, is the one that is told elsewhere."""
    BROKEN = "broken"
    """It is not, or what it leads to is missing or damaged."""
    UNCHECKED = "unchecked"
    """There is nothing to hold it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLink:
    """One link on the way back."""

    name: str
    """What it leads to."""
    state: LinkState
    """Whether it holds."""
    reason: str
    """Why it is broken or unchecked; what was compared if it is ok."""
    content_id: str = ""
    """Id or hash of what it leads to, in hex; empty if it has none."""
    facts: Mapping[str, Any] | None = None
    """What is told there, as JSON holds it; None if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoughtParent:
    """The step of another run that a trace goes on with."""

    raw_sha256: str
    """Content hash of its readouts."""
    coefficients_id: str = ""
    """Id of the register codes that it had; empty where nothing says."""
    run: str = ""
    """Where its run was then; empty where nothing says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnTrace:
    """A column's coefficients, and the way back from them."""

    run: Path
    """The run."""
    key: StepKey
    """The step that they are of."""
    column: int
    """The column."""
    values: Mapping[str, Any] | None
    """Register codes, what they are worth, and how good the column is; None if unreadable."""
    links: tuple[TraceLink, ...]
    """The way back, nearest first."""
    sought: SoughtParent | None = None
    """What it goes on with in another run; None where it ends in this one."""

    @property
    def is_whole(self) -> bool:
        """Whether no link is broken."""
        return all(link.state is not LinkState.BROKEN for link in self.links)
