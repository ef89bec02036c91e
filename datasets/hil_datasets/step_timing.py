"""When the blocks of a step were read, and which faults of the link happened meanwhile."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

_LONGEST_S = 1e9
"""Longer than any run, about 32 years: whoever replays a recording waits as long as it says."""
_RANGE = "0 to 1e9 s"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFault:
    """One fault of the link, as the recovery told of it."""

    block: int
    """Index of the block that was being read, or that was read next."""
    kind: str
    """What went wrong, by the name that the recovery has for it."""
    request: str
    """The request that met it, without its tag and block."""
    noticed_s: float
    """When it was noticed, seconds since the step began, 0 <= noticed_s."""
    recovered_s: float
    """Seconds from then to the end of the operation; NaN if that failed."""


class BlockQuality(IntFlag):
    """What befell a block of vectors; stored as a bit field."""

    LINK_FAULT = 1
    """A fault of the link fell into it, or right before it."""
    MEASURED_AGAIN = 2
    """It was read again, since a guard did not trust what was read before."""
    OVERFLOW = 4
    """It holds counts of the highest code: overflow."""
    RESTORED = 8
    """A repair has restored it."""


UNKNOWN_SEQUENCE = -1
"""Stands for the number of a readout that nobody has counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNotes:
    """What is known of each block of vectors besides its times.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a quality has bits that mean nothing.
    """

    crc32c: npt.NDArray[np.uint32]
    """CRC-32C of its counts as they were read, little-endian, shape (block,)."""
    sequence: npt.NDArray[np.int64]
    """Which readout of the step it is, from 0, those that were read again counted too, shape
    (block,), ascending; `UNKNOWN_SEQUENCE` where nobody has counted."""
    quality: npt.NDArray[np.uint8]
    """`BlockQuality` bit fields, shape (block,)."""

    def __post_init__(self) -> None:
        if not len(self.crc32c) == len(self.sequence) == len(self.quality):
            raise ValueError("crc32c, sequence and quality must have one value for each block")
        if (self.quality & ~np.uint8(sum(BlockQuality))).any():
            raise ValueError("quality has bits that mean nothing")

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the datasets of a step file, by their paths."""
        return {
            "timing/crc32c": self.crc32c,
            "timing/sequence": self.sequence,
            "timing/quality": self.quality,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """When each block of a step was read: monotonic seconds since the step began.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a time or an index cannot be meant.
    """

    began_utc: str
    """When the step began, ISO 8601, UTC, to the microsecond."""
    since_run_began_s: float
    """When the step began, monotonic seconds since the run did."""
    first_vector: npt.NDArray[np.int64]
    """Index of each block's first vector in the step, shape (block,), ascending from 0."""
    began_s: npt.NDArray[np.float64]
    """When the block's first request was made, shape (block,), ascending."""
    ended_s: npt.NDArray[np.float64]
    """When its last answer was complete, shape (block,), ascending."""
    faults: tuple[RecordedFault, ...] = field(default=())
    """Faults of the link in the order they were told, so in the order of their blocks."""
    blocks: BlockNotes | None = None
    """What is known of each block besides; None before a step is finished, and in format 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.since_run_began_s <= _LONGEST_S:
            raise ValueError(f"since_run_began_s is {self.since_run_began_s}: must be {_RANGE}")
        _check_blocks(self)
        _check_faults(self)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the datasets of a step file, by their paths."""
        faults, kinds, requests = self.faults, self._kinds(), self._requests()
        return {
            "timing/first_vector": self.first_vector,
            "timing/began_s": self.began_s,
            "timing/ended_s": self.ended_s,
            "timing/fault_block": np.array([fault.block for fault in faults], np.int64),
            "timing/fault_kind": np.array([kinds.index(fault.kind) for fault in faults], np.int64),
            "timing/fault_request": np.array(
                [requests.index(fault.request) for fault in faults], np.int64
            ),
            "timing/fault_noticed_s": np.array([fault.noticed_s for fault in faults], np.float64),
            "timing/fault_recovered_s": np.array(
                [fault.recovered_s for fault in faults], np.float64
            ),
            **({} if self.blocks is None else self.blocks.to_arrays()),
        }

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of a step file, by their paths."""
        return {
            "timing/began_utc": self.began_utc,
            "timing/since_run_began_s": self.since_run_began_s,
            "timing/fault_kinds": self._kinds(),
            "timing/fault_requests": self._requests(),
        }

    @classmethod
    def from_stored(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        *,
        began_utc: str,
        since_run_began_s: float,
        kinds: Sequence[str],
        requests: Sequence[str],
    ) -> "StepTiming":
        """Return what `to_arrays` and `to_attributes` have stored.

        Raises
        ------
        ValueError
            If it cannot be meant.
        """
        names = ("block", "kind", "request", "noticed_s", "recovered_s")
        columns = [arrays[f"timing/fault_{name}"].tolist() for name in names]
        return cls(
            began_utc=began_utc,
            since_run_began_s=since_run_began_s,
            first_vector=arrays["timing/first_vector"],
            began_s=arrays["timing/began_s"],
            ended_s=arrays["timing/ended_s"],
            faults=tuple(
                RecordedFault(
                    block=block,
                    kind=_named(kinds, kind, "fault_kind"),
                    request=_named(requests, request, "fault_request"),
                    noticed_s=noticed_s,
                    recovered_s=recovered_s,
                )
                for block, kind, request, noticed_s, recovered_s in zip(*columns, strict=True)
            ),
            blocks=_stored_notes(arrays),
        )

    def _kinds(self) -> list[str]:
        return sorted({fault.kind for fault in self.faults})

    def _requests(self) -> list[str]:
        return sorted({fault.request for fault in self.faults})


def _stored_notes(arrays: Mapping[str, npt.NDArray[Any]]) -> BlockNotes | None:
    if "timing/crc32c" not in arrays:
        return None
    return BlockNotes(
        crc32c=arrays["timing/crc32c"],
        sequence=arrays["timing/sequence"],
        quality=arrays["timing/quality"],
    )


def _check_blocks(timing: StepTiming) -> None:
    blocks = len(timing.first_vector)
    if not 0 < blocks == len(timing.began_s) == len(timing.ended_s):
        raise ValueError("first_vector, began_s and ended_s must have one value for each block")
    if timing.blocks is not None and len(timing.blocks.crc32c) != blocks:
        raise ValueError("crc32c, sequence and quality must have one value for each block")
    first = timing.first_vector
    if first[0] != 0 or (np.diff(first) <= 0).any():
        raise ValueError("first_vector must ascend from 0")
    for name, times in (("began_s", timing.began_s), ("ended_s", timing.ended_s)):
        # Before the differences: those of infinite times would be no numbers.
        if not ((times >= 0) & (times <= _LONGEST_S)).all() or (np.diff(times) < 0).any():
            raise ValueError(f"{name} must be {_RANGE}, and ascend")
    if (timing.ended_s < timing.began_s).any():
        raise ValueError("ended_s of a block must not be before its began_s")


def _check_faults(timing: StepTiming) -> None:
    blocks = [fault.block for fault in timing.faults]
    if blocks != sorted(blocks) or not all(0 <= at < len(timing.began_s) for at in blocks):
        raise ValueError("fault_block must ascend, and name a block of the step")
    for fault in timing.faults:
        if not 0 <= fault.noticed_s <= _LONGEST_S:
            raise ValueError(f"fault_noticed_s is {fault.noticed_s}: must be {_RANGE}")
        if not (math.isnan(fault.recovered_s) or 0 <= fault.recovered_s <= _LONGEST_S):
            raise ValueError(f"fault_recovered_s is {fault.recovered_s}: must be {_RANGE}, or NaN")


def _named(names: Sequence[str], code: int, what: str) -> str:
    if not 0 <= code < len(names):
        raise ValueError(f"{what} is {code}: must be below {len(names)}")
    return names[code]
