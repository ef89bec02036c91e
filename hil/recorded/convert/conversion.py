"""A conversion as a whole: files and a mapping become a run directory, or nothing at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hil.campaign.config.load import Campaign
from hil.campaign.config.resolved import canonical_json, store_resolved
from hil.campaign.run_job import RunOutcome, absolute
from hil.campaign.software import package_versions, software_versions, source_commit
from hil.core.readout import ChipGeometry, ChipIdentity
from hil.recorded.convert.campaign_file import campaign_of, is_synthesised, resource_of, title_of
from hil.recorded.convert.fits_source import read_fits
from hil.recorded.convert.mapping import Form
from hil.recorded.convert.mapping_check import LoadedMapping, product_range
from hil.recorded.convert.readouts import read_blocks, whole_steps
from hil.recorded.convert.source_file import SourceFile, hash_sources
from hil.recorded.convert.step_conversion import (
    ConversionTask,
    ConvertedStep,
    DrawnReadouts,
    StagedReadouts,
    convert_step,
    stage,
)
from hil.recorded.convert.stimulus import rows_of
from hil.scale.work_pool import WorkPool
from hil_datasets.circumstance import Circumstance
from hil_datasets.durable import finished_file
from hil_datasets.index import write_index
from hil_datasets.journal_plan import event_of
from hil_datasets.new_folder import new_folder
from hil_datasets.provenance import Provenance
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.step import StepKey, StepKind, StepOrigin
from hil_datasets.step_conditions import Condition
from hil_datasets.visit_terms import VisitTerms, terms_to_json

MAPPING_FILE = "mapping.toml"
"""Name under which a run keeps the mapping file that it was converted by."""
_MOST_VECTORS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One step that is read and not yet calibrated."""

    source: StagedReadouts | DrawnReadouts
    vectors: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    mapping: LoadedMapping
    files: Sequence[SourceFile]
    steps: Mapping[StepKey, _Read]
    campaign: Campaign
    software: Mapping[str, str]
    now: Callable[[], datetime]

    def utc(self) -> str:
        return self.now().isoformat(timespec="seconds")


def convert_files(
    paths: Sequence[Path],
    mapping: LoadedMapping,
    *,
    out: Path,
    pool: WorkPool,
    now: Callable[[], datetime],
    on_step: Callable[[int, int], None] = lambda _done, _all: None,
) -> RunOutcome:
    """Make a run of recordings, calibrated step by step as a campaign calibrates.

    The run gets its name when it is whole. The same files and the same mapping give the same step
    files, byte for byte, whatever the number of workers.

    Parameters
    ----------
    paths
        The recordings.
    mapping
        What they mean.
    out
        Folder of the run.
    pool
        Who calibrates; a step is one piece of work.
    now
        The time, UTC.
    on_step
        Told how many steps are done, and how many there are.

    Raises
    ------
    ConfigError
        If a file is missing, or the folder cannot be used.
    DatasetError
        If a file is not what the mapping says, or something cannot be written.
    """
    files = hash_sources(paths)
    with new_folder(out) as made:
        steps = _read_steps(files, mapping, made.parent)
        first = next(iter(steps.values()))
        campaign = campaign_of(
            mapping,
            list(steps),
            calibration_vectors=first.vectors - mapping.says.vectors.verification,
            path=out / "campaign.toml",
        )
        job = _Job(
            mapping=mapping,
            files=files,
            steps=steps,
            campaign=campaign,
            software=software_versions(),
            now=now,
        )
        failed = _fill(job, create_run(made, campaign.content), pool, on_step)
    return RunOutcome(run=RunDirectory(out), failed=tuple(failed))


def _read_steps(
    files: Sequence[SourceFile], mapping: LoadedMapping, scratch: Path
) -> dict[StepKey, _Read]:
    says = mapping.says
    if says.form is Form.FITS:
        return {
            key: _Read(
                source=DrawnReadouts(lines=lines, says=says),
                vectors=says.stimulus.vectors,
                rows=rows_of(*product_range(says)),
                columns=lines.slope.shape[1],
            )
            for key, lines in read_fits(files, says).items()
        }
    steps = {}
    for key, readouts in whole_steps(read_blocks(files, says), says):
        rows, columns = readouts.weights.shape
        steps[key] = _Read(
            source=stage(readouts, scratch, key.name),
            vectors=len(readouts.counts),
            rows=rows,
            columns=columns,
        )
    return steps


def _fill(
    job: _Job, run: RunDirectory, pool: WorkPool, on_step: Callable[[int, int], None]
) -> list[str]:
    """Write all that a run has; return the steps that failed, and why."""
    store_resolved(run, job.campaign.config)
    with finished_file(run.path / MAPPING_FILE) as part:
        part.write_bytes(job.mapping.content)
    run.journal.append("start", utc=job.utc(), **_beginning(job))
    failed: list[str] = []
    finished: list[StepKey] = []
    with _ended(pool.map(convert_step, _tasks(job, run))) as results:
        for done, converted in enumerate(results, start=1):
            if converted.failure:
                failed.append(f"{converted.key.name}: {converted.failure}")
            else:
                finished.append(converted.key)
            _note(job, run, converted)
            on_step(done, len(job.steps))
    if finished:
        write_index(run, finished)
    run.journal.append(
        "stop",
        utc=job.utc(),
        status="incomplete" if failed else "complete",
        reason="",
        failed=failed,
        faults={},
    )
    return failed


