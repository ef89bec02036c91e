"""Where a study's recording comes from: a run that exists, or a campaign or mock to run first."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hil.campaign.config.load import Campaign, load_campaign, load_stored_campaign
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.mock_resource import MOCK, MockResource
from hil.campaign.new_campaign import Answers
from hil.campaign.run_events import RunWatcher
from hil.campaign.runner import run_campaign
from hil.core.errors import ConfigError, Problem
from hil.core.legible import quoted
from hil.core.toml_file import parse_toml
from hil.explore.store import DESCRIPTION, RUN_FOLDER, check_usable
from hil_datasets.journal import last_stop
from hil_datasets.opened import begins_packed
from hil_datasets.run_directory import RunDirectory

_ENDED = frozenset({"complete", "incomplete"})
"""How a run ends that went to its end, with or without steps that could not be calibrated."""


def default_folder(source: str, *, by_accuracy: bool = False) -> Path:
    """Return where a study goes that is not told: beside a run, or here for anything else.

    A study by accuracy has a folder of its own: results of the two do not mix.

    Examples
    --------
    >>> default_folder("examples/quickstart.toml").as_posix()
    'quickstart-explore'
    >>> default_folder("mock://hermes-like?seed=2", by_accuracy=True).as_posix()
    'hermes-like-explore-accuracy'
    """
    ending = "-explore-accuracy" if by_accuracy else "-explore"
    if source.startswith(MOCK):
        profile = source.removeprefix(MOCK).partition("?")[0]
        return Path(f"{Path(profile).stem}{ending}")
    path = Path(source)
    if is_campaign(path):
        return Path(f"{path.stem}{ending}")
    resolved = path.resolve()
    return resolved.with_name(f"{resolved.name}{ending}")


def is_campaign(source: Path) -> bool:
    """Say whether a path names a campaign file, and not a run, in a folder or packed."""
    if source.is_file():
        return not begins_packed(source)
    return source.suffix == ".toml" and not source.is_dir()


def is_measured_first(source: str) -> bool:
    """Say whether a source has no readouts yet: a campaign file, or a mock."""
    return source.startswith(MOCK) or is_campaign(Path(source))


def mock_campaign(resource: str) -> Campaign:
    """Return the campaign that measures a mock: the one that ``hil init`` would write for it.

    Parameters
    ----------
    resource
        ``mock://PROFILE``; the path of a profile starts from the current folder.

    Raises
    ------
    ConfigError
        If there is no such profile, or an option is wrong.
    """
    try:
        profile = MockResource.parse(resource).profile
    except ValueError as error:
        message = str(error).removeprefix(f"{quoted(resource)}: ")
        raise ConfigError(resource, [Problem("", message)]) from error
    found = resource
    if profile.endswith(".toml"):  # the run is elsewhere, and may go on from there
        found = resource.replace(profile, str(Path(profile).resolve()), 1)
    content = Answers(resource=found, title=resource).to_toml().encode()
    config = parse_toml(CampaignConfig, content, source=resource)
    return Campaign(config=config, content=content, path=Path(resource))


def run_once(
    source: str, *, out: Path, observer: RunWatcher, now: Callable[[], datetime]
) -> RunDirectory:
    """Run a campaign into the folder of a study, unless that holds its run already.

    Parameters
    ----------
    source
        The campaign file, or a mock.
    out
        Folder of the study.
    observer, now
        As in `run_campaign`.

    Raises
    ------
    ConfigError
        If the campaign file is wrong, or the folder holds another run, or one that was cut off.
    TransportError, FrameError, DeviceError
        If the device is absent, lost, refuses or answers nonsense.
    """
    is_mock = source.startswith(MOCK)
    campaign = mock_campaign(source) if is_mock else load_campaign(Path(source))
    check_usable(out)
    run = RunDirectory(out / RUN_FOLDER)
    if not run.journal_path.exists():
        if (out / DESCRIPTION).exists():
            message = "holds a study of a run; choose another folder with --out"
            raise ConfigError(str(out), [Problem("", message)])
        return run_campaign(campaign, out=run.path, observer=observer, now=now).run
    stored = load_stored_campaign(run)
    hashes = (stored.sha256, stored.resolved_sha256)
    if hashes != (campaign.sha256, campaign.resolved_sha256):
        message = "is a run of another campaign; choose another folder with --out"
        raise ConfigError(str(run.path), [Problem("", message)])
    stop = last_stop(run.events())
    if stop is None or stop.get("status") not in _ENDED:
        message = (
            f"is a run that was cut off: hil resume {run.path} goes on with it; or choose another "
            "folder with --out, or study its finished steps: hil explore with this folder"
        )
        raise ConfigError(str(run.path), [Problem("", message)])
    return run
