"""Faults of the chip itself, below the firmware and the real driver: the kit names them too."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from conformance_bench import InProcessDriver, failed_claims, run_kit
from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel


class RoundsDown(ChipModel):
    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        halves = NmpuFormat.from_text("rounding=floor", base=fmt)
        return super().correct(core, read_mode, counts, halves, registers)


class IgnoresSwap(ChipModel):
    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        codes = registers.to_codes() * np.array([[1], [1], [1], [0]], np.int16)
        return super().correct(core, read_mode, counts, fmt, NmpuRegisters.from_codes(codes))


class SwapsPolarities(ChipModel):
    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        return np.ascontiguousarray(super().convert(core, read_mode, inputs)[:, ::-1])


class ReversesBlocks(ChipModel):
    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        return np.ascontiguousarray(super().convert(core, read_mode, inputs)[::-1])


class DoesNotTakeTheWeight10(ChipModel):
    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        if (weights == 10).any():
            raise DeviceError(-240, "Hardware error")
        super().program(core, weights)


class ResetForgetsWeights(ChipModel):
    def reset(self) -> None:
        super().reset()
        super().program(0, np.zeros((16, 8), np.int8))


EXACT = "corrected outputs are made of the latched counts, bit for bit"
TOGETHER = "outputs and counts of one operation belong together"


@pytest.mark.parametrize(
    ("silicon", "first"),
    [
        (RoundsDown, EXACT),
        (IgnoresSwap, EXACT),
        (SwapsPolarities, "counts follow inputs times weights, positive ones in P"),
        (ReversesBlocks, "vectors keep their places in a block"),
        (DoesNotTakeTheWeight10, "a core takes weights of every value"),
        (ResetForgetsWeights, "a reset keeps the weights"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fault_of_the_chip_is_named(silicon: type[ChipModel], first: str, tmp_path: Path) -> None:
    failed = failed_claims(run_kit(InProcessDriver(tmp_path, silicon=silicon), "loopback"))
    assert next(iter(failed)) == first
