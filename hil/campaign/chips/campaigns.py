"""The campaigns of several chips out of one file, and whether they can run at the same time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from hil.campaign.config.files import check_files
from hil.campaign.config.instruments import MOCK, InstrumentSection
from hil.campaign.config.load import Campaign, load_campaign
from hil.campaign.config.source import read_sources
from hil.campaign.mock_resource import MockResource
from hil.core.errors import ConfigError, Problem
from hil.core.legible import quoted
from hil.core.toml_file import key_path, read_toml_bytes
from hil.core.toml_lines import KeyPath
from hil_drivers.plain_resource import plain_resource
from hil_mock_device.choices import BUILT_IN


def chip_names(
    path: Path,
    *,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return the names of the chips of a campaign file; none if it has one device without a name.

    Parameters
    ----------
    path, assignments, environment
        As in `load_campaign`.

    Raises
    ------
    ConfigError
        If the file is missing or no TOML.
    """
    given = os.environ if environment is None else environment
    content = read_toml_bytes(path)
    return read_sources(content, path, assignments=assignments, environment=given).chips


def load_chips(
    path: Path,
    *,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Campaign]:
    """Read and check the campaigns of all chips of a file, and that they do not share what counts.

    Parameters
    ----------
    path, assignments, environment
        As in `load_campaign`.

    Returns
    -------
    Name to campaign, in the file's order.

    Raises
    ------
    ConfigError
        If the file or what it names is wrong, or two chips have one address, or they share an
        instrument with something set; every problem is listed once.
    """
    names = chip_names(path, assignments=assignments, environment=environment)
    campaigns: dict[str, Campaign] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            campaign = load_campaign(
                path, assignments=assignments, environment=environment, chip=name
            )
            check_files(campaign)
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
        else:
            campaigns[name] = campaign
    problems += _shared_addresses(campaigns)
    for campaign in list(campaigns.values())[:1]:  # the instruments are the same for all
        problems += _shared_settings(campaign, campaigns)
    if problems:
        raise ConfigError(str(path), problems)
    return campaigns


def _shared_addresses(campaigns: Mapping[str, Campaign]) -> Iterator[Problem]:
    for (first, one), (second, other) in combinations(campaigns.items(), 2):
        if _address(one) != _address(other):
            continue
        resource = quoted(other.config.device.resource)
        if other.config.device.resource.startswith(MOCK):
            advice = "is the same mock chip, profile and seed: give each a seed, as in ?seed=1"
        else:
            advice = (
                "is the same address: two campaigns at one chip would program and read each "
                "other's weights"
            )
        yield problem_at(
            other, ("device", "resource"), f"{resource} of {first} and {second} {advice}"
        )


def _address(campaign: Campaign) -> str:
    """Return where a chip is, in one spelling."""
    device = campaign.config.device
    if not device.resource.startswith(MOCK):
        return plain_resource(device.resource)
    mock = MockResource.parse(device.resource)
    seed = campaign.config.campaign.seed if mock.seed is None else mock.seed
    profile = mock.profile
    if profile not in BUILT_IN:
        profile = os.path.realpath(campaign.path.parent / profile)
    return f"{MOCK}{profile}?seed={seed}"


def _shared_settings(campaign: Campaign, campaigns: Mapping[str, Campaign]) -> Iterator[Problem]:
    if len(campaigns) < 2:
        return
    reason = (
        f"is for an instrument that {' and '.join(campaigns)} share: one would change it under the "
        "other; run them one after the other with --chip, or give each a campaign file"
    )
    shared = {
        name: section
        for name, section in campaign.config.instruments.items()
        if not section.resource.startswith(MOCK)  # every private mock has its own
    }
    for name, section in shared.items():
        for path in _set_keys(section):
            yield problem_at(campaign, ("instruments", name, *path), reason)
    for number, sweep in enumerate(campaign.config.sweep or ()):
        if sweep.quantity.partition(".")[0] in shared:
            yield problem_at(campaign, ("sweep", number, "quantity"), reason)


def _set_keys(section: InstrumentSection) -> Iterator[KeyPath]:
    """Yield the keys by which a campaign changes an instrument, at its beginning or its end."""
    for key in ("start", "stop"):
        if getattr(section, key):
            yield (key,)
    for name, quantity in section.quantities.items():
        for key in ("value", "safe"):
            if getattr(quantity, key) is not None:
                yield ("quantities", name, key)


def problem_at(campaign: Campaign, path: KeyPath, message: str) -> Problem:
    """Return a problem at a key of a campaign, where and how its file says it."""
    where = key_path(path)
    if campaign.sources is None:
        return Problem(where, message)
    place = campaign.sources.layers.place_of(path)
    source = "" if place.source == str(campaign.path) else place.source
    return Problem(campaign.sources.spelled.get(where, where), message, place.line, source)
