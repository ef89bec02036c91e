"""A recording as `Silicon`: it answers what was recorded, and refuses everything else."""

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_datasets.recording import NotRecordedError, Recording
from hil_drivers.scpi import ScpiError
from hil_mock_device.chip_model import largest_request
from hil_mock_device.replay_schedule import ReplaySchedule


class RecordedChip:
    """A recorded chip, as `Silicon`.

    Parameters
    ----------
    recording
        What was recorded of it.
    schedule
        Is told what is read, if given.
    """

    plays_recording = True
    """What ``CHIP:SOURce?`` tells."""

    def __init__(self, recording: Recording, schedule: ReplaySchedule | None = None) -> None:
        self._recording = recording
        self._schedule = schedule
        record = recording.record(recording.keys[0])
        rows, columns = record.weights.shape
        self.identity: ChipIdentity = record.origin.chip
        self.geometry = ChipGeometry(
            cores=max(key.core for key in recording.keys) + 1,
            rows=rows,
            columns=columns,
            counter_bits=record.origin.counter_bits,
            max_vectors=largest_request(columns),
        )

    def reset(self) -> None:
        """Give repeated readouts from their first again."""
        self._recording.rewind()
        if self._schedule is not None:
            self._schedule.rewind()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Accept exactly the recorded weights."""
        try:
            self._recording.check_weights(core, weights)
        except NotRecordedError as error:
            raise _refusal(error) from error

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Return the recorded counts of exactly these inputs."""
        try:
            key = self._recording.playing(core, read_mode, inputs)
            counts = self._recording.counts(key, inputs)
        except NotRecordedError as error:
            raise _refusal(error) from error
        if self._schedule is not None:
            self._schedule.note_readout(key, self._recording.last_vectors(key))
        return counts

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        """Return the recorded outputs, if they were recorded with these registers."""
        try:
            key = self._recording.playing(core, read_mode)
            return self._recording.outputs(key, fmt, registers)
        except NotRecordedError as error:
            raise _refusal(error) from error

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the recorded temperature of a step."""
        try:
            key = self._recording.playing(core, read_mode)
        except NotRecordedError as error:
            raise _refusal(error) from error
        return self._recording.record(key).origin.temperature_c


def _refusal(error: NotRecordedError) -> DeviceError:
    code = ScpiError.MASS_STORAGE_MISSING
    return DeviceError(code, f"{code.words}; {error}")
