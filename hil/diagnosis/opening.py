"""Opening what is examined, a private mock included: there it can be tried without a board."""

from collections.abc import Iterator
from contextlib import contextmanager

from hil.campaign.bench import MockResource
from hil.core.errors import ConfigError, Problem
from hil_mock_device.launch import MockProcess

_MOCK = "mock://"


@contextmanager
def opened(resource: str) -> Iterator[str]:
    """Give the address behind a resource; a mock is served for the length of the block.

    Raises
    ------
    ConfigError
        If a ``mock://`` resource is none.
    """
    if not resource.startswith(_MOCK):
        yield resource
        return
    try:
        mock = MockResource.parse(resource)
    except ValueError as error:
        raise ConfigError("RESOURCE", [Problem("", str(error))]) from error
    arguments = ["--profile", mock.profile]
    if mock.seed is not None:
        arguments += ["--seed", str(mock.seed)]
    if mock.truth is not None:
        arguments += ["--truth", mock.truth]
    with MockProcess(arguments) as process:
        yield process.resource
