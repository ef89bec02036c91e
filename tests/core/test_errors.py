import pytest

from hil.core.errors import (
    CalibrationError,
    ConfigError,
    DatasetError,
    DeviceError,
    FrameError,
    HilError,
    LinkLostError,
    Problem,
    TransportError,
    TransportTimeoutError,
)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (DatasetError, ValueError),
        (TransportError, OSError),
        (TransportTimeoutError, TimeoutError),
        (TransportTimeoutError, TransportError),
        (LinkLostError, ConnectionError),
        (LinkLostError, TransportError),
        (FrameError, HilError),
        (DeviceError, HilError),
        (CalibrationError, HilError),
    ],
)
def test_each_error_is_also_what_a_caller_looks_for(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, builtin)
    assert issubclass(kind, HilError)


@pytest.mark.parametrize("kind", [ConfigError, DatasetError])
def test_one_problem_stands_on_one_line(kind: type[ConfigError | DatasetError]) -> None:
    error = kind("a.toml", [Problem("device.resource", "is missing")])
    assert str(error) == "a.toml: device.resource: is missing"


@pytest.mark.parametrize("kind", [ConfigError, DatasetError])
def test_several_problems_are_listed(kind: type[ConfigError | DatasetError]) -> None:
    error = kind("a.toml", [Problem("x", "is missing"), Problem("", "is damaged")])
    assert str(error) == "a.toml: 2 problems:\n  x: is missing\n  is damaged"


def test_problems_can_be_read_one_by_one() -> None:
    problems = [Problem("x", "is missing"), Problem("y", "is missing")]
    error = ConfigError("a.toml", problems)
    assert (error.source, error.problems) == ("a.toml", tuple(problems))


def test_a_problem_without_place_is_its_message() -> None:
    assert str(Problem("", "no such file")) == "no such file"


def test_a_device_error_names_the_request() -> None:
    error = DeviceError(-222, "Data out of range", request="CORE 9")
    assert str(error) == "device error -222: Data out of range (request: CORE 9)"
    assert (error.code, error.words, error.request) == (-222, "Data out of range", "CORE 9")


def test_a_device_error_without_request_ends_with_its_words() -> None:
    assert str(DeviceError(-113, "Undefined header")) == "device error -113: Undefined header"
