"""The folder of an evaluation: each finished condition is on the disk before the next begins.

::

    OUT/subject.json       what is evaluated; another subject does not mix with it
    OUT/conditions/*.npz   one file for each finished condition
    OUT/calibrations/*.npz corrections and registers of all cores, by the age of the weights
    OUT/switched_off/*.npz what a simulated chip predicts without each of its flaws
    OUT/baselines.npz      what the network predicts without a chip
    OUT/evaluation.h5      all of it, with names and units
    OUT/evaluation.json    the numbers of the table
"""

import fcntl
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.inference.baselines import Baselines
from hil.inference.core_tables import CoreTables, core_tables
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.outcome import Condition, ConditionResult, age_name
from hil_datasets.durable import PART_SUFFIX, finished_file, names_failed_writes
from hil_datasets.regular_file import read_regular

SUBJECT = "subject.json"
CONDITIONS = "conditions"
CALIBRATIONS = "calibrations"
SWITCHED_OFF = "switched_off"
BASELINES = "baselines.npz"
RESULT_FILE = "evaluation.h5"
JSON_FILE = "evaluation.json"
DEMO = "demo"
"""Where the demo keeps what it made."""


class EvaluationFolder:
    """Finished conditions of one evaluation.

    Parameters
    ----------
    path
        The folder, which `open_folder` checked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    @property
    def result_path(self) -> Path:
        """The HDF5 file."""
        return self._path / RESULT_FILE

    @property
    def json_path(self) -> Path:
        """The numbers of the table."""
        return self._path / JSON_FILE

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other evaluations out of the folder.

        Raises
        ------
        ConfigError
            If another process evaluates into it now.
        """
        with (self._path / SUBJECT).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                message = "another hil evaluate is at work in this folder; choose another --out"
                raise ConfigError(str(self._path), [Problem("", message)]) from error
            yield

    def find(self, condition: Condition) -> ConditionResult | None:
        """Return a finished condition; None if it is not there.

        Raises
        ------
        DatasetError
            If its file is damaged.
        """
        stored = _read(self._path / CONDITIONS / f"{condition.name}.npz")
        if stored is None:
            return None
        path, arrays = stored
        try:
            return ConditionResult(
                condition=condition,
                predictions=arrays["predictions"],
                layer_errors=arrays["layer_errors"],
                layer_saturation=arrays["layer_saturation"],
                layer_folded=arrays["layer_folded"],
                seconds=float(arrays["seconds"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error

    def keep(self, result: ConditionResult) -> None:
        """Store a finished condition.

        Raises
        ------
        DatasetError
            If it cannot be written.
        """
        _write(
            self._path / CONDITIONS / f"{result.condition.name}.npz",
            predictions=result.predictions,
            layer_errors=result.layer_errors,
            layer_saturation=result.layer_saturation,
            layer_folded=result.layer_folded,
            seconds=np.float64(result.seconds),
        )

    def find_baselines(self) -> Baselines | None:
        """Return what was predicted without a chip, if it is known; raise as `find`."""
        stored = _read(self._path / BASELINES)
        if stored is None:
            return None
        path, arrays = stored
        try:
            return Baselines(**{one.name: arrays[one.name] for one in fields(Baselines)})
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error

    def keep_baselines(self, baselines: Baselines) -> None:
        """Store what was predicted without a chip; raise as `keep`."""
        arrays = {one.name: getattr(baselines, one.name) for one in fields(Baselines)}
        _write(self._path / BASELINES, **arrays)

    def find_flaw(self, flaw: str) -> npt.NDArray[np.int64] | None:
        """Return what was predicted without a flaw, if it is known; raise as `find`."""
        stored = _read(self._flaw_path(flaw))
        if stored is None:
            return None
        path, arrays = stored
        try:
            return np.asarray(arrays["predictions"], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error

    def keep_flaw(self, flaw: str, predictions: npt.NDArray[np.int64]) -> None:
        """Store what was predicted without a flaw; raise as `keep`."""
        _write(self._flaw_path(flaw), predictions=predictions)

    def _flaw_path(self, flaw: str) -> Path:
        return self._path / SWITCHED_OFF / f"{'_'.join(re.findall('[a-z]+', flaw.lower()))}.npz"

    def keep_cores(self, cores: CalibratedCores, *, age_s: float) -> None:
        """Store the calibrations of all cores at an age; raise as `keep`."""
        self.keep_tables(core_tables(cores), age_s=age_s)

    def keep_tables(self, tables: CoreTables, *, age_s: float) -> None:
        """Store the calibrations of all cores at an age, as tables; raise as `keep`."""
        _write(self._path / CALIBRATIONS / f"{age_name(age_s)}.npz", **tables)

    def calibrations(self, ages_s: Iterable[float]) -> dict[float, CoreTables]:
        """Return the stored calibrations of these ages, by age; raise as `find`."""
        found = {}
        for age_s in ages_s:
            stored = _read(self._path / CALIBRATIONS / f"{age_name(age_s)}.npz")
            if stored is not None:
                found[age_s] = stored[1]
        return found


def _read(path: Path) -> tuple[Path, dict[str, npt.NDArray[Any]]] | None:
    if not path.exists():
        return None
    try:
        # numpy leaves a file open that it cannot read, if it opened it itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return path, {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _write(path: Path, **arrays: npt.ArrayLike) -> None:
    with names_failed_writes(path):
        path.parent.mkdir(exist_ok=True)
        with finished_file(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # its stub takes no array here


def _damaged(path: Path, error: Exception) -> DatasetError:
    message = f"is damaged: {error}; delete it, and it is computed again"
    return DatasetError(str(path), [Problem("", message)])


def make_folder(path: Path) -> None:
    """Make the folder of an evaluation if it is not there.

    Raises
    ------
    ConfigError
        If it cannot be made or read, or holds something else.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Problem("", f"cannot be used as output folder: {reason}")
        raise ConfigError(str(path), [problem]) from error
    if SUBJECT not in names and names - {DEMO, SUBJECT + PART_SUFFIX}:
        message = (
            "is not empty and holds no evaluation; choose another folder with --out (nothing "
            "was changed)"
        )
        raise ConfigError(str(path), [Problem("", message)])


def open_folder(path: Path, subject: Mapping[str, str]) -> EvaluationFolder:
    """Open the folder of an evaluation; make it if it is not there.

    Parameters
    ----------
    path
        Where.
    subject
        All that the predictions depend on, but for the condition.

    Raises
    ------
    ConfigError
        If it holds something else, or an evaluation of something else.
    DatasetError
        If what it says of itself is damaged.
    """
    make_folder(path)
    said = path / SUBJECT
    if not said.exists():
        with names_failed_writes(said), finished_file(said) as part:
            part.write_text(json.dumps(dict(subject), indent=1) + "\n")
        return EvaluationFolder(path)
    try:
        found = json.loads(read_regular(said))
        names = sorted(found.keys() | subject.keys())
        differing = [name for name in names if found.get(name) != subject.get(name)]
    except (ValueError, RecursionError, AttributeError) as error:
        raise DatasetError(str(said), [Problem("", f"is no evaluation: {error}")]) from error
    if differing:
        name = differing[0]
        message = (
            f"holds an evaluation with another {name.replace('_', ' ')} ({found.get(name)}, now "
            f"{subject.get(name)}); choose another folder with --out"
        )
        raise ConfigError(str(path), [Problem("", message)])
    return EvaluationFolder(path)
