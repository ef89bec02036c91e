"""The folder of an evaluation: each finished condition is on the disk before the next begins.

::

    OUT/subject.json       what is evaluated; another subject does not mix with it
    OUT/conditions/*.npz   one file for each finished condition
    OUT/calibrations/*.npz corrections and registers of all cores, by the age of the weights;
                           stored.npz: of the run whose coefficients are taken
    OUT/switched_off/*.npz what a simulated chip predicts without each of its flaws
    OUT/baselines.npz      what the network predicts without a chip
    OUT/evaluation.h5      all of it, with names and units
    OUT/evaluation.json    the numbers of the table
    OUT/evaluation.lock    held by who is at work; never replaced
"""

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.inference.conditions.baselines import Baselines
from hil.inference.conditions.outcome import Condition, ConditionResult, calibration_name
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.findings.core_tables import CoreTables, core_tables
from hil.inference.findings.differing import differing_words
from hil.inference.findings.result_sizes import (
    ResultSizes,
    check_tables,
    checked_classes,
    checked_flags,
    checked_seconds,
    checked_shares,
)
from hil.inference.findings.sealed_arrays import Arrays, damaged, read_sealed, write_sealed
from hil_datasets.durable import PART_SUFFIX, finished_file, names_failed_writes
from hil_datasets.regular_file import read_regular

SUBJECT = "subject.json"
CONDITIONS = "conditions"
CALIBRATIONS = "calibrations"
SWITCHED_OFF = "switched_off"
BASELINES = "baselines.npz"
RESULT_FILE = "evaluation.h5"
JSON_FILE = "evaluation.json"
LOCK = "evaluation.lock"
DEMO = "demo"
"""Where the demo keeps what it made."""
_LOOKS, _BETWEEN_LOOKS_S = 5, 0.05
"""Before a folder is taken: another process may have the lock only to look what is in it."""


