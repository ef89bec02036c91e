"""What a campaign names outside itself, looked at before anything touches a device."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from hil.campaign.config.load import Campaign
from hil.campaign.mock_resource import MockResource
from hil.campaign.workload import load_workload
from hil.core.errors import ConfigError, Problem
from hil.core.hints import did_you_mean
from hil.core.toml_file import Place, key_path
from hil.core.toml_lines import KeyPath
from hil_drivers.chip_driver import DEFAULT_DRIVER, find_chip_driver
from hil_drivers.plugins import PluginError, PluginGroup, list_plugins
from hil_mock_device.profile import MockProfile, load_profile

_MOCK = "mock://"


def check_files(campaign: Campaign) -> None:
    """Look at what a campaign names: workload, chip driver, the mock chip's profile and its cores.

    Raises
    ------
    ConfigError
        If one of them is missing or wrong, or the workload has too few vectors; the problems of
        all of them are listed.
    """
    problems: list[Problem] = []
    checks: tuple[tuple[KeyPath, Callable[[Campaign], None]], ...] = (
        (("device", "driver"), _check_driver),
        (("device", "resource"), _check_device),
        *(
            (("campaign", "cores", index), partial(_check_core, core=core))
            for index, core in enumerate(campaign.config.campaign.cores or ())
        ),
        (("campaign", "workload"), _check_workload),
    )
    for key, check in checks:
        problems += _problems_of(campaign, key, check)
    if problems:
        raise ConfigError(str(campaign.path), problems)


def _problems_of(
    campaign: Campaign, key: KeyPath, check: Callable[[Campaign], None]
) -> list[Problem]:
    try:
        check(campaign)
    except ConfigError as error:
        texts = [problem.located(error.source) for problem in error.problems]
    except ValueError as error:
        texts = [str(error)]
    else:
        return []
    # Which file it is says the message; the line is that of the key which names it.
    place = campaign.sources.layers.place_of(key) if campaign.sources else Place("")
    where = key_path(key)
    if campaign.sources is not None:
        where = campaign.sources.spelled.get(where, where)
    return [Problem(where, text, place.line, place.source) for text in texts]


def _check_driver(campaign: Campaign) -> None:
    name = campaign.config.device.driver
    if name == DEFAULT_DRIVER:
        return
    try:
        find_chip_driver(name)
    except PluginError as error:
        known = [plugin.name for plugin in list_plugins(PluginGroup.CHIPS)]
        hint = did_you_mean(name, known) if name not in known else ""
        raise ValueError("; ".join(filter(None, (str(error), hint)))) from error


def _check_device(campaign: Campaign) -> None:
    device = campaign.config.device
    if device.driver != DEFAULT_DRIVER:
        with suppress(ConfigError):  # of the driver itself, which has its own check
            find_chip_driver(device.driver).check_resource(device.resource)
    elif device.resource.startswith(_MOCK):
        _mock_profile(campaign)


def _check_core(campaign: Campaign, core: int) -> None:
    device = campaign.config.device
    if device.driver != DEFAULT_DRIVER or not device.resource.startswith(_MOCK):
        return
    try:
        profile = _mock_profile(campaign)
    except (ConfigError, ValueError):
        return  # what is wrong with the profile is told of the resource
    count = profile.array.cores
    if core >= count:
        raise ValueError(
            f"core {core}: the mock chip {MockResource.parse(device.resource).profile} has "
            f"{count} cores, 0 to {count - 1}"
        )


def _mock_profile(campaign: Campaign) -> MockProfile:
    resource = campaign.config.device.resource
    return load_profile(MockResource.parse(resource).profile, base=campaign.path.parent)


def _check_workload(campaign: Campaign) -> None:
    config = campaign.config
    if config.campaign.workload is None:
        return
    path = campaign.path.parent / config.campaign.workload
    inputs = load_workload(path).inputs
    wanted = config.vectors.calibration + config.vectors.verification
    if inputs is not None and wanted > len(inputs):
        message = (
            f"hold {len(inputs)} vectors: vectors.calibration + vectors.verification ask for "
            f"{wanted}; lower them in the campaign file"
        )
        raise ConfigError(str(path), [Problem("inputs", message)])
