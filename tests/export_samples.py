"""Coefficients of any format, with codes from end to end, for tests of exporters."""

from dataclasses import asdict

import numpy as np

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.step import StepKey

COLUMNS = 9
CHIP = ChipIdentity(manufacturer="Acme", model="AIMC-2x9", serial="42", firmware="1.0")


def registers_over(fmt: NmpuFormat, *, seed: int, columns: int = COLUMNS) -> NmpuRegisters:
    """Return codes that reach both ends of each register."""
    random = np.random.default_rng(seed)
    scale, offset = fmt.scale_format, fmt.offset_format
    scale_p = random.integers(0, scale.highest_code + 1, columns)
    scale_n = random.integers(0, scale.highest_code + 1, columns)
    offsets = random.integers(offset.lowest_code, offset.highest_code + 1, columns)
    scale_p[:2], scale_n[1:3] = scale.highest_code, 0
    offsets[:2] = offset.lowest_code, offset.highest_code
    return NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=(scale_p if fmt.shared_scale else scale_n).astype(np.uint8),
        offset=offsets.astype(np.int16),
        swap=np.arange(columns) % 3 == 2,
    )


def sample_tile(
    fmt: NmpuFormat, *, core: int, read_mode: ReadMode, columns: int = COLUMNS
) -> TileCoefficients:
    """Return one tile."""
    return TileCoefficients(
        key=StepKey(core, read_mode),
        shift=fmt.shift,
        output_lsb=0.1 + core,
        first_row=0,
        rows_used=4,
        first_column=0,
        columns_used=columns,
        registers=registers_over(fmt, seed=core, columns=columns),
        flags=np.arange(columns, dtype=np.uint16),
        raw_sha256=f"{core:064x}",
        correction_id=f"{core + 16:064x}",
        coefficients_id=f"{core + 32:064x}",
        nmpu_mismatches=0,
        quality=None,
    )


def sample_set(
    fmt: NmpuFormat | None = None, *, chip: ChipIdentity = CHIP, columns: int = COLUMNS
) -> CoefficientSet:
    """Return two tiles: core 0 with the format's shift, core 3 with one more."""
    fmt = fmt or NmpuFormat(shift=1)
    other = fmt.with_shift(fmt.shift + 1)
    return CoefficientSet(
        nmpu=fmt.to_dict() | {"shift": None},
        chip=chip,
        campaign_sha256="c" * 64,
        software="aimc-hil 0.1.0",
        tiles=(
            sample_tile(fmt, core=0, read_mode=ReadMode.FOUR_PHASE, columns=columns),
            sample_tile(other, core=3, read_mode=ReadMode.ONE_PHASE, columns=columns),
        ),
    )


def chip_named(**names: str) -> ChipIdentity:
    """Return a chip that says something else of itself."""
    return ChipIdentity(**(asdict(CHIP) | names))
