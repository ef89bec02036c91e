"""Readouts that are not to be trusted: the alarm that says so, and where they are kept."""

from enum import Enum
from pathlib import Path

import numpy as np

from hil.core.errors import HilError
from hil_datasets.durable import finished_file, names_failed_writes, sync_file
from hil_datasets.step_files.writer import StoredBlock

FOLDER = "suspect"
"""Folder of a run that keeps them."""


class AlarmKind(Enum):
    """What a guard has found, which decides what clears it."""

    CONDITION = "condition"
    """A temperature or a reading: clears when it is within its limits again."""
    ROOM = "room"
    """The disk is nearly full: clears when there is room; what was read is good."""
    TIME = "time"
    """The run has taken too long: never clears; what was read is good."""
    LINK = "link"
    """Too many faults of the link: clears when some questions are answered without one."""
    ANSWER = "answer"
    """The chip answers otherwise than before: clears when it answers as before."""


class SuspectBlocksError(HilError):
    """A guard's alarm: what was read since its last good check must be measured again."""

    def __init__(self, first_vector: int, reason: str, kind: AlarmKind) -> None:
        self.first_vector = first_vector
        """The first vector of the step that is suspect."""
        self.reason = reason
        """What is wrong, with the value and what is allowed."""
        self.kind = kind
        """What was found."""
        super().__init__(f"{reason}; vectors from {first_vector} on are suspect")


def keep_suspect(run: Path, step: str, first: int, block: StoredBlock, *, reason: str) -> str:
    """Store suspect readouts beside the steps; return their file, relative to the run.

    Parameters
    ----------
    run
        The run's folder.
    step
        Name of the step.
    first
        Index of the first suspect vector in the step.
    block
        The readouts.
    reason
        Why they are suspect.

    Raises
    ------
    DatasetError
        If they cannot be written.
    """
    folder = run / FOLDER
    stem = f"{step}-{first}-{len(block.counts)}"
    with names_failed_writes(folder):
        if not folder.is_dir():
            folder.mkdir()
            sync_file(run)
        path = folder / f"{stem}.npz"
        times = 1
        while path.exists():  # the same vectors were suspect before
            times += 1
            path = folder / f"{stem}-{times}.npz"
        with finished_file(path) as part, part.open("wb") as file:
            np.savez(
                file,
                first_vector=np.int64(first),
                counts=block.counts,
                expected=block.expected,
                reason=np.array(reason),
            )
    return str(path.relative_to(run))