@contextmanager
def _ended(results: Iterator[ConvertedStep]) -> Iterator[Iterator[ConvertedStep]]:
    """Wait for the workers in the end: none may still write when the folder is removed."""
    try:
        yield results
    finally:
        close = getattr(results, "close", None)
        if close is not None:
            close()


def _note(job: _Job, run: RunDirectory, converted: ConvertedStep) -> None:
    key = converted.key
    if converted.failure:
        run.journal.append("failure", utc=job.utc(), step=key.name, reason=converted.failure)
        return
    run.journal.append(
        "step",
        utc=job.utc(),
        **event_of(key),
        file=f"steps/{key.name}.h5",
        raw_sha256=converted.raw_sha256,
        concluded_sha256=converted.concluded_sha256,
        facts_sha256=converted.facts_sha256,
        errors=converted.errors,
        **({"synthesised": True} if is_synthesised(job.mapping) else {}),
    )


def _beginning(job: _Job) -> dict[str, Any]:
    identity, keys = _identity(job.mapping), list(job.steps)
    first = job.steps[keys[0]]
    geometry = ChipGeometry(
        cores=max(key.core for key in keys) + 1,
        rows=first.rows,
        columns=first.columns,
        counter_bits=job.mapping.says.chip.counter_bits,
        max_vectors=_MOST_VECTORS_AT_ONCE,
    )
    return {
        "title": title_of(job.mapping),
        "campaign": absolute(job.campaign.path),
        "campaign_sha256": job.campaign.sha256,
        "resolved_sha256": job.campaign.resolved_sha256,
        "resource": resource_of(job.mapping),
        "chip": str(identity),
        "identity": asdict(identity),
        "geometry": asdict(geometry),
        "software": dict(job.software),
        "planned": [key.name for key in keys],
        "visits": terms_to_json(_visits(job)),
        "converted_from": {file.name: file.sha256 for file in job.files},
        "mapping_sha256": job.mapping.sha256,
        "synthesised": is_synthesised(job.mapping),
    }


def _visits(job: _Job) -> list[VisitTerms]:
    visits = {key.visit for key in job.steps}
    return [
        VisitTerms(
            settings={each.name: each.at_start for each in _conditions(job.mapping, visit)},
            kinds=(StepKind.CALIBRATE,) if visit in visits else (),
        )
        for visit in range(max(visits) + 1)
    ]


def _conditions(mapping: LoadedMapping, visit: int) -> tuple[Condition, ...]:
    visits = mapping.says.visits
    if visits is None or visit >= len(visits.values):
        return ()
    instrument, _, quantity = visits.quantity.partition(".")
    value = float(np.float64(visits.values[visit]))
    return (
        Condition(
            instrument=instrument,
            quantity=quantity,
            unit=visits.unit,
            setpoint=value,
            at_start=value,
            at_end=value,
        ),
    )


def _identity(mapping: LoadedMapping) -> ChipIdentity:
    chip = mapping.says.chip
    return ChipIdentity(
        manufacturer=chip.manufacturer,
        model=chip.model,
        serial=chip.serial,
        firmware=chip.firmware,
    )


def _tasks(job: _Job, run: RunDirectory) -> Iterator[ConversionTask]:
    says = job.mapping.says
    origin = StepOrigin(
        title=title_of(job.mapping),
        campaign_sha256=job.campaign.sha256,
        resource=resource_of(job.mapping),
        chip=_identity(job.mapping),
        counter_bits=says.chip.counter_bits,
        measured_utc=says.measured.utc,
        temperature_c=says.measured.temperature_c,
        seed=0,
        calibration_vectors=0,
        verification_vectors=says.vectors.verification,
        rows_used=0,
        columns_used=0,
        software=dict(job.software),
        host=says.measured.host,
        provenance=Provenance(
            campaign=canonical_json(job.campaign.config).decode(),
            commit=source_commit(),
            packages=package_versions(),
            instruments={},
        ),
    )
    for key, read in job.steps.items():
        yield ConversionTask(
            path=run.step_path(key).absolute(),
            key=key,
            origin=replace(
                origin,
                calibration_vectors=read.vectors - says.vectors.verification,
                rows_used=read.rows,
                columns_used=read.columns,
                circumstance=Circumstance(kind=StepKind.CALIBRATE, visit=key.visit),
            ),
            config=job.campaign.config,
            conditions=_conditions(job.mapping, key.visit),
            source=read.source,
        )
