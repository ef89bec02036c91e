"""Opening what is examined, a private mock included: there it can be tried without a board."""

from collections.abc import Iterator
from contextlib import contextmanager

from hil.campaign.bench import check_resource
from hil.campaign.mock_resource import MockResource
from hil.campaign.replay_resource import REPLAY
from hil.core.errors import ConfigError, Problem
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_drivers.plugins import PluginGroup, list_plugins
from hil_drivers.transport_driver import is_url, scheme_of
from hil_mock_device.launch import MockProcess

_MOCK = "mock://"


@contextmanager
def opened(resource: str) -> Iterator[str]:
    """Give the address behind a resource; a mock is served for the length of the block.

    Raises
    ------
    ConfigError
        If the string is no resource, or there is no link behind it to test.
    """
    _refuse_what_has_no_link(resource)
    try:
        check_resource(resource)
    except ValueError as error:
        raise _refused(str(error)) from error
    if not resource.startswith(_MOCK):
        yield resource
        return
    mock = MockResource.parse(resource)
    arguments = ["--profile", mock.profile]
    if mock.seed is not None:
        arguments += ["--seed", str(mock.seed)]
    if mock.truth is not None:
        arguments += ["--truth", mock.truth]
    with MockProcess(arguments) as process:
        yield process.resource


def _refuse_what_has_no_link(resource: str) -> None:
    if resource.startswith(REPLAY):
        raise _refused(f"{resource}: nothing to test, it is a recording; hil replay repeats it")
    if not is_url(resource):
        return
    scheme = scheme_of(resource)
    transports = {plugin.name for plugin in list_plugins(PluginGroup.TRANSPORTS)}
    chips = {plugin.name for plugin in list_plugins(PluginGroup.CHIPS)} - {DEFAULT_DRIVER}
    if scheme in chips - transports:
        raise _refused(
            f"{resource}: the chip driver {scheme} has a link of its own; test it by "
            f"hil drivers test {scheme} --resource {resource}"
        )


def _refused(why: str) -> ConfigError:
    return ConfigError("RESOURCE", [Problem("", why)])
