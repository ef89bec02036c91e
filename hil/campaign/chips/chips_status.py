"""How the runs of several chips stand."""

import math
from dataclasses import dataclass
from datetime import datetime

from hil.campaign.chips.chips_folder import ChipsFolder
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_status import RunStatus, read_status
from hil.core.errors import DatasetError
from hil_datasets.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipStatus:
    """How the run of one chip stands."""

    chip: str
    """Name of the chip."""
    folder: str
    """Its run directory."""
    status: RunStatus | None
    """How the run stands; None if it has not begun, or cannot be read."""
    problem: str
    """Why it cannot be read; empty if it can."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.status is None or self.status.state.is_over


def read_chips_status(
    folder: ChipsFolder, *, now: datetime, table: ProcessTable
) -> list[ChipStatus]:
    """Find out how the run of each chip stands; nothing is written."""
    return [_chip_status(folder, chip, now, table) for chip in folder.chips]


def _chip_status(folder: ChipsFolder, chip: str, now: datetime, table: ProcessTable) -> ChipStatus:
    path = folder.path / chip
    try:
        status = read_status(path, now=now, table=table)
    except DatasetError as error:
        problem = "; ".join(map(str, error.problems)) if folder.has_begun(chip) else "has not begun"
        return ChipStatus(chip=chip, folder=str(path), status=None, problem=problem)
    return ChipStatus(chip=chip, folder=str(path), status=status, problem="")


def worst_nmpu_error(run: RunDirectory) -> float | None:
    """Return the largest relative L2 error of a finished step's registers; None if there is none.

    Raises
    ------
    DatasetError
        If the journal is damaged.
    """
    events = run.events() if run.journal_path.is_file() else []
    errors = [event.get("errors", {}).get("nmpu") for event in events if event["event"] == "step"]
    known = [error for error in errors if isinstance(error, int | float) and math.isfinite(error)]
    return max(known, default=None)
