"""Cores with known arithmetic, for the tests of inference: numpy integers, nothing of the code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from command_line import hil
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.readings import ChipFacts
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.tiles import ProgrammedTile

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)


class KnownCores:
    """Positive products are counted in P, negative ones in N: ``gain * products + offset``.

    Parameters
    ----------
    gain
        Counts per product.
    offset
        Counts without any product.
    size
        Rows and columns of a core; inputs and weights are padded with zeros to it.
    """

    facts = ChipFacts(
        name="known cores",
        cores=tuple(range(1024)),
        rows=300,
        columns=300,
        counter_bits=31,
        read_mode=ReadMode.FOUR_PHASE,
        nominal_gain=1.0,
    )
    device = torch.device("cpu")

    def __init__(self, *, gain: float = 1.0, offset: float = 0.0, size: int = 300) -> None:
        self.gain, self.offset, self.size = gain, offset, size
        self.dead_cores: set[int] = set()
        self.asked: list[tuple[int, int, int, int]] = []
        """Core, number of the first vector, vectors and rows of each request."""
        self._weights: dict[int, npt.NDArray[np.int64]] = {}
        self._columns: dict[int, int] = {}

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        self._weights.clear()
        for tile in tiles:
            rows, columns = tile.weight_codes.shape
            padded = np.zeros((self.size, self.size), dtype=np.int64)
            padded[:rows, :columns] = tile.weight_codes
            self._weights[tile.tile.core] = padded
            self._columns[tile.tile.core] = columns

    def counts(self, core: int, input_codes: Any, *, first: int) -> Any:
        vectors, rows = input_codes.shape
        self.asked.append((core, first, vectors, rows))
        inputs = np.zeros((vectors, self.size))
        inputs[:, :rows] = input_codes.numpy()
        weights = self._weights[core] * (core not in self.dead_cores)
        up, down = np.maximum(weights, 0), np.maximum(-weights, 0)
        x_up, x_down = np.maximum(inputs, 0), np.maximum(-inputs, 0)
        sums = np.stack([x_up @ up + x_down @ down, x_up @ down + x_down @ up], axis=1)
        counts = np.rint(sums * self.gain + self.offset).astype(np.int32)
        return torch.from_numpy(counts[:, :, : self._columns[core]])

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        raise NotImplementedError

    def corrected(self, core: int, input_codes: Any, *, first: int) -> Any | None:
        raise NotImplementedError

    def advance_time(self, seconds: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Subtraction:
    """Products are P less N."""

    uses_chip_codes = False

    def outputs(self, counts: Any) -> Any:
        return (counts[:, 0] - counts[:, 1]).to(torch.float32)

    def of_codes(self, codes: Any) -> Any:
        raise NotImplementedError


def integer_convolution(
    rng: np.random.Generator,
    *,
    channels: int,
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    largest: int = 127,
    **geometry: Any,
) -> AnalogLayer:
    """Return a convolution whose weights are whole, each output with one of the largest."""
    groups = geometry.get("groups", 1)
    shape = (outputs, channels // groups, *kernel)
    weight = rng.integers(-largest, largest + 1, size=shape).astype(np.float32)
    weight[:, 0, 0, 0] = largest
    return AnalogLayer(name="conv", node="conv2d", weight=weight, **geometry)


_CAMPAIGN = """schema_version = 1
[campaign]
title = "The small chip"
cores = [0, 1]
[device]
resource = "mock://small.toml"
[vectors]
calibration = 384
verification = 128
"""


def measured_run(folder: Path, *, rest: str = "") -> Path:
    """Calibrate cores 0 and 1 of the chip of `contract_chip` in a folder, once; return the run."""
    if not (folder / "run").exists():
        (folder / "campaign.toml").write_text(_CAMPAIGN + rest)
        done = hil("run", "campaign.toml", "--out", "run", "--quiet", cwd=folder)
        assert done.code == 0, done.stderr
    return folder / "run"
