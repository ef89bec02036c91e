"""From a resource string to a chip that is ready, and back to a bench that is safe."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from hil.core.errors import HilError
from hil.core.legible import one_line, quoted
from hil_datasets.recording import Recording
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over, connect_chip
from hil_drivers.open_transport import FORMS, TransportChoice, is_resource
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.launch import MockProcess
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.player import RecordedChip
from hil_mock_device.profile import BUILT_IN, parse_seed

_MOCK = "mock://"
_REPLAY_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MockResource:
    """What a ``mock://`` resource says."""

    profile: str
    """Name or path of the profile."""
    seed: int | None
    """Which chip of the kind; the campaign's seed where None."""
    truth: str | None
    """Where the mock writes what its chip really is."""

    @classmethod
    def parse(cls, resource: str) -> "MockResource":
        """Read ``mock://PROFILE[?seed=N][&truth=FILE]``.

        Raises
        ------
        ValueError
            If it has no profile, or unknown, repeated or wrong options.
        """
        shown = quoted(resource)
        profile, _, query = resource.removeprefix(_MOCK).partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        options = dict(given)
        unknown = sorted(set(options) - {"seed", "truth"})
        if unknown:
            raise ValueError(f"{shown}: unknown option {quoted(unknown[0])}; use seed and truth")
        if len(given) > len(options):
            raise ValueError(f"{shown}: gives an option twice")
        if profile not in BUILT_IN and not profile.endswith(".toml"):
            raise ValueError(
                f"{shown}: no such profile; use mock://{BUILT_IN[0]} or mock://PATH.toml"
            )
        truth = options.get("truth")
        if truth is not None and not one_line(truth):
            raise ValueError(f"{shown}: truth must name a new file")
        seed = options.get("seed")
        return cls(profile=profile, seed=None if seed is None else parse_seed(seed), truth=truth)


def check_resource(resource: str) -> None:
    """Raise ValueError if a resource string is none that `open_chip` takes."""
    if resource.startswith(_MOCK):
        MockResource.parse(resource)
    elif not is_resource(resource):
        raise ValueError(f"{resource!r} is no resource: use mock://PROFILE, {FORMS}")


@contextmanager
def open_chip(
    resource: str,
    *,
    base: Path,
    seed: int,
    timeout_s: float,
    choice: TransportChoice,
    on_unsafe: Callable[[str], None],
) -> Iterator[AimcBoard]:
    """Open a chip for the length of a ``with`` block, and leave it safe.

    Parameters
    ----------
    resource
        ``mock://PROFILE`` starts a private mock server process; anything else is connected to.
    base
        Folder that a profile's relative path starts from.
    seed
        Seed of a mock chip whose resource names none.
    timeout_s
        How long an answer may take.
    choice
        Who carries the bytes.
    on_unsafe
        Called with the reason if the chip could not be left safe.

    Raises
    ------
    TransportError, FrameError
        If the device cannot be reached or does not speak the protocol.
    """
    with ExitStack() as stack:
        address = resource
        if resource.startswith(_MOCK):
            address = stack.enter_context(_start_mock(resource, base, seed)).resource
        chip = connect_chip(address, timeout_s=timeout_s, choice=choice)
        stack.callback(chip.close)
        try:
            yield chip
        finally:
            _make_safe(chip, on_unsafe)


@contextmanager
def open_recording(recording: Recording) -> Iterator[AimcBoard]:
    """Open a recording as a chip: the real driver, the real codec, no socket."""
    device = MockDevice(Firmware(RecordedChip(recording)))
    transport = LoopbackTransport(device, resource="recording")
    chip = board_over(transport, _REPLAY_TIMEOUT_S)
    try:
        yield chip
    finally:
        chip.close()


def _start_mock(resource: str, base: Path, seed: int) -> MockProcess:
    mock = MockResource.parse(resource)
    profile = mock.profile if mock.profile in BUILT_IN else str(base / mock.profile)
    chip_seed = seed if mock.seed is None else mock.seed
    arguments = ["--profile", profile, "--seed", str(chip_seed)]
    if mock.truth is not None:
        arguments += ["--truth", mock.truth]
    return MockProcess(arguments)


def _make_safe(chip: AimcBoard, on_unsafe: Callable[[str], None]) -> None:
    try:
        chip.safe()
    except HilError as error:
        on_unsafe(str(error))