class EvaluationFolder:
    """Finished conditions of one evaluation.

    Parameters
    ----------
    path
        The folder, which `open_folder` checked.
    subject_sha256
        Hash of what is evaluated: every file in the folder has it.
    sizes
        What results must be of; None compares none with anything.
    """

    def __init__(
        self, path: Path, *, subject_sha256: str, sizes: ResultSizes | None = None
    ) -> None:
        self._path = path
        self._subject_sha256 = subject_sha256
        self._sizes = sizes

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
        DatasetError
            If the folder cannot be written to.
        """
        with _locked(self._path):
            yield

    def find(self, condition: Condition) -> ConditionResult | None:
        """Return a finished condition; None if it is not there.

        Raises
        ------
        DatasetError
            If its file is damaged.
        """
        path = self._path / CONDITIONS / f"{condition.name}.npz"
        arrays = self._read(path)
        if arrays is None:
            return None
        sizes = self._sizes
        try:
            errors, saturation = arrays["layer_errors"], arrays["layer_saturation"]
            return ConditionResult(
                condition=condition,
                predictions=checked_classes(arrays["predictions"], "predictions", sizes),
                layer_errors=checked_shares(errors, "layer_errors", sizes),
                layer_saturation=checked_shares(saturation, "layer_saturation", sizes, largest=1.0),
                layer_folded=checked_flags(arrays["layer_folded"], "layer_folded", sizes),
                seconds=checked_seconds(arrays["seconds"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, str(error)) from error

    def keep(self, result: ConditionResult) -> None:
        """Store a finished condition.

        Raises
        ------
        DatasetError
            If it cannot be written.
        """
        self._write(
            self._path / CONDITIONS / f"{result.condition.name}.npz",
            predictions=result.predictions,
            layer_errors=result.layer_errors,
            layer_saturation=result.layer_saturation,
            layer_folded=result.layer_folded,
            seconds=np.float64(result.seconds),
        )

    def find_baselines(self) -> Baselines | None:
        """Return what was predicted without a chip, if it is known; raise as `find`."""
        path = self._path / BASELINES
        arrays = self._read(path)
        if arrays is None:
            return None
        try:
            return Baselines(
                **{
                    one.name: checked_classes(arrays[one.name], one.name, self._sizes)
                    for one in fields(Baselines)
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, str(error)) from error

    def keep_baselines(self, baselines: Baselines) -> None:
        """Store what was predicted without a chip; raise as `keep`."""
        arrays = {one.name: getattr(baselines, one.name) for one in fields(Baselines)}
        self._write(self._path / BASELINES, **arrays)

    def find_flaw(self, flaw: str) -> npt.NDArray[np.int64] | None:
        """Return what was predicted without a flaw, if it is known; raise as `find`."""
        path = self._flaw_path(flaw)
        arrays = self._read(path)
        if arrays is None:
            return None
        try:
            return checked_classes(arrays["predictions"], "predictions", self._sizes)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, str(error)) from error

    def keep_flaw(self, flaw: str, predictions: npt.NDArray[np.int64]) -> None:
        """Store what was predicted without a flaw; raise as `keep`."""
        self._write(self._flaw_path(flaw), predictions=predictions)

    def _flaw_path(self, flaw: str) -> Path:
        return self._path / SWITCHED_OFF / f"{'_'.join(re.findall('[a-z]+', flaw.lower()))}.npz"

    def keep_cores(self, cores: CalibratedCores, *, age_s: float | None) -> None:
        """Store the calibrations of all cores at an age, None if a run had them; as `keep`."""
        self.keep_tables(core_tables(cores), age_s=age_s)

    def keep_tables(self, tables: CoreTables, *, age_s: float | None) -> None:
        """Store the calibrations of all cores at an age, as tables; as `keep_cores`."""
        self._write(self._path / CALIBRATIONS / f"{calibration_name(age_s)}.npz", **tables)

    def calibrations(self, ages_s: Iterable[float | None]) -> dict[float | None, CoreTables]:
        """Return the kept calibrations of these ages, by age; raise as `find`."""
        found = {}
        for age_s in ages_s:
            path = self._path / CALIBRATIONS / f"{calibration_name(age_s)}.npz"
            tables = self._read(path)
            if tables is None:
                continue
            try:
                check_tables(tables)
            except (IndexError, TypeError, ValueError) as error:
                raise damaged(path, str(error)) from error
            found[age_s] = tables
        return found

    def _read(self, path: Path) -> Arrays | None:
        return read_sealed(path, subject_sha256=self._subject_sha256, name=self._name(path))

    def _write(self, path: Path, **arrays: npt.ArrayLike) -> None:
        write_sealed(path, arrays, subject_sha256=self._subject_sha256, name=self._name(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._path).as_posix()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raise as `EvaluationFolder.held`."""
    path = folder / LOCK
    with names_failed_writes(path):
        file = path.open("ab")
    with file:
        for _ in range(_LOOKS):
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_BETWEEN_LOOKS_S)
        else:
            message = "another hil evaluate is at work in this folder; choose another --out"
            raise ConfigError(str(folder), [Problem("", message)])
        yield


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
    if SUBJECT not in names and names - {DEMO, LOCK, SUBJECT + PART_SUFFIX}:
        message = (
            "is not empty and holds no evaluation; choose another folder with --out (nothing "
            "was changed)"
        )
        raise ConfigError(str(path), [Problem("", message)])


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make the folder of an evaluation if it is not there; take it away again if the body fails.

    What has anything in it stays. Raises as `make_folder`.
    """
    with names_failed_writes(path):
        absent = [one for one in (path, *path.parents) if not one.exists()]
    make_folder(path)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty
            for one in absent:
                one.rmdir()
        raise


def open_folder(
    path: Path, subject: Mapping[str, str], *, sizes: ResultSizes | None = None
) -> EvaluationFolder:
    """Open the folder of an evaluation; make it if it is not there.

    Parameters
    ----------
    path
        Where.
    subject
        All that the predictions depend on, but for the condition.
    sizes
        What stored results must be of; None compares none with anything.

    Raises
    ------
    ConfigError
        If it holds something else, an evaluation of something else, or another process makes one
        in it now.
    DatasetError
        If what it says of itself is damaged, or it cannot be written to.
    """
    make_folder(path)
    said = path / SUBJECT
    if not said.exists():
        with _locked(path):  # of two that find none, one writes
            if not said.exists():
                with names_failed_writes(said), finished_file(said) as part:
                    part.write_text(json.dumps(dict(subject), indent=1) + "\n")
    _check_subject(path, said, subject)
    text = json.dumps(dict(subject), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return EvaluationFolder(path, subject_sha256=digest, sizes=sizes)


def _check_subject(path: Path, said: Path, subject: Mapping[str, str]) -> None:
    try:
        found = json.loads(read_regular(said))
        differing = differing_words(found, subject)
    except (ValueError, TypeError, RecursionError, AttributeError) as error:
        raise DatasetError(str(said), [Problem("", f"is no evaluation: {error}")]) from error
    if differing:
        message = f"holds another evaluation: {differing}; choose another folder with --out"
        raise ConfigError(str(path), [Problem("", message)])
