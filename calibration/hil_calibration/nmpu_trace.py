"""Every intermediate code of the NMPU's datapath, for comparing hardware against it.

The stages are those of `hil_calibration.nmpu_stages`; here they become a value to print, and
counts of what every width did not hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.nmpu import check_counts
from hil_calibration.nmpu_stages import TraceStage, datapath_stages

_BLOCK_VECTORS = 1024
"""Vectors traced at a time while counting: some 20 codes of 8 bytes for each count are alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NmpuTrace:
    """Every stage of the datapath for a handful of vectors.

    Examples
    --------
    >>> registers = NmpuRegisters(
    ...     scale_p=np.array([128], np.uint8), scale_n=np.array([64], np.uint8),
    ...     offset=np.array([-3], np.int16), swap=np.array([False]))
    >>> trace = trace_nmpu(np.array([[100]], np.uint16), np.array([[7]], np.uint16),
    ...                    registers, NmpuFormat())
    >>> [(stage.name, stage.width, int(stage.codes[0, 0])) for stage in trace.stages[4:8]]
    [('product_p', 'u18', 12800), ('product_n', 'u18', 448), ('difference', 's19', 12352),
     ('cut', 's19', 12352)]
    """

    fmt: NmpuFormat
    """The unit's widths and roundings."""
    registers: NmpuRegisters
    """Register codes, one of each per column."""
    stages: tuple[TraceStage, ...]
    """In the order of the datapath; the last one is the output."""
    first_vector: int = 0
    """Number of the first vector, for printing."""
    first_column: int = 0
    """Number of the first column, for printing."""
    device_outputs: npt.NDArray[np.int8] | None = None
    """What a device computed itself, without ReLU, for the last of the vectors, shape
    (vector, column); None if that is not known."""

    def __post_init__(self) -> None:
        if self.device_outputs is None:
            return
        vectors, columns = self.stages[-1].codes.shape
        shape = self.device_outputs.shape
        if self.device_outputs.ndim != 2 or shape[0] > vectors or shape[1] != columns:
            raise ValueError(
                f"device_outputs: must have shape (vector, column), at most {vectors} vectors and "
                f"exactly {columns} columns, got {shape}"
            )
        object.__setattr__(self, "device_outputs", read_only(self.device_outputs))

    def __getitem__(self, name: str) -> TraceStage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"{name!r}: the stages are {', '.join(stage.name for stage in self.stages)}")

    @property
    def outputs(self) -> npt.NDArray[np.int8]:
        """Output codes, shape (vector, column): what `apply_nmpu` returns."""
        return self.stages[-1].codes.astype(np.int8)

    @property
    def differs(self) -> npt.NDArray[np.bool_]:
        """Whether the device computed another output, shape (vector, column).

        False where it is not known what it computed. Compared before ReLU.
        """
        modelled = self["output"].codes
        differs = np.zeros(modelled.shape, np.bool_)
        if self.device_outputs is not None and len(self.device_outputs):
            known = len(self.device_outputs)
            differs[-known:] = modelled[-known:] != self.device_outputs
        return differs

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as plain lists, one entry per column: what ``--json`` prints."""
        vectors, columns = self.stages[-1].codes.shape
        return {
            "nmpu": self.fmt.to_dict(),
            "vectors": list(range(self.first_vector, self.first_vector + vectors)),
            "columns": [
                {
                    "column": self.first_column + column,
                    "registers": self._registers_of(column),
                    "stages": [
                        {
                            "name": stage.name,
                            "meaning": stage.meaning,
                            "width": stage.width,
                            "frac_bits": stage.frac_bits,
                            "codes": stage.codes[:, column].tolist(),
                            "overflowed": stage.overflowed[:, column].tolist(),
                        }
                        for stage in self.stages
                    ],
                    **self._device_entry(column),
                }
                for column in range(columns)
            ],
        }

    def to_text(self) -> str:
        """Return the trace as a table per column, vectors side by side.

        ``*`` behind a code: the width did not hold the code before it, which was clipped or
        wrapped. ``!`` behind a code of the device: the model's output is another.
        """
        columns = self.stages[-1].codes.shape[1]
        tables = ["\n".join(self._table_lines(column)) for column in range(columns)]
        return "\n\n".join([self.fmt.to_text(), *tables])

    def _registers_of(self, column: int) -> dict[str, int]:
        codes = self.registers.to_codes()[:, column].tolist()
        names = [field.name for field in fields(self.registers)]
        return dict(zip(names, codes, strict=True))

    def _device_codes(self, column: int) -> list[int | None]:
        """Return what the device computed for each vector; None where that is not known."""
        if self.device_outputs is None:
            return []
        known: list[int | None] = self.device_outputs[:, column].tolist()
        return [None] * (len(self.stages[-1].codes) - len(known)) + known

    def _device_entry(self, column: int) -> dict[str, Any]:
        if self.device_outputs is None:
            return {}
        differs = self.differs[:, column].tolist()
        return {"device": {"codes": self._device_codes(column), "differs": differs}}

    def _table_lines(self, column: int) -> Iterator[str]:
        registers = self._registers_of(column)
        codes = " ".join(f"{name}={code}" for name, code in registers.items())
        yield f"column {self.first_column + column}: {codes}"
        vectors = range(self.first_vector, self.first_vector + len(self.stages[-1].codes))
        heads = "".join(f"{f'vector {vector}':>12} " for vector in vectors)
        yield f"{'stage':<16}{'width':>5}{'frac':>6}{heads}".rstrip()
        for stage in self.stages:
            marked = zip(stage.codes[:, column], stage.overflowed[:, column], strict=True)
            cells = "".join(f"{code:>12}{'*' if is_over else ' '}" for code, is_over in marked)
            yield f"{stage.name:<16}{stage.width:>5}{stage.frac_bits:>6}{cells}".rstrip()
        if self.device_outputs is not None:
            marked = zip(self._device_codes(column), self.differs[:, column], strict=True)
            cells = "".join(
                f"{'-' if code is None else code:>12}{'!' if is_other else ' '}"
                for code, is_other in marked
            )
            yield f"{'device':<16}{self['output'].width:>5}{0:>6}{cells}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class NmpuSaturation:
    """How many codes each width did not hold, per column; arrays of shape (column,)."""

    vectors: int
    """Number of vectors looked at."""
    input_p: npt.NDArray[np.int64]
    """Inputs of the P branch, behind the swap."""
    input_n: npt.NDArray[np.int64]
    """Inputs of the N branch, behind the swap."""
    compressed: npt.NDArray[np.int64]
    """Compressed results; both branches together where they are compressed apart."""
    output: npt.NDArray[np.int64]
    """Outputs, before ReLU."""

    def __post_init__(self) -> None:
        for name in ("input_p", "input_n", "compressed", "output"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def trace_nmpu(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    fmt: NmpuFormat,
    *,
    relu: bool = False,
    first_vector: int = 0,
    first_column: int = 0,
    device_outputs: npt.NDArray[np.int8] | None = None,
) -> NmpuTrace:
    """Compute every intermediate code of the NMPU.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column).
    registers
        Register codes, one of each per column.
    fmt
        The unit's widths and roundings.
    relu
        Whether negative outputs become 0.
    first_vector, first_column
        Numbers under which the first vector and column are printed.
    device_outputs
        What a device computed for the last of these vectors, without ReLU, (vector, column).

    Raises
    ------
    ValueError
        If the shapes do not match, the counts are not uint16, or a register code does not fit
        its register.

    Source
    ------
    Steps 1 to 7 of ``docs/reference/nmpu.md``.
    """
    check_counts(p_counts, n_counts, registers)
    registers.check_fits(fmt)
    return NmpuTrace(
        fmt=fmt,
        registers=registers,
        stages=datapath_stages(p_counts, n_counts, registers, fmt, relu=relu),
        first_vector=first_vector,
        first_column=first_column,
        device_outputs=device_outputs,
    )


def count_saturation(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    fmt: NmpuFormat,
) -> NmpuSaturation:
    """Count, per column and stage, the codes that a width did not hold.

    Memory does not grow with the number of vectors. With ``fmt.saturate`` false these codes wrap
    round instead of being clipped; the inputs are clipped always.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column).
    registers
        Register codes, one of each per column.
    fmt
        The unit's widths and roundings.

    Raises
    ------
    ValueError
        As `trace_nmpu`.
    """
    names = [field.name for field in fields(NmpuSaturation) if field.name != "vectors"]
    found = {name: np.zeros(p_counts.shape[-1], np.int64) for name in names}
    # One turn at least, so that what is wrong with empty arrays is reported too.
    for first in range(0, max(len(p_counts), 1), _BLOCK_VECTORS):
        block = slice(first, first + _BLOCK_VECTORS)
        trace = trace_nmpu(p_counts[block], n_counts[block], registers, fmt)
        for name, stage in product(names, trace.stages):
            if stage.name in (name, f"{name}_p", f"{name}_n"):
                found[name] += stage.overflowed.sum(axis=0)
    return NmpuSaturation(vectors=len(p_counts), **found)
