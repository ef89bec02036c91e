"""From what a step file holds, already checked for types and sizes, to what it says.

What cannot be meant is refused although the file's seal and content hash fit, because whoever
makes a file can make those.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnFlag, ColumnQuality, Correction
from hil.core.errors import DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.circumstance import Circumstance, circumstance_from_attributes
from hil_datasets.provenance import Provenance, provenance_from_attributes
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, StepRecord, hash_readouts
from hil_datasets.step_conditions import Condition, conditions_from_stored
from hil_datasets.step_files.concluded import concluded_ids, concluded_sha256, id_attributes
from hil_datasets.step_files.products import products_misfit
from hil_datasets.step_files.quality_ranges import quality_misfit
from hil_datasets.step_files.schema import QUALITY_DATASETS
from hil_datasets.step_files.stored_json import (
    read_chip_identity,
    read_count_or_none,
    read_errors,
    read_names,
    read_nmpu_format,
    read_texts,
)
from hil_datasets.step_timing import StepTiming

T = TypeVar("T")

_KNOWN_FLAGS = sum(ColumnFlag)


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
        self._source = source
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

    def key(self) -> StepKey:
        """Return which step it is.

        Raises
        ------
        DatasetError
            If it names none.
        """
        circumstance = self.circumstance()
        return StepKey(
            self._count("core"),
            self._made("read_mode", ReadMode),
            visit=circumstance.visit,
            kind=circumstance.kind,
        )

    def chip(self) -> ChipIdentity:
        """Return which chip it is of; raises what `key` does."""
        return self._made("chip", read_chip_identity)

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
            counter_bits=self._count("counter_bits", lowest=1, highest=16),
            measured_utc=attributes["measured_utc"],
            temperature_c=self._finite("temperature_c"),
            seed=attributes["seed"],
            calibration_vectors=self._count("calibration_vectors"),
            verification_vectors=self._count("verification_vectors"),
            rows_used=self._count("rows_used", lowest=1, highest=rows),
            columns_used=self._count("columns_used", lowest=1, highest=columns),
            first_row=self._count("first_row"),
            first_column=self._count("first_column"),
            software=self._made("software", read_texts),
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

    def _conclusion(self) -> StepConclusion:
        arrays, attributes = self._arrays, self._attributes
        fmt = self._made("coefficients/nmpu", read_nmpu_format)
        self._check_codes("coefficients/flags", _KNOWN_FLAGS, "has bits that mean nothing")
        if not 0 < attributes["correction/output_lsb"] < math.inf:
            raise self._error("/correction", "attribute output_lsb: must be positive and finite")
        return StepConclusion(
            output_lsb=attributes["correction/output_lsb"],
            global_gain=self._finite("correction/global_gain"),
            correction=Correction(
                a_p=arrays["correction/a_p"],
                a_n=arrays["correction/a_n"],
                b=arrays["correction/b"],
            ),
            a_p_se=arrays["correction/a_p_errors"],
            a_n_se=arrays["correction/a_n_errors"],
            b_se=arrays["correction/b_errors"],
            residual_rms=arrays["correction/residual_rms"],
            r_squared=arrays["correction/r_squared"],
            saturated_counts=arrays["correction/saturated_counts"],
            fmt=fmt,
            registers=self._registers(fmt),
            flags=arrays["coefficients/flags"],
            outputs=arrays.get("verification/outputs"),
            column_rms=arrays["verification/column_rms"],
            errors=self.errors(),
            nmpu_mismatches=self._made("verification/nmpu_mismatches", read_count_or_none),
            errors_all_columns=self._made("verification/errors_all_columns", read_errors),
            quality=self._quality(),
        )

    def errors(self) -> dict[str, float]:
        """Return the error of each correction; raises what `key` does."""
        return self._made("verification/errors", read_errors)

    def _registers(self, fmt: NmpuFormat) -> NmpuRegisters:
        arrays = self._arrays
        self._check_codes("coefficients/swap", 1, "must be 0 or 1")
        registers = NmpuRegisters(
            scale_p=arrays["coefficients/scale_p"],
            scale_n=arrays["coefficients/scale_n"],
            offset=arrays["coefficients/offset"],
            swap=arrays["coefficients/swap"].astype(np.bool_),
        )
        try:
            registers.check_fits(fmt)
        except ValueError as error:
            raise self._error("/coefficients", str(error)) from error
        return registers

    def _quality(self) -> ColumnQuality | None:
        if QUALITY_DATASETS[0] not in self._arrays:
            return None
        arrays = {path.rpartition("/")[2]: self._arrays[path] for path in QUALITY_DATASETS}
        for name, array in arrays.items():
            message = quality_misfit(name, array)
            if message:
                raise self._error(f"/quality/{name}", message)
        try:
            return ColumnQuality(**arrays)
        except ValueError as error:
            raise self._error("/quality", str(error)) from error

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
        return self._made(attribute, read_names)

    def _made(self, name: str, make: Callable[[str], T]) -> T:
        try:
            return make(self._attributes[name])
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            owner, _, short_name = name.rpartition("/")
            raise self._error(f"/{owner}", f"attribute {short_name}: {error}") from error

    def _count(self, name: str, *, lowest: int = 0, highest: int | None = None) -> int:
        value = int(self._attributes[name])
        if value < lowest or (highest is not None and value > highest):
            allowed = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
            raise self._error("/", f"attribute {name}: is {value}: must be {allowed}")
        return value

    def _finite(self, name: str) -> float:
        value = float(self._attributes[name])
        if not math.isfinite(value):
            owner, _, short_name = name.rpartition("/")
            raise self._error(f"/{owner}", f"attribute {short_name}: is {value}: must be finite")
        return value

    def _check_codes(self, name: str, allowed_bits: int, rule: str) -> None:
        codes = self._arrays[name]
        is_wrong = (codes & ~codes.dtype.type(allowed_bits)) != 0
        if is_wrong.any():
            column = int(np.argmax(is_wrong))
            raise self._error(f"/{name}", f"of column {column} is {codes[column]}: {rule}")

    def _error(self, where: str, message: str) -> DatasetError:
        return DatasetError(self._source, [Problem(where, message)])
