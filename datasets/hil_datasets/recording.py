"""Recorded readouts, looked up by what was asked: nothing is interpolated, nothing invented."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.step import StepKey, StepRecord


class NotRecordedError(LookupError):
    """The recording holds no answer to what was asked."""


@dataclass
class _StepPlayback:
    record: StepRecord
    rows_of_input: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    next_of_input: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    last_vectors: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        for vector, codes in enumerate(self.record.inputs):
            self.rows_of_input[codes.tobytes()].append(vector)

    def holds(self, inputs: npt.NDArray[np.int8]) -> bool:
        return all(codes.tobytes() in self.rows_of_input for codes in inputs)

    def is_fresh(self, inputs: npt.NDArray[np.int8]) -> bool:
        """Whether each of these inputs has a readout that was not given yet."""
        return self.holds(inputs) and all(
            self.next_of_input[codes.tobytes()] < len(self.rows_of_input[codes.tobytes()])
            for codes in inputs
        )

    def rewind(self) -> None:
        self.next_of_input.clear()


class Recording:
    """The readouts of a run, asked for again.

    An input vector that was measured several times gives its readouts in the order they were
    recorded, then from the first again.

    A device protocol knows a core and a read mode only. Where several steps were recorded of one of
    each, `play` says which of them answers; until it does, it is the first, and the next whenever
    that has given its readouts or does not hold the vectors.

    Parameters
    ----------
    steps
        The recorded steps, of one chip.

    Raises
    ------
    DatasetError
        If there are none, one comes twice, or they come from different chips.
    """

    def __init__(self, steps: Iterable[StepRecord]) -> None:
        self._steps: dict[StepKey, _StepPlayback] = {}
        for record in steps:
            if record.key in self._steps:
                raise DatasetError("recording", [Problem("", f"holds {record.key.name} twice")])
            self._steps[record.key] = _StepPlayback(record)
        if not self._steps:
            raise DatasetError("recording", [Problem("", "holds no step")])
        chips = {playback.record.origin.chip for playback in self._steps.values()}
        if len(chips) != 1:
            raise DatasetError(
                "recording", [Problem("", f"holds {len(chips)} chips: must be one chip's")]
            )
        self._played: dict[tuple[int, ReadMode], StepKey] = {}
        self._turns: dict[tuple[int, ReadMode], int] = defaultdict(int)
        shapes = {playback.record.weights.shape for playback in self._steps.values()}
        if len(shapes) != 1:
            raise DatasetError("recording", [Problem("", "its cores differ in size")])

    @property
    def keys(self) -> list[StepKey]:
        """The recorded steps, sorted."""
        return sorted(self._steps)

    def record(self, key: StepKey) -> StepRecord:
        """Return a recorded step."""
        return self._steps[key].record

    def play(self, key: StepKey) -> None:
        """Have a step answer for its core and read mode, its readouts from the first again.

        Raises
        ------
        DatasetError
            If it was not recorded.
        """
        if key not in self._steps:
            raise DatasetError("recording", [Problem("", f"holds no step {key.name}")])
        self._steps[key].rewind()
        self._played[key.core, key.read_mode] = key

    def playing(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8] | None = None
    ) -> StepKey:
        """Return the step that answers for a core and a read mode.

        Parameters
        ----------
        core, read_mode
            What the device was asked.
        inputs
            The vectors (vector, row) it is asked for; without them, the step that answered last.

        Raises
        ------
        NotRecordedError
            If no step of them was recorded.
        """
        tile = (core, read_mode)
        if tile in self._played:
            return self._played[tile]
        keys = [key for key in self.keys if (key.core, key.read_mode) == tile]
        if not keys:
            raise NotRecordedError(f"core {core} was not recorded in {read_mode} mode")
        if inputs is not None and len(keys) > 1:
            self._turns[tile] = self._next_turn(keys, self._turns[tile], inputs)
        return keys[self._turns[tile]]

    def _next_turn(self, keys: Sequence[StepKey], turn: int, inputs: npt.NDArray[np.int8]) -> int:
        """Return whose turn it is: the step's at `turn` if it can answer, else the next one's."""
        if self._steps[keys[turn]].is_fresh(inputs):
            return turn
        others: list[int] = [*range(turn + 1, len(keys)), *range(turn)]
        for later in others:
            playback = self._steps[keys[later]]
            if playback.holds(inputs):
                if not playback.is_fresh(inputs):
                    playback.rewind()
                return later
        return turn

    def rewind(self) -> None:
        """Give every repeated readout from its first again; what `play` has chosen stays."""
        self._turns.clear()
        for playback in self._steps.values():
            playback.rewind()

    def last_vectors(self, key: StepKey) -> npt.NDArray[np.int64]:
        """Return which vectors of a step `counts` gave last, in the order they were asked for."""
        return self._playback(key).last_vectors

    def check_weights(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Raise NotRecordedError unless these weights (row, column) were recorded on the core."""
        recorded = [key for key in self._steps if key.core == core]
        if not recorded:
            raise NotRecordedError(f"core {core} was not recorded")
        if not all(np.array_equal(self._steps[key].record.weights, weights) for key in recorded):
            raise NotRecordedError(f"core {core} was recorded with other weights")

    def counts(self, key: StepKey, inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.uint16]:
        """Return the counts (vector, polarity, column) recorded for inputs (vector, row).

        Raises
        ------
        NotRecordedError
            If the step, or any one of the vectors, was not recorded.
        """
        playback = self._playback(key)
        for position, codes in enumerate(inputs):
            if codes.tobytes() not in playback.rows_of_input:
                raise NotRecordedError(
                    f"input vector {position} of this request was not recorded for {key.name}"
                )
        vectors = np.empty(len(inputs), dtype=np.int64)
        for position, codes in enumerate(inputs):
            recorded = playback.rows_of_input[codes.tobytes()]
            turn = playback.next_of_input[codes.tobytes()]
            playback.next_of_input[codes.tobytes()] = turn + 1
            vectors[position] = recorded[turn % len(recorded)]
        playback.last_vectors = vectors
        return playback.record.raw[vectors]

    def outputs(
        self, key: StepKey, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> npt.NDArray[np.int8]:
        """Return the device's NMPU outputs (vector, column) recorded for the last counts.

        Raises
        ------
        NotRecordedError
            If the NMPU was recorded with other registers, or was off for any of the vectors.
        """
        playback = self._playback(key)
        record = playback.record
        conclusion = record.conclusion
        if conclusion.outputs is None:
            raise NotRecordedError(f"{key.name} was recorded without the device's NMPU")
        if fmt != conclusion.fmt or registers != conclusion.registers:
            raise NotRecordedError(f"{key.name} was recorded with other NMPU registers")
        held_out = playback.last_vectors - record.origin.calibration_vectors
        if (held_out < 0).any():
            raise NotRecordedError(f"{key.name}: the NMPU was off for some of these vectors")
        return conclusion.outputs[held_out]

    def _playback(self, key: StepKey) -> _StepPlayback:
        if key not in self._steps:
            raise NotRecordedError(f"core {key.core} was not recorded in {key.read_mode} mode")
        return self._steps[key]
