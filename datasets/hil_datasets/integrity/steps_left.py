"""Which steps a damaged run has, or was going to have, and in which order they are saved."""

from collections.abc import Mapping
from pathlib import Path

from hil_datasets.integrity.journal_check import CheckedJournal
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKind

STEP, PART = ".h5", ".h5.part"
"""How the files of finished and of begun steps end."""


def calibrations_first(item: tuple[str, Path]) -> tuple[int, str]:
    """Sort calibrations first: others carry their corrections."""
    name = item[0]
    kinds = [kind for kind in StepKind if kind is not StepKind.CALIBRATE]
    return int(any(name.endswith(f"_{kind}") for kind in kinds)), name


def step_files(run: RunDirectory) -> dict[str, Path]:
    """Return the file of each step by its name: the finished one, or else the partial one."""
    found: dict[str, Path] = {}
    for suffix in (STEP, PART):
        for path in sorted((run.path / "steps").glob(f"*{suffix}")):
            if path.is_file():
                found.setdefault(path.name.removesuffix(suffix), path)
    return found


def never_taken(journal: CheckedJournal, files: Mapping[str, Path]) -> list[str]:
    """Return the steps that were planned and of which nothing is told, and no file is there."""
    known = {key.name for key in (*journal.steps, *journal.skipped)} | set(files)
    known |= {event.get("step", "") for event in journal.of("failure")}
    return [name for name in journal.planned if name not in known]
