"""Walking back from a column's coefficients, link by link."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.circumstance import CorrectionSource
from hil_datasets.run_files import read_run_file
from hil_datasets.run_source import NoReadoutsError, RunSource, StepFacts
from hil_datasets.seal import check_seal, seal_of
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.told_facts import facts_misfit, facts_sha256
from hil_datasets.step_programming import StepProgrammings, read_span_s
from hil_datasets.trace.beginning import beginning_links, sought_parent
from hil_datasets.trace.bench import chip_link, conditions_link, programming_link, software_link
from hil_datasets.trace.blocks import blocks_link
from hil_datasets.trace.column import column_values
from hil_datasets.trace.journal import StepStory, former_hashes, without_nan
from hil_datasets.trace.links import ColumnTrace, LinkState, SoughtParent, TraceLink

_OK, _BROKEN, _UNCHECKED = LinkState.OK, LinkState.BROKEN, LinkState.UNCHECKED


def trace_column(source: RunSource, key: StepKey, column: int) -> ColumnTrace:
    """Return the way back from a column's coefficients.

    Parameters
    ----------
    source
        The run.
    key
        The finished step that they are of.
    column
        Which column, 0 <= column < columns.

    Raises
    ------
    ConfigError
        If the step has no such column.
    DatasetError
        If the journal cannot be read, or does not call the step finished.
    """
    if key not in source.finished_steps():
        problem = Problem("", f"this run has no finished step {key.name}")
        raise DatasetError(str(source.path), [problem])
    return _Walk(source, key, column).trace()


class _Walk:
    def __init__(self, source: RunSource, key: StepKey, column: int) -> None:
        self._source = source
        self._key = key
        self._column = column
        self._events = source.events()
        self._facts: StepFacts | None = None
        self._record: StepRecord | None = None
        self._damage = ""
        self._read()
        self._story = StepStory.of(
            self._events, key, self._facts.origin.campaign_sha256 if self._facts else None
        )

    def trace(self) -> ColumnTrace:
        facts = self._facts
        if facts is not None and not 0 <= self._column < len(facts.conclusion.flags):
            columns = len(facts.conclusion.flags)
            message = f"column {self._column}: {self._key.name} has columns 0 to {columns - 1}"
            raise ConfigError(str(self._source.path), [Problem("", message)])
        return ColumnTrace(
            run=self._source.path,
            key=self._key,
            column=self._column,
            values=None if facts is None else column_values(facts.conclusion, self._column),
            links=tuple(self._links()),
            sought=None if facts is None else self._sought(facts),
        )

    def _links(self) -> Iterator[TraceLink]:
        if self._facts is None:
            yield self._file()
            for name in ("coefficients", "correction", "conclusions", "readouts"):
                reason = "cannot be read: its file is damaged or missing"
                yield TraceLink(name=name, state=_UNCHECKED, reason=reason)
        else:
            yield from self._links_of(self._facts)
        yield from beginning_links(self._source, self._key.name, self._story.beginning)
        yield from self._campaign()
        yield self._journal()

    def _sought(self, facts: StepFacts) -> SoughtParent | None:
        return sought_parent(
            self._key.name,
            self._story.beginning,
            facts.ids,
            facts.raw_sha256,
            has_readouts=self._record is not None or bool(self._damage),
        )

    def _links_of(self, facts: StepFacts) -> Iterator[TraceLink]:
        yield self._coefficients(facts)
        yield self._correction(facts)
        yield self._conclusions(facts)
        source_of = facts.origin.circumstance.correction_of
        if source_of is not None:
            yield self._judged(facts, source_of)
        yield self._readouts(facts)
        raw = None if self._record is None else self._record.raw
        vectors = facts.origin.calibration_vectors + facts.origin.verification_vectors
        yield blocks_link(facts.timing, raw, self._column, vectors=vectors)
        yield self._file()
        yield conditions_link(facts, self._events)
        yield chip_link(facts, self._story.beginning)
        weights = None if self._record is None else self._record.weights
        lines = StepProgrammings(enumerate(self._events, start=1))
        problem = lines.problem(self._key, read_s=read_span_s(facts.timing))
        yield programming_link(self._story.programming, weights, problem=problem)
        yield software_link(facts)

    def _read(self) -> None:
        """Read the step as far as it can be, each hash in it checked, without its journal."""
        try:
            if self._step_file is not None:
                # Not held to the journal: what they differ in is told link by link.
                record = read_step(self._step_file)
                if record.key != self._key:
                    self._damage = f"{self._step_file} holds step {record.key.name}"
                    return
                self._record, self._facts = record, StepFacts.of(record)
                return
            self._facts = self._source.read_facts(self._key)
            self._record = self._source.read_step(self._key)
        except NoReadoutsError:
            pass
        except DatasetError as error:
            self._damage = "; ".join(str(problem) for problem in error.problems)
            self._facts = self._facts or self._undamaged_facts()

    def _undamaged_facts(self) -> StepFacts | None:
        """Return what was concluded where only the readouts are damaged."""
        try:
            return self._source.read_facts(self._key)
        except DatasetError:
            return None

    @cached_property
    def _step_file(self) -> Path | None:
        """The file of the step; None in a packed file."""
        path = self._source.path
        return path / "steps" / f"{self._key.name}.h5" if path.is_dir() else None

    def _coefficients(self, facts: StepFacts) -> TraceLink:
        return TraceLink(
            name="coefficients",
            state=_OK,
            reason="its id was made again from registers, NMPU format and output step",
            content_id=facts.ids.coefficients,
            facts={"parents": [facts.ids.correction], "nmpu": facts.conclusion.fmt.to_dict()},
        )

    def _correction(self, facts: StepFacts) -> TraceLink:
        origin = facts.origin
        return TraceLink(
            name="correction",
            state=_OK,
            reason="its id was made again from gains, offsets and standard errors",
            content_id=facts.ids.correction,
            facts={
                "parents": [facts.ids.raw],
                "global_gain": float(facts.conclusion.global_gain),
                "calibration_vectors": origin.calibration_vectors,
                "verification_vectors": origin.verification_vectors,
            },
        )

    def _conclusions(self, facts: StepFacts) -> TraceLink:
        """Return all that was concluded: a correction of one's own making has an id that fits."""
        found = concluded_sha256(facts.conclusion)
        told = facts_sha256(facts.key, facts.origin, facts.conditions)
        journaled = self._story.finished.get("concluded_sha256")
        state, reason = _OK, "made again from all that was concluded, and as the journal says"
        if journaled is None:
            state, reason = _UNCHECKED, "the journal does not hold the conclusions"
        elif found != journaled:
            state, reason = _BROKEN, f"the journal says {journaled}"
        elif message := facts_misfit(told, self._story.finished.get("facts_sha256", "")):
            state, reason = _BROKEN, message
        return TraceLink(name="conclusions", state=state, reason=reason, content_id=found)

    def _judged(self, facts: StepFacts, of: CorrectionSource) -> TraceLink:
        """Return the calibration whose correction a step carries that judges it."""
        told = {"step": of.step, "raw_sha256": of.raw_sha256}
        state, reason = self._checked_source(facts, of.step, of.raw_sha256)
        return TraceLink(
            name="judged calibration",
            state=state,
            reason=reason,
            content_id=of.raw_sha256,
            facts=told,
        )

    def _checked_source(
        self, facts: StepFacts, step: str, raw_sha256: str
    ) -> tuple[LinkState, str]:
        keys = [key for key in self._source.finished_steps() if key.name == step]
        if raw_sha256 in former_hashes(self._events, step):
            return _UNCHECKED, f"{step} had these readouts before it was repaired"
        if not keys:
            return _BROKEN, f"this run has no finished step {step}"
        try:
            made = self._source.read_facts(keys[0])
        except DatasetError as error:
            return _BROKEN, "; ".join(str(problem) for problem in error.problems)
        if made.raw_sha256 != raw_sha256:
            return _BROKEN, f"{step} has the readouts {made.raw_sha256}"
        if made.ids.correction != facts.ids.correction:
            return _BROKEN, f"the correction of {step} is {made.ids.correction}"
        return _OK, "it has these readouts and made this correction"

    def _readouts(self, facts: StepFacts) -> TraceLink:
        told: dict[str, Any] = {"step": self._key.name}
        if self._record is not None:
            told["shape"] = list(self._record.raw.shape)
        journaled = self._story.finished.get("raw_sha256")
        state, reason = _OK, "made again from weights, inputs and counts, and as the journal says"
        if journaled != facts.raw_sha256:
            state, reason = _BROKEN, f"the journal says {journaled}"
        elif self._damage:
            state, reason = _BROKEN, self._damage
        elif self._record is None:
            state, reason = _UNCHECKED, "as the journal says; the readouts are not in this file"
        return TraceLink(
            name="readouts", state=state, reason=reason, content_id=facts.raw_sha256, facts=told
        )

    def _file(self) -> TraceLink:
        path = self._step_file
        if path is None:
            packed = {"file": str(self._source.path), "group": f"/entry/steps/{self._key.name}"}
            state, reason = _OK, "its check sum was compared; hil data verify compares its SHA-256"
            if self._damage:
                state, reason = _BROKEN, self._damage
            return TraceLink(name="file", state=state, reason=reason, facts=packed)
        told: dict[str, Any] = {"file": str(path)}
        try:
            told["bytes"] = path.stat().st_size
            check_seal(path)
        except (OSError, ValueError) as error:
            reason = self._damage or str(error)
            return TraceLink(name="file", state=_BROKEN, reason=reason, facts=told)
        if self._facts is None:
            return TraceLink(name="file", state=_BROKEN, reason=self._damage, facts=told)
        reason = "every byte after the seal has the SHA-256 of the seal"
        return TraceLink(
            name="file", state=_OK, reason=reason, content_id=seal_of(path), facts=told
        )

    def _campaign(self) -> Iterator[TraceLink]:
        beginning = self._story.beginning
        wanted = self._facts.origin.campaign_sha256 if self._facts else None
        if not beginning:
            reason = f"no start or resume of the journal has the campaign {wanted}"
            yield TraceLink(name="campaign", state=_BROKEN, reason=reason, content_id=wanted or "")
            return
        name = beginning.get("config") or "campaign"
        told = {key: beginning[key] for key in ("title", "campaign") if key in beginning}
        sha256 = wanted or beginning.get("campaign_sha256")
        yield self._hashed_file("campaign", f"{name}.toml", sha256, told)
        resolved = self._resolved(f"{name}.resolved.json", beginning.get("resolved_sha256"))
        if resolved is not None:
            yield resolved

    def _resolved(self, file: str, journaled: str | None) -> TraceLink | None:
        """Return the campaign with all that is said anywhere; None if nobody tells of it."""
        what = "resolved campaign"
        provenance = self._facts.origin.provenance if self._facts else None
        stored = None if provenance is None else provenance.resolved_sha256
        if stored is not None and journaled not in {None, stored}:
            reason = f"the journal says {journaled}"
            return TraceLink(name=what, state=_BROKEN, reason=reason, content_id=stored)
        if journaled is not None:
            return self._hashed_file(what, file, journaled, {})
        if stored is None:
            return None
        reason = "the step holds its text, which has this SHA-256"
        return TraceLink(name=what, state=_OK, reason=reason, content_id=stored)

    def _hashed_file(
        self, what: str, name: str, sha256: str | None, told: Mapping[str, Any]
    ) -> TraceLink:
        facts = {"file": name, **told}
        try:
            found = hashlib.sha256(read_run_file(self._source, name)).hexdigest()
        except DatasetError as error:
            reason = f"{name}: {error.problems[0].message}"
            return TraceLink(
                name=what, state=_BROKEN, reason=reason, content_id=sha256 or "", facts=facts
            )
        if sha256 is None:
            state, reason = _UNCHECKED, "no hash of it is told"
        elif found == sha256:
            state, reason = _OK, "the file has this SHA-256"
        else:
            state, reason = _BROKEN, f"the file has the SHA-256 {found}"
        return TraceLink(
            name=what, state=state, reason=reason, content_id=sha256 or found, facts=facts
        )

    def _journal(self) -> TraceLink:
        told = without_nan(self._story.told)
        reason = "what the journal tells of the step"
        return TraceLink(name="journal", state=_UNCHECKED, reason=reason, facts={"events": told})
