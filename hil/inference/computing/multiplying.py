"""A layer's matrix times its input vectors: exactly, or by the cores that hold its tiles.

Nothing loops over vectors. A layer is taken in spans of images, so that memory does not grow with
their number; the vectors of a tile are numbered through all images, so that a span cannot be seen
in the noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from hil.inference.computing.readings import CoreReadings
from hil.inference.networks.patches import input_vectors, vectors_per_image
from hil.inference.placing.quantised import QuantisedLayer
from hil.inference.placing.tiles import Tile

if TYPE_CHECKING:
    import torch

    from hil.inference.computing.tally import LayerTally

_SPAN_VALUES = 1 << 25
"""Values of one span: inputs, counts and products together stay below some 200 MB."""
_EXACT_ROWS = 1040
"""Rows up to which float32 holds every sum of products of int8 codes (below 2**24)."""


class TileCorrection(Protocol):
    """What becomes of the counts of a tile."""

    @property
    def uses_chip_codes(self) -> bool:
        """Whether the codes of the chip's own unit may stand for those computed here."""
        ...

    def outputs(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Correct counts, int32 (vector, polarity, column).

        Returns
        -------
            float32 (vector, column): products, or what leaves the layer if it was folded in.
        """
        ...

    def of_codes(self, codes: "torch.Tensor") -> "torch.Tensor":
        """Return what codes int8 (vector, column) of the unit stand for, float32."""
        ...


class LayerMultiplier(Protocol):
    """Multiplies layers."""

    @property
    def folded(self) -> frozenset[int]:
        """Layers whose normalisation and ReLU are in their outputs already."""
        ...

    def outputs(self, place: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply the inputs of a layer.

        Parameters
        ----------
        place
            Which layer.
        input_codes
            int8, the layer's input: (image, channel, row, column), or (image, ..., input).
        first
            Number of the first image.

        Returns
        -------
            float32 (vector, output): the products of codes, or what leaves a folded layer.
        """
        ...


class ExactLayers:
    """Exact products, without any chip."""

    folded: frozenset[int] = frozenset()

    def __init__(self, quantised: Sequence[QuantisedLayer], device: "torch.device") -> None:
        self._quantised = quantised
        self._device = device

    def outputs(self, place: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply the inputs of a layer; `first` changes nothing."""
        import torch  # noqa: PLC0415 - the extra `inference`

        one = self._quantised[place]
        wide = torch.float32 if one.layer.rows <= _EXACT_ROWS else torch.float64
        weights = torch.tensor(one.weight_codes, dtype=wide, device=self._device)
        found = []
        for span in image_spans(one, input_codes):
            part = input_codes[span]
            groups = [
                input_vectors(one.layer, part, group).to(wide) @ weights[group]
                for group in range(one.layer.groups)
            ]
            found.append(torch.cat(groups, dim=1).to(torch.float32))
        return torch.cat(found)


class ChipLayers:
    """Products of cores, each corrected, summed over the tiles along the rows.

    Parameters
    ----------
    quantised
        The layers.
    tiles
        Where they are; the cores are programmed.
    readings
        Who multiplies.
    corrections
        What becomes of the counts, by core.
    folded
        Layers whose corrections hold their normalisation and ReLU; one tile along the rows each.
    vectors_before
        Vectors that a core has multiplied before the first image, those that calibrated it, by
        core; 0 where None.
    tally
        Counts what is clipped, if given.
    """

    def __init__(
        self,
        quantised: Sequence[QuantisedLayer],
        tiles: Sequence[Tile],
        readings: CoreReadings,
        corrections: Mapping[int, TileCorrection],
        *,
        folded: frozenset[int] = frozenset(),
        vectors_before: Mapping[int, int] | None = None,
        tally: "LayerTally | None" = None,
    ) -> None:
        self._quantised = quantised
        self._readings = readings
        self._corrections = corrections
        self._vectors_before = vectors_before or {}
        self._tally = tally
        self.folded = folded
        """Layers whose normalisation and ReLU are in their outputs already."""
        self._tiles: dict[tuple[int, int], list[Tile]] = {}
        for tile in tiles:
            self._tiles.setdefault((tile.layer, tile.group), []).append(tile)

    def outputs(self, place: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply the inputs of a layer: see `LayerMultiplier`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        one = self._quantised[place]
        per_image = vectors_per_image(one.layer, input_codes)
        outputs = torch.zeros(
            (len(input_codes) * per_image, one.layer.outputs), device=self._readings.device
        )
        for span in image_spans(one, input_codes):
            number = (first + span.start) * per_image
            for group in range(one.layer.groups):
                vectors = input_vectors(one.layer, input_codes[span], group)
                rows = slice(span.start * per_image, span.start * per_image + len(vectors))
                for tile in self._tiles[place, group]:
                    part = vectors[:, tile.rows]
                    outputs[rows, one.tile_outputs(tile)] += self._corrected(tile, part, number)
        return outputs

    def _corrected(self, tile: Tile, vectors: "torch.Tensor", number: int) -> "torch.Tensor":
        correction = self._corrections[tile.core]
        number += self._vectors_before.get(tile.core, 0)
        contiguous = vectors.contiguous()
        if correction.uses_chip_codes:
            codes = self._readings.corrected(tile.core, contiguous, first=number)
            if codes is not None:
                return correction.of_codes(codes)
        counts = self._readings.counts(tile.core, contiguous, first=number)
        if self._tally is not None:
            self._tally.add_counts(tile.layer, counts)
        return correction.outputs(counts)


def image_spans(one: QuantisedLayer, input_codes: "torch.Tensor") -> Iterator[slice]:
    """Cut the images of a layer's input into spans that memory holds."""
    per_image = vectors_per_image(one.layer, input_codes)
    values = per_image * (one.layer.rows + 8 * one.layer.columns)
    images = max(1, _SPAN_VALUES // max(values, 1))
    for first in range(0, len(input_codes), images):
        yield slice(first, min(first + images, len(input_codes)))
