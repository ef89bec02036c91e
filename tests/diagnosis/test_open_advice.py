"""Each reason for which a link does not open has advice of its own."""

import pytest

from hil.core.errors import TransportError
from hil.diagnosis.open_advice import open_advice, without_hint
from hil_drivers.open_transport import open_transport
from unruly_listener import unused_port


@pytest.mark.parametrize(
    ("resource", "advice"),
    [
        ("TCPIP0::no-such-host.invalid::5025::SOCKET", "check how the host's name is spelled"),
        ("TCPIP0::127.0.0.1::{port}::SOCKET", "nothing listens on that port"),
        ("serial:///dev/no-such-port", "see hil devices for the ports"),
        ("ASRL/dev/no-such-port::INSTR", "see hil devices for the ports"),
    ],
)
def test_advice_fits_what_stopped_it(resource: str, advice: str) -> None:
    with pytest.raises(TransportError) as caught:
        open_transport(resource.format(port=unused_port()), timeout_s=5)
    assert advice in open_advice(caught.value)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("Please install PyUSB to use this resource type.", "pip install pyusb"),
        ("Please install linux-gpib (Linux) or gpib-ctypes", "pip install gpib-ctypes"),
        ("[Errno 13] Permission denied", "hil devices"),
    ],
)
def test_library_that_is_missing_is_named(words: str, advice: str) -> None:
    assert advice in open_advice(TransportError(f"cannot be opened: {words}"))


def test_port_that_this_user_may_not_open_needs_a_group() -> None:
    error = TransportError("cannot be opened")
    error.__cause__ = PermissionError(13, "Permission denied")
    assert "dialout" in open_advice(error)


def test_message_is_shown_without_its_own_advice() -> None:
    assert without_hint(TransportError("no; check that it is on")) == "no"
