"""Where a study's recording comes from: a run that exists, or a campaign to run first."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hil.campaign.config.load import load_campaign, load_stored_campaign
from hil.campaign.mock_resource import MOCK
from hil.campaign.run_events import RunWatcher
from hil.campaign.runner import run_campaign
from hil.core.errors import ConfigError, Problem
from hil.explore.store import DESCRIPTION, RUN_FOLDER, check_usable
from hil_datasets.journal import last_stop
from hil_datasets.opened import begins_packed
from hil_datasets.run_directory import RunDirectory

_ENDED = frozenset({"complete", "incomplete"})
"""How a run ends that went to its end, with or without steps that could not be calibrated."""


def default_folder(source: str | Path) -> Path:
    """Return where a study goes that is not told: beside a run, or here for anything else.

    Examples
    --------
    >>> default_folder("examples/quickstart.toml").as_posix()
    'quickstart-explore'
    >>> default_folder("mock://hermes-like?seed=2").as_posix()
    'hermes-like-explore'
    """
    profile = str(source).removeprefix(MOCK).partition("?")[0]
    if profile != str(source):
        return Path(f"{Path(profile).stem}-explore")
    path = Path(source)
    if is_campaign(path):
        return Path(f"{path.stem}-explore")
    resolved = path.resolve()
    return resolved.with_name(f"{resolved.name}-explore")


def is_campaign(source: Path) -> bool:
    """Say whether a path names a campaign file, and not a run, in a folder or packed."""
    if source.is_file():
        return not begins_packed(source)
    return source.suffix == ".toml" and not source.is_dir()


def run_once(
    source: Path, *, out: Path, observer: RunWatcher, now: Callable[[], datetime]
) -> RunDirectory:
    """Run a campaign into the folder of a study, unless that holds its run already.

    Parameters
    ----------
    source
        The campaign file.
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
    campaign = load_campaign(source)
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
