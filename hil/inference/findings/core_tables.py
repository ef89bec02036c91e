"""Calibrations of all cores as rectangular tables: what is stored of them.

Cores use different numbers of columns; behind the last in use stand NaN and zeros, and the column
is not ``is_used``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.inference.corrections.calibrated import CalibratedCores
from hil_calibration.calibrate import CoreCalibration

CoreTables = dict[str, npt.NDArray[Any]]
"""Arrays by name; the first axis is the core, the second, if any, the column."""

_FLOATS: dict[str, Callable[[CoreCalibration], npt.NDArray[Any]]] = {
    "a_p": lambda one: one.correction.a_p,
    "a_n": lambda one: one.correction.a_n,
    "b": lambda one: one.correction.b,
    "residual_rms": lambda one: one.residual_rms,
}
_CODES: dict[str, tuple[Any, Callable[[CoreCalibration, Any], npt.NDArray[Any]]]] = {
    "scale_p_codes": (np.uint8, lambda _, registers: registers.scale_p),
    "scale_n_codes": (np.uint8, lambda _, registers: registers.scale_n),
    "offset_codes": (np.int16, lambda _, registers: registers.offset),
    "swap": (np.uint8, lambda _, registers: registers.swap),
    "flags": (np.uint16, lambda one, _: one.flags),
}
UNITS = {
    "output_lsb": "1",
    "a_p": "output LSB per count",
    "a_n": "output LSB per count",
    "b": "output LSB",
    "residual_rms": "output LSB",
}
"""Units of the tables; 1 where there is none."""
LONG_NAMES = {
    "core": "number of the core",
    "output_lsb": "products of an output code of the correction",
    "folded_output_lsb": "value of an output code of the loaded registers; NaN if as output_lsb",
    "shift": "shift of the loaded registers",
    "is_folded": "1 where normalisation and ReLU are in the loaded registers",
    "is_used": "1 where the column holds weights",
    "a_p": "gain of P, not rounded",
    "a_n": "gain of N, not rounded",
    "b": "offset, not rounded",
    "residual_rms": "residual of the fit",
    "scale_p_codes": "register of the gain of P",
    "scale_n_codes": "register of the gain of N",
    "offset_codes": "register of the offset",
    "swap": "1 where P and N are exchanged",
    "flags": "what is unusual about the column",
}
"""What the tables hold."""


def core_tables(cores: CalibratedCores) -> CoreTables:
    """Return calibrations as tables, with the registers that the NMPU is loaded with."""
    numbers = sorted(cores.calibrations)
    every = [cores.calibrations[core] for core in numbers]
    folded = cores.folded_tiles
    own = cores.own_units
    units = [own[core].nmpu if core in own else cores.calibrations[core] for core in numbers]
    widths = [len(one.flags) for one in every]
    shape = (len(numbers), max(widths, default=0))
    tables: CoreTables = {
        "core": np.array(numbers, np.int64),
        "output_lsb": np.array([one.output_lsb for one in every], float),
        "folded_output_lsb": np.array(
            [own[core].nmpu.output_lsb if core in own else np.nan for core in numbers], float
        ),
        "shift": np.array([unit.fmt.shift for unit in units], np.uint8),
        "is_folded": np.array([core in folded for core in numbers], np.uint8),
        "is_used": (np.arange(shape[1]) < np.array(widths)[:, None]).astype(np.uint8),
    }
    for name, value in _FLOATS.items():
        tables[name] = np.full(shape, np.nan)
        for row, one in zip(tables[name], every, strict=True):
            row[: len(one.flags)] = value(one)
    for name, (dtype, code) in _CODES.items():
        tables[name] = np.zeros(shape, dtype)
        for row, one, unit in zip(tables[name], every, units, strict=True):
            row[: len(one.flags)] = code(one, unit.registers)
    return tables
