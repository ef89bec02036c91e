"""A run that was fitted again, in one packed file without readouts."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from hil.recorded.refit import RefitRun
from hil.recorded.refit_journal import refit_journal
from hil.recorded.stored_config import config_files
from hil_datasets.circumstance import circumstance_to_attributes
from hil_datasets.journal import parse_journal
from hil_datasets.packed.pack import entry_of
from hil_datasets.packed.stored_step import StoredStep
from hil_datasets.packed.writer import PackContent, write_pack
from hil_datasets.provenance import provenance_to_attributes
from hil_datasets.run_source import StepFacts
from hil_datasets.step_conditions import conditions_to_arrays, conditions_to_attributes
from hil_datasets.step_files.concluded import concluded_arrays, concluded_attributes, id_attributes
from hil_datasets.step_files.file import stored_attributes
from hil_datasets.step_files.schema import FILE_FORMAT, FORMAT_VERSION

_WITHOUT_BLOCK_NOTES = 1
"""Format of a step that was read before check sums of blocks were stored: it stays in it."""


def write_refit(refit: RefitRun, path: Path, *, may_replace: bool = False) -> None:
    """Write what a run has come to: the same result makes the same bytes.

    Parameters
    ----------
    refit
        The result.
    path
        The file.
    may_replace
        Whether a file that exists may be replaced.

    Raises
    ------
    ConfigError
        If the file exists and may not be replaced, or there is no such folder.
    DatasetError
        If it cannot be written, or the run not be read any more.
    """
    journal = refit_journal(refit)
    keys = sorted(result.key for result in refit.results if result.conclusion is not None)
    content = PackContent(
        entry=entry_of(refit.source, parse_journal(path, journal), keys),
        files=sorted(
            {**config_files(refit.source, refit.config), "journal.jsonl": journal}.items()
        ),
        steps=_steps(refit),
        has_readouts=False,
    )
    write_pack(path, content, may_replace=may_replace)


def _steps(refit: RefitRun) -> Iterator[StoredStep]:
    for result in sorted(refit.results, key=lambda result: result.key):
        if result.conclusion is not None:
            yield _stored(refit.facts(result))


def _stored(facts: StepFacts) -> StoredStep:
    conclusion, origin, timing = facts.conclusion, facts.origin, facts.timing
    is_known = timing is None or timing.blocks is not None
    arrays = concluded_arrays(conclusion) | conditions_to_arrays(facts.conditions)
    attributes = {
        "file_format": FILE_FORMAT,
        "format_version": FORMAT_VERSION if is_known else _WITHOUT_BLOCK_NOTES,
        "core": facts.key.core,
        "read_mode": str(facts.key.read_mode),
        "raw_sha256": facts.raw_sha256,
        **asdict(origin),
        **circumstance_to_attributes(origin.circumstance),
        **provenance_to_attributes(origin.provenance),
        **concluded_attributes(conclusion),
        **id_attributes(facts.ids),
        **conditions_to_attributes(facts.conditions),
    }
    if timing is not None:
        arrays |= timing.to_arrays()
        attributes |= timing.to_attributes()
    sizes = {
        "column": len(conclusion.flags),
        "vector": origin.calibration_vectors + origin.verification_vectors,
        "verification_vector": origin.verification_vectors,
    }
    return StoredStep(
        name=facts.key.name,
        attributes=stored_attributes(attributes),
        arrays=arrays,
        sizes=sizes,
    )
