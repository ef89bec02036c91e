"""``replay://`` resources: a run's folder as a device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hil.campaign.resource_options import split_options
from hil.core.legible import one_line, quoted
from hil_datasets.recording import Recording
from hil_datasets.run_directory import open_directory
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_drivers.link_fault import LinkFault
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo

REPLAY = "replay://"
"""How the resource string of a recording begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResource:
    """What a ``replay://`` resource says."""

    folder: str
    """Path of the run's folder."""
    tempo: Tempo
    """How it is played."""

    @classmethod
    def parse(cls, resource: str) -> "ReplayResource":
        """Read ``replay://FOLDER[?speed=S][&faults=on|off]``.

        Raises
        ------
        ValueError
            If it has no folder, or unknown, repeated or wrong options.
        """
        shown = quoted(resource)
        folder, options = split_options(resource, REPLAY, ("speed", "faults"))
        if not folder or not one_line(folder):
            raise ValueError(f"{shown}: must name the folder of a run: {REPLAY}FOLDER")
        speed, faults = options.get("speed", "1"), options.get("faults", "on")
        return cls(folder=folder, tempo=Tempo.parse(speed=speed, faults=faults))

    def load(self, base: Path) -> Recording:
        """Return the recording; a relative folder starts from `base`.

        Raises
        ------
        DatasetError
            If the folder is no run, or one of its steps is damaged.
        """
        return Recording(open_directory(base / self.folder).read_steps())


def board_of_recording(
    recording: Recording,
    tempo: Tempo,
    *,
    resource: str,
    timeout_s: float,
    on_fault: Callable[[LinkFault], None] = lambda _: None,
) -> AimcBoard:
    """Open a recording as a chip: the real driver, the real codec, no socket.

    Parameters
    ----------
    recording
        What was recorded.
    tempo
        How it is played.
    resource
        The resource string it stands for.
    timeout_s
        How long an answer may take.
    on_fault
        Called with every fault of the link once it is over.
    """
    instrument = ReplayInstrument(recording, tempo)
    transport = LoopbackTransport(
        instrument.conversation(), resource=resource, connect=instrument.conversation
    )
    return board_over(transport, timeout_s, on_fault=on_fault)
