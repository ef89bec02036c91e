"""From a packed file back to a run's folder."""

from collections.abc import Callable
from pathlib import Path

from hil.core.errors import Problem
from hil_datasets.durable import MAKING_SUFFIX, finished_file, names_failed_writes
from hil_datasets.index import write_index
from hil_datasets.new_folder import check_new_folder, new_folder
from hil_datasets.packed.packed_run import NO_READOUTS, PackedRun
from hil_datasets.packed.stored_step import StoredStep, store_step
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.run_source import NoReadoutsError
from hil_datasets.step_files.file import seal_step, written_hdf5


def unpack_run(
    packed: PackedRun,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> RunDirectory:
    """Make the folder of a run from a packed file.

    It gets its name when it is whole.

    Parameters
    ----------
    packed
        The packed file.
    folder
        The folder to make; it holds nothing yet.
    on_progress
        Who is told of the steps that are done, and how many there are.

    Raises
    ------
    NoReadoutsError
        If the file has no readouts.
    ConfigError
        If the folder holds anything.
    DatasetError
        If the file is damaged, or the folder cannot be written.
    """
    if not packed.has_readouts:
        reason = f"{NO_READOUTS}; a run's folder needs them"
        raise NoReadoutsError(str(packed.path), [Problem("", reason)])
    keys = packed.finished_steps()
    check_new_folder(folder)
    for key in keys:  # every hash, before anything is written
        packed.read_step(key)
    with new_folder(folder) as made:
        run = create_run(made, packed.read_campaign())
        for done, key in enumerate(keys):
            on_progress(done, len(keys))
            write_step_file(run.step_path(key), packed.stored(key))
        on_progress(len(keys), len(keys))
        for name in packed.file_names():
            path = made / name
            with names_failed_writes(path):
                path.parent.mkdir(exist_ok=True)
                with finished_file(path) as part:
                    part.write_bytes(packed.read_file(name))
        with names_failed_writes(run.index_path):
            write_index(run, keys)
    return RunDirectory(folder)


def write_step_file(path: Path, step: StoredStep) -> None:
    """Write a step file, sealed, with the readouts in one piece each.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    with names_failed_writes(path), finished_file(path, suffix=MAKING_SUFFIX) as making:
        with written_hdf5(making, mode="w") as file:
            store_step(file, step)
        seal_step(making)
