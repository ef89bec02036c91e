"""From a resource string to a chip that is ready, and back to a bench that is safe."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from hil.campaign.replay_resource import REPLAY, ReplayResource, board_of_recording
from hil.core.errors import HilError
from hil.core.legible import one_line, quoted
from hil_datasets.recording import Recording
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import connect_chip
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import FORMS, TransportChoice, is_resource
from hil_mock_device.launch import MockProcess
from hil_mock_device.profile import BUILT_IN, parse_seed
from hil_mock_device.replay_conversation import Tempo

_MOCK = "mock://"
_REPLAY_TIMEOUT_S = 60.0
_AT_ONCE = Tempo(speed=math.inf, plays_faults=False)


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
    elif resource.startswith(REPLAY):
        ReplayResource.parse(resource)
    elif not is_resource(resource):
        raise ValueError(
            f"{resource!r} is no resource: use mock://PROFILE, {REPLAY}FOLDER, {FORMS}"
        )


@contextmanager
def open_chip(
    resource: str,
    *,
    base: Path,
    seed: int,
    timeout_s: float,
    choice: TransportChoice,
    on_unsafe: Callable[[str], None],
    on_fault: Callable[[LinkFault], None] = lambda _: None,
    recording: Recording | None = None,
) -> Iterator[AimcBoard]:
    """Open a chip for the length of a ``with`` block, and leave it safe.

    Parameters
    ----------
    resource
        ``mock://PROFILE`` starts a private mock server process; ``replay://FOLDER`` plays a
        recording; anything else is connected to.
    base
        Folder that the relative path of a profile or a recording starts from.
    seed
        Seed of a mock chip whose resource names none.
    timeout_s
        How long an answer may take.
    choice
        Who carries the bytes.
    on_unsafe
        Called with the reason if the chip could not be left safe.
    on_fault
        Called with every fault of the link once it is over.
    recording
        What ``replay://`` plays, where the caller has loaded it.

    Raises
    ------
    TransportError, FrameError
        If the device cannot be reached or does not speak the protocol.
    DatasetError
        If a recording cannot be read.
    """
    with ExitStack() as stack:
        if resource.startswith(REPLAY):
            replay = ReplayResource.parse(resource)
            chip = board_of_recording(
                replay.load(base) if recording is None else recording,
                replay.tempo,
                resource=resource,
                timeout_s=timeout_s,
                on_fault=on_fault,
            )
        else:
            address = resource
            if resource.startswith(_MOCK):
                address = stack.enter_context(_start_mock(resource, base, seed)).resource
            chip = connect_chip(address, timeout_s=timeout_s, choice=choice, on_fault=on_fault)
        stack.callback(chip.close)
        try:
            yield chip
        finally:
            _make_safe(chip, on_unsafe)


@contextmanager
def open_recording(recording: Recording) -> Iterator[AimcBoard]:
    """Open a recording as a chip that answers at once, without faults."""
    chip = board_of_recording(
        recording, _AT_ONCE, resource="recording", timeout_s=_REPLAY_TIMEOUT_S
    )
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
