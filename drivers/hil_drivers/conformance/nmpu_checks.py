"""The NMPU: its registers, and that its outputs are what the integer model makes of the counts."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.conformance.check import Check, FailedError, SkippedError, expect
from hil_drivers.conformance.readout_checks import check_counts, require_readable
from hil_drivers.conformance.workbench import Workbench, lacks_hardware

_FORMATS = (NmpuFormat(), NmpuFormat(shift=3), NmpuFormat(shift=5, merge=Merge.PER_BRANCH))
"""A chip need not hold all of them, but the first."""
_BLOCKS = (1, 7, 64)


def _registers_read_back(bench: Workbench) -> str:
    taken = 0
    for read_mode in ReadMode:
        for fmt, registers in _settings(bench, read_mode):
            got = bench.chip.read_nmpu(bench.core, read_mode)
            if got != (fmt, registers):
                raise FailedError(f"{read_mode}: {_difference((fmt, registers), got)}")
            taken += 1
    return f"{taken} settings, each with {bench.geometry.columns} columns of registers"


def _modes_have_their_own(bench: Workbench) -> str:
    written = {
        read_mode: (_FORMATS[0], registers_of(bench, _FORMATS[0], seed=seed))
        for seed, read_mode in enumerate(ReadMode)
    }
    for read_mode, settings in written.items():
        _load(bench, read_mode, *settings)
    for read_mode, settings in written.items():
        got = bench.chip.read_nmpu(bench.core, read_mode)
        if got != settings:
            difference = _difference(settings, got)
            raise FailedError(f"{read_mode} after both were written: {difference}")
    return "both written, then both read"


def _corrects_exactly(bench: Workbench) -> str:
    require_readable(bench)
    vectors = 0
    for read_mode, setting, block in _trials(bench):
        inputs = bench.inputs(block, seed=block)
        outputs = bench.chip.read_corrected(bench.core, read_mode, inputs)
        counts = bench.chip.latched_counts(bench.core, read_mode, block)
        where = f"{read_mode}, shift {setting[0].shift}, {block} vectors"
        _compare(bench, where, counts, outputs, setting)
        vectors += block
    return f"{vectors} vectors, every output bit for bit"


def _keeps_outputs_and_counts_together(bench: Workbench) -> str:
    require_readable(bench)
    vectors = 0
    for read_mode, setting, block in _trials(bench):
        inputs = bench.inputs(block, seed=block)
        both = bench.chip.read_corrected_with_counts(bench.core, read_mode, inputs)
        if both.outputs is None:
            raise FailedError(f"{read_mode}: no outputs, though the chip is no recording")
        where = f"{read_mode}, shift {setting[0].shift}, {block} vectors in one operation"
        _compare(bench, where, both.counts, both.outputs, setting)
        vectors += block
    return f"{vectors} vectors, every output bit for bit"


def _counts_are_left_alone(bench: Workbench) -> str:
    require_readable(bench)
    inputs = bench.inputs(5, seed=8)
    for read_mode in ReadMode:
        _load(bench, read_mode, _FORMATS[0], registers_of(bench, _FORMATS[0]))
        bench.chip.read_corrected(bench.core, read_mode, inputs)
        check_counts(bench, bench.read(read_mode, inputs), 5, read_mode)
    return "counts are read as counts after a corrected readout"


def registers_of(bench: Workbench, fmt: NmpuFormat, *, seed: int = 0) -> NmpuRegisters:
    """Return registers of every kind that a format holds: all codes, where there are columns."""
    columns = bench.geometry.columns
    rng = np.random.default_rng(seed)
    scale, offset = fmt.scale_format, fmt.offset_format
    scales = np.resize(rng.permutation(scale.highest_code + 1), columns).astype(np.uint8)
    offsets = rng.integers(offset.lowest_code, offset.highest_code, columns, endpoint=True)
    return NmpuRegisters(
        scale_p=scales,
        scale_n=np.roll(scales, 1) if not fmt.shared_scale else scales,
        offset=offsets.astype(np.int16),
        swap=rng.random(columns) < 0.5,
    )


def _trials(
    bench: Workbench,
) -> Iterator[tuple[ReadMode, tuple[NmpuFormat, NmpuRegisters], int]]:
    """Load every setting in every read mode; yield each with every size of a block."""
    for read_mode in ReadMode:
        for setting in _settings(bench, read_mode):
            for block in _sizes(bench):
                yield read_mode, setting, block


def _settings(bench: Workbench, read_mode: ReadMode) -> Iterator[tuple[NmpuFormat, NmpuRegisters]]:
    """Load one setting after the other; those that the chip's NMPU does not hold are left out."""
    for number, fmt in enumerate(_FORMATS):
        registers = registers_of(bench, fmt, seed=number)
        try:
            _load(bench, read_mode, fmt, registers)
        except DeviceError as error:
            if number == 0:
                raise FailedError(f"{read_mode}: refuses the paper's format: {error}") from error
            continue
        yield fmt, registers


def _load(bench: Workbench, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
    try:
        bench.chip.write_nmpu(bench.core, read_mode, fmt, registers)
    except DeviceError as error:
        if lacks_hardware(error):
            raise SkippedError(f"the chip has no NMPU: {error}") from error
        raise


def _sizes(bench: Workbench) -> list[int]:
    return [size for size in _BLOCKS if size <= bench.geometry.max_vectors]


def _compare(
    bench: Workbench,
    where: str,
    counts: npt.NDArray[np.uint16],
    outputs: npt.NDArray[np.int8],
    settings: tuple[NmpuFormat, NmpuRegisters],
) -> None:
    shape = (len(outputs), 2, bench.geometry.columns)
    expect(
        holds=counts.dtype == np.uint16 and counts.shape == shape,
        otherwise=f"{where}: counts are {counts.dtype} of shape {counts.shape}: uint16 of "
        f"{shape} is due",
    )
    due = bench.plan.correct(counts, *settings)
    expect(
        holds=outputs.dtype == np.int8 and outputs.shape == due.shape,
        otherwise=f"{where}: outputs are {outputs.dtype} of shape {outputs.shape}: int8 of "
        f"{due.shape} is due",
    )
    wrong = np.argwhere(outputs != due)
    if len(wrong):
        vector, column = wrong[0]
        raise FailedError(
            f"{where}: {len(wrong)} outputs differ from the integer model of the latched counts; "
            f"vector {vector} column {column} is {outputs[vector, column]}, "
            f"{due[vector, column]} is due"
        )


def _difference(
    written: tuple[NmpuFormat, NmpuRegisters], read: tuple[NmpuFormat, NmpuRegisters]
) -> str:
    if written[0] != read[0]:
        return f"format written {written[0].to_text()}, read back {read[0].to_text()}"
    names = ("scale_p", "scale_n", "offset", "swap")
    differs = written[1].to_codes() != read[1].to_codes()
    register, column = np.argwhere(differs)[0]
    return (
        f"{int(differs.sum())} registers differ; {names[register]} of column {column}: "
        f"{written[1].to_codes()[register, column]} written, "
        f"{read[1].to_codes()[register, column]} read back"
    )


NMPU_CHECKS = (
    Check("NMPU settings are read back as written", _registers_read_back),
    Check("read modes have NMPU settings of their own", _modes_have_their_own),
    Check("corrected outputs are made of the latched counts, bit for bit", _corrects_exactly),
    Check(
        "outputs and counts of one operation belong together", _keeps_outputs_and_counts_together
    ),
    Check("the NMPU leaves raw counts alone", _counts_are_left_alone),
)
