"""What ``hil calibrate diff`` prints: tables, JSON, and CSV with every column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.cli.calibrate.diff_sides import side_documents, side_lines, step_words
from hil.cli.calibrate.tables import (
    csv_bytes,
    empty_table,
    percent,
    print_parts,
    real,
    without_nan,
)
from hil.core.correction import ColumnFlag
from hil.recorded.compare import QUANTITIES, UNITS
from hil_datasets.calibration_choice import setpoints_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from hil.recorded.compare import QuantityChange, TileComparison
    from hil.recorded.compare_runs import RunComparison

_MOST_LISTED = 12
"""Moved columns shown; all of them are in ``--json`` and ``--csv``."""
_REGISTERS = ("scale_p", "scale_n", "offset", "swap")


def print_comparison(compared: RunComparison) -> None:
    """Print tables and what they come to."""
    print_parts(_parts(compared))


def _parts(compared: RunComparison) -> Iterator[Table | str]:
    yield from side_lines(compared)
    yield _tile_table(compared)
    yield "gain: products per count; offset: products; effect: rms of A's outputs less B's"
    for tile in compared.tiles:
        yield from _tile_lines(tile)
    yield from _column_table(compared)
    moved = sum(int(tile.moved.sum()) for tile in compared.tiles)
    judged = sum(int(tile.is_compared.sum()) for tile in compared.tiles)
    chance = sum(tile.expected_by_chance for tile in compared.tiles)
    yield (
        f"{moved} of {judged} columns moved by more than {compared.tiles[0].sigmas:g} standard "
        f"errors; {chance:.2g} would by chance if none had"
    )


def _tile_table(compared: RunComparison) -> Table:
    table = empty_table(
        ">core", "read mode", ">A", ">B", ">columns", ">moved", ">itself", ">gain, median",
        ">gain, largest", ">offset, median", ">offset, largest", ">effect, LSB",
        ">effect, largest",
    )  # fmt: skip
    for tile in compared.tiles:
        gains = np.abs(
            np.concatenate(
                [tile.quantities[name].relative[tile.is_compared] for name in QUANTITIES[:2]]
            )
        )
        offsets = np.abs(tile.quantities["offset"].change[tile.is_compared])
        effects = _known(tile.effect_lsb)
        table.add_row(
            str(tile.core),
            tile.read_mode,
            *(step_words(step) for step in (tile.before, tile.after)),
            str(int(tile.is_compared.sum())),
            str(int(tile.moved.sum())),
            str(int(tile.moved_itself.sum())),
            percent(_median(gains)),
            percent(_largest(gains)),
            real(_median(offsets)),
            real(_largest(offsets)),
            real(_median(effects), ".3g"),
            real(_largest(effects), ".3g"),
        )
    return table


def _tile_lines(tile: TileComparison) -> Iterator[str]:
    place = f"core {tile.core} {tile.read_mode}"
    if tile.has_same_correction:
        yield f"{place}: the same correction, id {tile.after.ids.correction[:12]}"
        if tile.has_same_coefficients:
            return
    elif not any(np.any(each.change) for each in tile.quantities.values()):
        yield f"{place}: the same numbers, from other readouts"
    factor = tile.quantities["gain_p"].factor
    if tile.core_has_moved:
        yield (
            f"{place}: all gains changed by the common factor {factor.value:.5f} +- "
            f"{factor.error:.5f}; {int(tile.moved_itself.sum())} columns moved beyond it"
        )
    elif not factor.is_known and tile.moved.any():
        yield f"{place}: too few columns to tell a common factor from their own moves"
    for what, which in (("gone", tile.is_gone), ("new", tile.is_new)):
        if which.any():
            yield f"{place}: {int(which.sum())} columns {what}: {_listed(which)}"
    codes, flags = int(tile.registers_changed.sum()), int(tile.flags_changed.sum())
    yield f"{place}: {codes} columns with other register codes, {flags} with other flags"


def _column_table(compared: RunComparison) -> Iterator[Table | str]:
    rows = [
        (tile, int(column), _worst(tile, int(column)))
        for tile in compared.tiles
        for column in np.flatnonzero(tile.moved | tile.is_gone | tile.is_new)
    ]
    rows.sort(key=lambda row: -row[2])
    if not rows:
        return
    table = empty_table(
        ">core", "read mode", ">column", ">gain P", ">sigmas", ">gain N", ">sigmas", ">offset",
        ">sigmas", ">itself", ">effect, LSB", "flags",
    )  # fmt: skip
    for tile, column, _ in rows[:_MOST_LISTED]:
        table.add_row(
            str(tile.core), tile.read_mode, str(column), *_changes(tile, column),
            real(_largest_at(tile, column), ".1f"), real(_effect(tile, column), ".3g"),
            _flags_in_words(tile, column),
        )  # fmt: skip
    yield table
    if len(rows) > _MOST_LISTED:
        yield f"and {len(rows) - _MOST_LISTED} more: --json or --csv FILE"


def _changes(tile: TileComparison, column: int) -> Iterator[str]:
    for name, each in tile.quantities.items():
        if name == "offset":
            yield real(float(each.change[column]), "+.4g")
        else:
            yield percent(float(each.relative[column]), sign=True)
        yield real(float(each.sigmas[column]), "+.1f")


def _worst(tile: TileComparison, column: int) -> float:
    """Return by how many standard errors a column moved; infinite if it is gone or new."""
    if not tile.is_compared[column]:
        return math.inf
    values = [abs(float(each.sigmas[column])) for each in tile.quantities.values()]
    return max((value for value in values if not math.isnan(value)), default=0.0)


def _largest_at(tile: TileComparison, column: int) -> float:
    values = [float(each.own_sigmas[column]) for each in tile.quantities.values()]
    return max((value for value in values if not math.isnan(value)), key=abs, default=math.nan)


def _flags_in_words(tile: TileComparison, column: int) -> str:
    old, new = _flag_names(tile, column)
    shown = [", ".join(names) or "none" for names in (old, new)]
    return ", ".join(new) if old == new else " -> ".join(shown)


def _flag_names(tile: TileComparison, column: int) -> tuple[list[str], list[str]]:
    steps = (tile.before, tile.after)
    one, other = (ColumnFlag(int(step.conclusion.flags[column])).names() for step in steps)
    return one, other


def _effect(tile: TileComparison, column: int) -> float:
    return math.nan if tile.effect_lsb is None else float(tile.effect_lsb[column])


def _listed(which: Any) -> str:
    columns = [str(int(column)) for column in np.flatnonzero(which)]
    more = f" and {len(columns) - _MOST_LISTED} more" if len(columns) > _MOST_LISTED else ""
    return ", ".join(columns[:_MOST_LISTED]) + more


def _known(values: Any) -> Any:
    return np.empty(0) if values is None else values[np.isfinite(values)]


def _median(values: Any) -> float:
    known = _known(values)
    return float(np.median(known)) if known.size else math.nan


def _largest(values: Any) -> float:
    known = _known(values)
    return float(known.max()) if known.size else math.nan


def comparison_document(compared: RunComparison) -> dict[str, Any]:
    """Return the comparison as JSON holds it, with the columns that moved."""
    before, after = side_documents(compared)
    document = {
        "a": before,
        "b": after,
        "sigmas": compared.tiles[0].sigmas,
        "has_changed": compared.has_changed,
        "units": UNITS,
        "chips": [str(chip) for chip in compared.chips],
        "tiles": [_tile_document(tile) for tile in compared.tiles],
        "only_in_a": [key.name for key in compared.only_before],
        "only_in_b": [key.name for key in compared.only_after],
        "notes": list(compared.notes),
    }
    return without_nan(document)  # type: ignore[no-any-return]


def _tile_document(tile: TileComparison) -> dict[str, Any]:
    gains, offsets = tile.quantities["gain_p"].factor, tile.quantities["offset"].factor
    moved = np.flatnonzero(tile.moved | tile.is_gone | tile.is_new)
    return {
        "core": tile.core,
        "read_mode": str(tile.read_mode),
        "a": _step_document(tile.before),
        "b": _step_document(tile.after),
        "same_correction": tile.has_same_correction,
        "same_readouts": tile.has_same_readouts,
        "same_coefficients": tile.has_same_coefficients,
        "core_moved": tile.core_has_moved,
        "columns_compared": int(tile.is_compared.sum()),
        "columns_moved": int(tile.moved.sum()),
        "columns_moved_itself": int(tile.moved_itself.sum()),
        "columns_gone": np.flatnonzero(tile.is_gone).tolist(),
        "columns_new": np.flatnonzero(tile.is_new).tolist(),
        "columns_expected_by_chance": tile.expected_by_chance,
        "columns_with_other_registers": int(tile.registers_changed.sum()),
        "columns_with_other_flags": int(tile.flags_changed.sum()),
        "common_factor_of_gains": _factor_document(gains),
        "common_factor_of_offsets": _factor_document(offsets),
        "changes": {name: _change_document(tile, name) for name in QUANTITIES},
        "effect_lsb": {"median": _median(tile.effect_lsb), "largest": _largest(tile.effect_lsb)},
        "moved": [
            dict(zip(_HEADINGS, _row(tile, int(column)), strict=True)) for column in moved
        ],
    }  # fmt: skip


def _step_document(step: Any) -> dict[str, Any]:
    return {
        "step": step.key.name,
        "visit": step.key.visit,
        "setpoints": setpoints_of(step),
        "measured_utc": step.origin.measured_utc,
        "temperature_c": step.origin.temperature_c,
        "age_s": step.origin.circumstance.age_s,
        "output_lsb": step.conclusion.output_lsb,
        "raw_sha256": step.ids.raw,
        "correction_id": step.ids.correction,
        "coefficients_id": step.ids.coefficients,
    }


def _factor_document(factor: Any) -> dict[str, Any] | None:
    return {"value": factor.value, "error": factor.error} if factor.is_known else None


def _change_document(tile: TileComparison, name: str) -> dict[str, Any]:
    each: QuantityChange = tile.quantities[name]
    which = tile.is_compared
    document = {
        "median": _median(each.change[which]),
        "median_magnitude": _median(np.abs(each.change[which])),
        "largest_magnitude": _largest(np.abs(each.change[which])),
        "largest_sigmas": _largest(np.abs(each.sigmas[which])),
        "largest_own_sigmas": _largest(np.abs(each.own_sigmas[which])),
    }
    if name != "offset":
        document["median_relative"] = _median(each.relative[which])
        document["largest_relative_magnitude"] = _largest(np.abs(each.relative[which]))
    return document


_HEADINGS = (
    "core", "read_mode", "column", "moved", "moved_itself", "flags_a", "flags_b",
    *(
        f"{name}_{what}"
        for name in QUANTITIES
        for what in ("a", "b", "change", "error", "sigmas", "own_sigmas")
    ),
    *(f"register_{name}_{side}" for name in _REGISTERS for side in "ab"),
    "effect_lsb",
)  # fmt: skip


def columns_csv(compared: RunComparison) -> bytes:
    """Return every column as CSV."""
    rows = (
        _row(tile, column)
        for tile in compared.tiles
        for column in range(len(tile.is_compared))
    )  # fmt: skip
    return csv_bytes(_HEADINGS, rows)


def _row(tile: TileComparison, column: int) -> list[Any]:
    row: list[Any] = [
        tile.core, str(tile.read_mode), column, bool(tile.moved[column]),
        bool(tile.moved_itself[column]), *(" ".join(names) for names in _flag_names(tile, column)),
    ]  # fmt: skip
    for each in tile.quantities.values():
        arrays = (
            each.before, each.after, each.change, each.error, each.sigmas, each.own_sigmas,
        )  # fmt: skip
        row += [float(array[column]) for array in arrays]
    for name in _REGISTERS:
        row += [
            int(getattr(step.conclusion.registers, name)[column])
            for step in (tile.before, tile.after)
        ]
    return [*row, _effect(tile, column)]
