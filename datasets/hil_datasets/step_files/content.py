"""From what a step file holds, already checked for types and sizes, to what it says.

What cannot be meant is refused although the file's seal and content hash fit, because whoever
makes a file can make those.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnQuality
from hil.core.errors import DatasetError, Problem
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.circumstance import Circumstance, circumstance_from_attributes
from hil_datasets.provenance import Provenance, provenance_from_attributes
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, StepRecord, hash_readouts
from hil_datasets.step_conditions import Condition, conditions_from_stored
from hil_datasets.step_files.concluded import concluded_ids, concluded_sha256, id_attributes
from hil_datasets.step_files.products import products_misfit
from hil_datasets.step_files.stored_conclusion import (
    read_conclusion,
    read_quality,
    read_step_errors,
)
from hil_datasets.step_files.stored_json import read_chip_identity, read_texts
from hil_datasets.step_files.stored_values import StoredValues
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.step_timing import StepTiming


class StepContent:
    """The content of one step file.

    Parameters
    ----------
    source
        Name of the file, for messages.
    attributes
        Value per path of `STEP_ATTRIBUTES`, JSON as its text.
    arrays
        Array per path of `STEP_DATASETS`, of matching sizes; readouts may be left out.
    sizes
        How long each axis is; without it, as the weights have it.
    """

    def __init__(
        self,
        source: str,
        attributes: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._values = StoredValues(source, attributes, arrays)
        self._attributes = attributes
        self._arrays = arrays
        if sizes is None and "weights" in arrays:
            sizes = dict(zip(("row", "column"), arrays["weights"].shape, strict=True))
        self._sizes = sizes or {}

    def record(self) -> StepRecord:
        """Return what the file says.

        Raises
        ------
        DatasetError
            If it does not match its content hash, or a value is impossible.
        """
        arrays = self._arrays
        raw_sha256 = self._checked_hash()
        self._check_expected()
        self._check_ids()
        return StepRecord(
            key=self.key(),
            origin=self.origin(),
            weights=arrays["weights"],
            inputs=arrays["inputs"],
            raw=arrays["raw"],
            expected=arrays["expected"],
            conclusion=self._conclusion(),
            raw_sha256=raw_sha256,
            timing=self.timing(),
            conditions=self._conditions(),
        )

    def facts(self) -> StepFacts:
        """Return what the file says besides its readouts; raises what `record` does."""
        self._check_ids()
        return StepFacts(
            key=self.key(),
            origin=self.origin(),
            conclusion=self._conclusion(),
            raw_sha256=self._attributes["raw_sha256"],
            timing=self.timing(),
            conditions=self._conditions(),
        )

    def problems(self) -> list[Problem]:
        """Return everything that `record` would refuse, one after the other."""
        own = (self._conclusion, self._quality, self.timing, self._conditions, self._check_ids)
        parts: tuple[Callable[[], object], ...] = (self.key, self.origin, *own)
        if "raw" in self._arrays:  # packed without readouts, there is nothing to hash
            parts = (self._checked_hash, self._check_expected, *parts)
        found: dict[Problem, None] = {}
        for part in parts:
            try:
                part()
            except DatasetError as error:
                found |= dict.fromkeys(error.problems)
        return list(found)

    def _checked_hash(self) -> str:
        raw_sha256 = hash_readouts(*(self._arrays[name] for name in ("weights", "inputs", "raw")))
        if raw_sha256 != self._attributes["raw_sha256"]:
            raise self._error("/raw", "weights, inputs and counts do not match raw_sha256")
        return raw_sha256

    def _check_expected(self) -> None:
        arrays = self._arrays
        message = products_misfit(arrays["weights"], arrays["inputs"], arrays["expected"])
        if message:
            raise self._error("/expected", message)

    @property
    def counts(self) -> npt.NDArray[np.uint16] | None:
        """The counts, shape (vector, polarity, column); None where they were not read."""
        return self._arrays.get("raw")

    def _check_ids(self) -> None:
        """Compare the ids with what they are the hashes of; files of version 1 have none."""
        if "correction/id" not in self._attributes:
            return
        ids = concluded_ids(self._conclusion(), self._attributes["raw_sha256"], self.circumstance())
        for path, wanted in id_attributes(ids).items():
            found = self._attributes[path]
            if (self.names(path) if isinstance(wanted, list) else found) != wanted:
                owner, _, name = path.rpartition("/")
                message = f"attribute {name}: is {found:.80}: its content has {wanted}"
                raise self._error(f"/{owner}", message)

    def concluded_sha256(self) -> str:
        """Return the hash of what was concluded; raises what `facts` does."""
        return concluded_sha256(self._conclusion())

    def facts_sha256(self) -> str:
        """Return the hash of what it says besides; raises what `facts` does."""
        return facts_sha256(self.key(), self.origin(), self._conditions())

    def key(self) -> StepKey:
        """Return which step it is.

        Raises
        ------
        DatasetError
            If it names none.
        """
        circumstance = self.circumstance()
        return StepKey(
            self._values.count("core"),
            self._values.made("read_mode", ReadMode),
            visit=circumstance.visit,
            kind=circumstance.kind,
        )

    def chip(self) -> ChipIdentity:
        """Return which chip it is of; raises what `key` does."""
        return self._values.made("chip", read_chip_identity)

    def origin(self) -> StepOrigin:
        """Return where its data come from; no array has to be there.

        Raises
        ------
        DatasetError
            If a value is impossible.
        """
        attributes = self._attributes
        rows, columns = self._sizes.get("row"), self._sizes.get("column")
        return StepOrigin(
            title=attributes["title"],
            campaign_sha256=attributes["campaign_sha256"],
            resource=attributes["resource"],
            chip=self.chip(),
            counter_bits=self._values.count("counter_bits", lowest=1, highest=16),
            measured_utc=attributes["measured_utc"],
            temperature_c=self._values.finite("temperature_c"),
            seed=attributes["seed"],
            calibration_vectors=self._values.count("calibration_vectors"),
            verification_vectors=self._values.count("verification_vectors"),
            rows_used=self._values.count("rows_used", lowest=1, highest=rows),
            columns_used=self._values.count("columns_used", lowest=1, highest=columns),
            first_row=self._values.count("first_row"),
            first_column=self._values.count("first_column"),
            software=self._values.made("software", read_texts),
            host=attributes["host"],
            circumstance=self.circumstance(),
            provenance=self.provenance(),
        )

    def provenance(self) -> Provenance | None:
        """Return what it was made with; raises what `key` does."""
        try:
            return provenance_from_attributes(self._attributes)
        except ValueError as error:
            raise self._error("/provenance", str(error)) from error

    def circumstance(self) -> Circumstance:
        """Return under what the step was taken; raises what `key` does."""
        try:
            return circumstance_from_attributes(self._attributes)
        except ValueError as error:
            raise self._error("/circumstance", str(error)) from error

    def errors(self) -> dict[str, float]:
        """Return the error of each correction; raises what `key` does."""
        return read_step_errors(self._values)

    def timing(self) -> StepTiming | None:
        """Return when its blocks were read, if it says so; raises what `key` does."""
        arrays, attributes = self._arrays, self._attributes
        if "timing/first_vector" not in arrays:
            return None
        names = [self.names(f"timing/fault_{what}") for what in ("kinds", "requests")]
        try:
            timing = StepTiming.from_stored(
                arrays,
                began_utc=attributes["timing/began_utc"],
                since_run_began_s=attributes["timing/since_run_began_s"],
                kinds=names[0],
                requests=names[1],
            )
        except ValueError as error:
            raise self._error("/timing", str(error)) from error
        vectors = attributes["calibration_vectors"] + attributes["verification_vectors"]
        if timing.first_vector[-1] >= vectors:
            raise self._error("/timing", f"first_vector must be below the {vectors} vectors")
        return timing

    def _conditions(self) -> tuple[Condition, ...]:
        if "conditions/setpoint" not in self._arrays:
            return ()
        names = {
            what: self.names(f"conditions/{what}")
            for what in ("instruments", "quantities", "units")
        }
        try:
            return conditions_from_stored(self._arrays, **names)
        except ValueError as error:
            raise self._error("/conditions", str(error)) from error

    def names(self, attribute: str) -> list[str]:
        """Return a list of names that is stored as JSON; raises what `key` does."""
        return self._values.names(attribute)

    def _conclusion(self) -> StepConclusion:
        return read_conclusion(self._values)

    def _quality(self) -> ColumnQuality | None:
        return read_quality(self._values)

    def _error(self, where: str, message: str) -> DatasetError:
        return self._values.error(where, message)
