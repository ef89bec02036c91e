"""Weights and inputs as int8 codes: one step per output of a layer, one for its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import ConfigError, Problem
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.tiles import ProgrammedTile, Tile
from hil.inference.placing.value_range import LARGEST_CODE

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class QuantisedLayer:
    """A layer in codes."""

    layer: AnalogLayer
    """What it was made of."""
    weight_codes: npt.NDArray[np.int8]
    """Shape (group, row, column), -127 to 127."""
    weight_scale: npt.NDArray[np.float64]
    """Weight that a code of 1 stands for, shape (output,)."""
    input_scale: float
    """Input that a code of 1 stands for."""

    def __post_init__(self) -> None:
        for name in ("weight_codes", "weight_scale"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def product_scale(self) -> npt.NDArray[np.float64]:
        """Output that one product of codes stands for, shape (output,)."""
        return np.asarray(self.weight_scale * self.input_scale)

    def tile_codes(self, tile: Tile) -> npt.NDArray[np.int8]:
        """Return the codes of a tile, shape (row, column)."""
        return np.asarray(self.weight_codes[tile.group, tile.rows, tile.columns])

    def tile_outputs(self, tile: Tile) -> slice:
        """Return which outputs of the layer the columns of a tile are."""
        first = tile.group * self.layer.columns
        return slice(first + tile.columns.start, first + tile.columns.stop)


def quantise_layer(layer: AnalogLayer, input_limit: float) -> QuantisedLayer:
    """Turn a layer into codes.

    Each output has a step of its own: its largest weight becomes code 127 or -127.

    Parameters
    ----------
    layer
        The layer.
    input_limit
        Input that code 127 stands for, 0 < input_limit.

    Raises
    ------
    ConfigError
        If a weight is not finite.
    """
    flat = layer.weight.reshape(layer.outputs, -1).astype(np.float64)
    wrong = ~np.isfinite(flat).all(axis=1)
    if wrong.any():
        message = f"weights of output {int(np.argmax(wrong))} are not finite"
        raise ConfigError(f"layer {layer.name}", [Problem("", message)])
    largest = np.abs(flat).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0) / LARGEST_CODE
    codes = np.rint(flat / scale[:, None]).astype(np.int8)
    by_group = codes.reshape(layer.groups, layer.columns, layer.rows)
    return QuantisedLayer(
        layer=layer,
        weight_codes=by_group.transpose(0, 2, 1).copy(),
        weight_scale=scale,
        input_scale=input_limit / LARGEST_CODE,
    )


def quantise_layers(
    layers: Sequence[AnalogLayer], input_limits: Sequence[float]
) -> tuple[QuantisedLayer, ...]:
    """Turn layers into codes, each with the range of its inputs: see `quantise_layer`."""
    return tuple(
        quantise_layer(layer, limit) for layer, limit in zip(layers, input_limits, strict=True)
    )


def program_tiles(
    quantised: Sequence[QuantisedLayer], tiles: Sequence[Tile]
) -> tuple[ProgrammedTile, ...]:
    """Return tiles with their weights."""
    return tuple(
        ProgrammedTile(tile=tile, weight_codes=quantised[tile.layer].tile_codes(tile))
        for tile in tiles
    )


def quantise_inputs(values: "torch.Tensor", scale: float) -> "torch.Tensor":
    """Round values to int8 codes, ties to even, -127 to 127.

    Parameters
    ----------
    values
        Any shape.
    scale
        Value of one code.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    codes = torch.div(values, scale).round_().clamp_(-LARGEST_CODE, LARGEST_CODE)
    return codes.to(torch.int8)
