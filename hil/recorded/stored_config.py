"""The configuration that a run was made with, whether a folder holds the run or one file."""

import hashlib

from hil.campaign.config.load import load_stored_campaign
from hil.campaign.config.resolved import canonical_json, config_name, parse_json
from hil.campaign.config.sections import CampaignConfig
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.toml_file import parse_toml
from hil_datasets.journal import BEGINNINGS, last_beginning
from hil_datasets.packed.packed_run import PackedRun
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory
from hil_datasets.run_source import RunSource

_RESOLVED = ".resolved.json"


def stored_config(source: RunSource) -> CampaignConfig:
    """Return the configuration that a run has gone on with last.

    Raises
    ------
    DatasetError
        If it is missing, or is none any more, or is another than its journal tells of.
    """
    if isinstance(source, RunDirectory):
        return load_stored_campaign(source).config
    beginning = last_beginning(source.events())
    name = config_name(beginning)
    resolved = _read_if_there(source, name + _RESOLVED)
    place = f"{source.path}:{name}{_RESOLVED}"
    wanted = beginning.get("resolved_sha256")
    if resolved is not None and wanted not in {None, hashlib.sha256(resolved).hexdigest()}:
        message = "was changed since the run: its hash differs from the recorded one"
        raise DatasetError(place, [Problem("", message)])
    try:
        if resolved is not None:
            return parse_json(CampaignConfig, resolved, source=place)
        content = _read_if_there(source, f"{name}.toml") or b""
        return parse_toml(CampaignConfig, content, source=f"{source.path}:{name}.toml")
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error


def config_files(source: RunSource, config: CampaignConfig) -> dict[str, bytes]:
    """Return the files with a run's configurations, the last one replaced.

    Parameters
    ----------
    source
        The run.
    config
        What stands in place of the configuration that it has gone on with last.

    Raises
    ------
    DatasetError
        If one that its journal tells of is missing.
    """
    events = source.events()
    names = [config_name(event) for event in events if event["event"] in BEGINNINGS]
    files: dict[str, bytes] = {}
    for name in dict.fromkeys(names):
        for file in (f"{name}.toml", name + _RESOLVED):
            content = _read_if_there(source, file)
            if content is not None:
                files[file] = content
    files[config_name(last_beginning(events)) + _RESOLVED] = canonical_json(config)
    return files


def _read_if_there(source: RunSource, name: str) -> bytes | None:
    if isinstance(source, RunDirectory):
        path = source.path / name
        return read_regular(path) if path.exists() else None
    if isinstance(source, PackedRun):
        return source.read_file(name) if name in source.file_names() else None
    return source.read_campaign() if name == "campaign.toml" else None
