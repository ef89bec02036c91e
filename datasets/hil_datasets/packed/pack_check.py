"""Looking at a packed file, in a process that HDF5 may end: see `GuardedReader`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, HilError
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.step_check import problem, tell
from hil_datasets.packed.layout import PACK_FORMAT
from hil_datasets.packed.opened_pack import OpenedPack, opened_pack
from hil_datasets.regular_file import check_regular
from hil_datasets.seal import check_seal, seal_of
from hil_datasets.step_files.reader import examine_group
from hil_datasets.step_files.schema import RAW_DATASETS


def check_pack(path: Path, *, folder: str, is_quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a packed file but for its steps, then what it holds.

    Parameters
    ----------
    path
        The packed file.
    folder
        Where its other files are written to, and an empty file for each step: what is checked
        there is how they fit together.
    is_quick
        Leaves out the checksum.
    """
    try:
        check_regular(path)
        (seal_of if is_quick else check_seal)(path, form=PACK_FORMAT)
    except DatasetError as error:
        yield problem(FindingKind.REFERENCE, "", error.problems[0].message)
        return
    except (OSError, ValueError) as error:
        yield problem(FindingKind.CHECKSUM, "/", str(error))
    try:
        with opened_pack(path) as pack:
            attributes = pack.attributes()
            names = pack.step_names()
            yield {"pack": {"has_readouts": attributes["has_readouts"] == 1, "steps": names}}
            yield from _write_files(pack, Path(folder))
    except DatasetError as error:
        for each in error.problems:
            yield problem(FindingKind.SCHEMA, each.where, each.message)


def _write_files(pack: OpenedPack, folder: Path) -> Iterator[dict[str, Any]]:
    for name in pack.file_names():
        try:
            content = pack.read_file(name)
        except DatasetError as error:
            for each in error.problems:
                yield problem(FindingKind.SCHEMA, each.where, each.message)
            continue
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)


def check_packed_step(
    path: Path, *, name: str, has_readouts: bool, is_quick: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a step of a packed file, then what it says of itself.

    Parameters
    ----------
    path
        The packed file.
    name
        Name of the step.
    has_readouts
        Whether the step must have readouts.
    is_quick
        Leaves out the values of arrays.
    """
    try:
        with opened_pack(path) as pack:
            step = pack.step(name, needs_readouts=has_readouts)
            datasets, _ = step.datasets()
            there = [path for path in RAW_DATASETS if path in datasets]
            if there and not has_readouts:
                message = f"has {', '.join(there)}: has_readouts of the file says that it has none"
                yield problem(FindingKind.SCHEMA, "", message)
            yield from tell(examine_group(step, reads_arrays=not is_quick))
    except DatasetError as error:
        for each in error.problems:
            yield problem(FindingKind.SCHEMA, each.where, each.message)
    except HilError as error:  # the filters are not installed
        yield problem(FindingKind.UNREADABLE, "", str(error))
