"""The campaign file: TOML, checked as a whole before anything touches a device."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hil.campaign.config.guards import guard_problems
from hil.campaign.config.limits import widened
from hil.campaign.config.resolved import (
    config_name,
    parse_json,
    read_resolved,
    resolved_path,
    resolved_sha256,
)
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.config.source import ConfigSources, read_sources
from hil.campaign.config.steps_check import steps_problems
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.file_kinds import CAMPAIGN_TABLE, refuse_other_kind
from hil.core.toml_file import check_document, key_path, parse_toml, read_toml_bytes
from hil_datasets.journal import last_beginning
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A checked campaign file, with its bytes and its place."""

    config: CampaignConfig
    """What it says, with everything that it includes and that was set besides."""
    content: bytes
    """The file, byte for byte."""
    path: Path
    """Where it was read from; relative paths in it start from its folder."""
    sources: ConfigSources | None = None
    """Where each value is from; None for one that a run has stored as a whole."""

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def resolved_sha256(self) -> str:
        """Hash of what it says in all, in whatever words."""
        return resolved_sha256(self.config)


def load_campaign(
    path: Path,
    *,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    chip: str | None = None,
) -> Campaign:
    """Read and check a campaign file, with what it includes and what is set besides.

    Parameters
    ----------
    path
        The file.
    assignments
        ``key.path=value`` texts, which replace what the file and the environment say.
    environment
        Environment variables, those of the process where None; ``HIL_SET__SECTION__KEY`` replaces
        what the file says.
    chip
        Which chip of ``[devices]``; None where the campaign has one device without a name.

    Raises
    ------
    ConfigError
        If it is missing or wrong; every problem is listed with its key path and line.
    """
    content = read_toml_bytes(path)
    given = os.environ if environment is None else environment
    sources = read_sources(content, path, assignments=assignments, environment=given, chip=chip)
    return Campaign(config=_checked(sources), content=content, path=path, sources=sources)


def load_stored_campaign(run: RunDirectory) -> Campaign:
    """Read and check the configuration that a run has gone on with last.

    Raises
    ------
    DatasetError
        If it is missing, or is none any more, or is another than its journal tells of.
    """
    name = config_name(last_beginning(run.events() if run.journal_path.exists() else ()))
    path = run.path / f"{name}.toml"
    resolved = resolved_path(run, name)
    content = read_regular(path)
    try:
        if resolved.exists():
            config = parse_json(CampaignConfig, read_resolved(run), source=str(resolved))
        else:  # a run from before there were includes
            config = parse_toml(CampaignConfig, content, source=str(path))
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
    return Campaign(config=config, content=content, path=path)


def _checked(sources: ConfigSources) -> CampaignConfig:
    layers, problems = sources.layers, list(sources.problems)
    refuse_other_kind(layers.document, CAMPAIGN_TABLE, source=sources.source)
    try:
        config = check_document(
            CampaignConfig, layers.document, source=sources.source, place_of=layers.place_of
        )
    except ConfigError as error:
        found = [
            replace(problem, where=sources.spelled.get(problem.where, problem.where))
            for problem in error.problems
        ]
        raise ConfigError(sources.source, [*problems, *found]) from error
    problems += [] if problems else _widened_quantities(config, sources)
    problems += _steps_problems(config, sources)
    if problems:
        raise ConfigError(sources.source, problems)
    return config


def _steps_problems(config: CampaignConfig, sources: ConfigSources) -> list[Problem]:
    problems = []
    guards = guard_problems(
        config.guards, config.instruments, config.sweep or (), block=config.vectors.block
    )
    for path, message in (*steps_problems(config), *guards):
        place = sources.layers.place_of(path)
        source = "" if place.source == sources.source else place.source
        problems.append(Problem(key_path(path), message, place.line, source))
    return problems


def _widened_quantities(config: CampaignConfig, sources: ConfigSources) -> list[Problem]:
    problems = []
    for bench in sources.benches:
        for name, instrument in bench.document.get("instruments", {}).items():
            for key, described in instrument.get("quantities", {}).items():
                path = ("instruments", name, "quantities", key)
                quantity = config.instruments[name].quantities[key]
                message = widened(described, quantity, bench.place_of(path))
                if message:
                    place = sources.layers.place_of(path)
                    problems.append(Problem(key_path(path), message, place.line, place.source))
    return problems
