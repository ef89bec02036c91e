"""Normalisation and ReLU of a layer folded into the correction of its cores, where that holds.

A unit behind the columns computes one affine map per column, and so is normalisation; but the sum
over tiles along the rows comes between the two. So only layers with one such tile are folded; and
only where the registers hold the result without a much coarser output step. All others are
normalised digitally, and every layer says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil.inference.placing.quantised import QuantisedLayer
from hil.inference.placing.ranges import Ranges, last_node
from hil.inference.placing.tiles import Tile
from hil_calibration.calibrate import OFFSET_ROOM_CODES, CoreCalibration
from hil_calibration.error_bound import error_bound
from hil_calibration.fold import BatchNorm, FoldedBatchNorm, fold_batch_norm
from hil_calibration.ldpu import LdpuCoefficients
from hil_calibration.quantize import quantize, smallest_output_lsb

LARGEST_COARSENING = 2.0
"""Most that folding may coarsen the output step of a layer: one bit of eight. Beyond it, digital
normalisation keeps more of the products than the output codes would."""

CountArray = npt.NDArray[np.uint16]
"""Counts (vector, polarity, column), P then N."""


@dataclass(frozen=True, kw_only=True)
class FoldedTile:
    """A tile whose unit normalises, too."""

    nmpu: FoldedBatchNorm
    """For the NMPU: registers, format, and the value of one output code."""
    fp16: LdpuCoefficients
    """The same map for the FP16 unit, in output codes of the same value."""


@dataclass(frozen=True, kw_only=True)
class LayerFolding:
    """Whether a layer is normalised by the units behind its columns."""

    name: str
    """Path of the module."""
    tiles: Mapping[int, FoldedTile]
    """By core; empty where the layer is normalised digitally."""
    reason: str
    """Why it is digital; empty if it is not."""

    @property
    def is_folded(self) -> bool:
        """Whether it is folded."""
        return bool(self.tiles)


class _NotFoldedError(Exception):
    """Why a layer stays digital."""


def output_affine(
    one: QuantisedLayer,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return gain and offset from products of codes to what leaves a layer, before its ReLU.

    Returns
    -------
    Value per product, and value, each of shape (output,).
    """
    norm = output_norm(one)
    return norm.gain, norm.beta - norm.mean * norm.gain


def output_norm(one: QuantisedLayer) -> BatchNorm:
    """Return bias and normalisation of a layer as one normalisation of its products of codes."""
    layer, step = one.layer, one.product_scale
    bias = np.zeros(layer.outputs) if layer.bias is None else layer.bias.astype(np.float64)
    norm = layer.batch_norm
    if norm is None:
        ones = np.ones(layer.outputs)
        return BatchNorm(gamma=step, beta=bias, mean=0 * ones, variance=ones, eps=0.0)
    return BatchNorm(
        gamma=norm.gamma * step,
        beta=norm.beta,
        mean=(norm.mean - bias) / step,
        variance=norm.variance,
        eps=norm.eps,
    )


def fold_layers(
    quantised: Sequence[QuantisedLayer],
    tiles: Sequence[Tile],
    calibrations: Mapping[int, CoreCalibration],
    ranges: Ranges,
    *,
    fmt: NmpuFormat,
    headroom: float,
    sample_counts: Mapping[int, CountArray] | None = None,
) -> tuple[LayerFolding, ...]:
    """Fold what can be folded.

    Parameters
    ----------
    quantised
        The layers in codes.
    tiles
        Where they are.
    calibrations
        Of every core.
    ranges
        With the range of what leaves each layer.
    fmt
        NMPU format, shift 0.
    headroom
        Factor left in the scale registers for drift, 1 <= headroom.
    sample_counts
        Readouts of the cores, by core: the codes are searched for on them. Without them, every
        gain and offset has its nearest code, which costs up to several output codes.

    Returns
    -------
    One for each layer.
    """
    counts = sample_counts or {}
    found = []
    for place, one in enumerate(quantised):
        own = [tile for tile in tiles if tile.layer == place]
        folded: dict[int, FoldedTile] = {}
        reason = _why_never(one, own)
        try:
            for tile in own if not reason else ():
                limit = ranges.limits[last_node(one.layer)]
                nearest = _fold_tile(
                    one, tile, calibrations[tile.core], limit, fmt=fmt, headroom=headroom
                )
                seen = counts.get(tile.core)
                folded[tile.core] = (
                    nearest
                    if seen is None
                    else replace(nearest, nmpu=search_codes(nearest.nmpu, seen, headroom=headroom))
                )
        except _NotFoldedError as error:
            folded, reason = {}, str(error)
        found.append(LayerFolding(name=one.layer.name, tiles=folded, reason=reason))
    return tuple(found)


def folded_layers(foldings: Sequence[LayerFolding]) -> frozenset[int]:
    """Return the places of the layers that are folded, as `ChipLayers` takes them."""
    return frozenset(place for place, one in enumerate(foldings) if one.is_folded)


def describe_folding(foldings: Sequence[LayerFolding]) -> str:
    """Return which layers are normalised where, to print."""
    folded = [one.name for one in foldings if one.is_folded]
    reasons: dict[str, list[str]] = {}
    for one in foldings:
        if not one.is_folded:
            reasons.setdefault(one.reason, []).append(one.name)
    lines = [f"normalised by the chip's units: {', '.join(folded) or 'none'}"]
    lines += [f"digital, {reason}: {', '.join(names)}" for reason, names in reasons.items()]
    return "\n".join(lines)


def _why_never(one: QuantisedLayer, own: Sequence[Tile]) -> str:
    if one.layer.batch_norm is None and one.layer.relu_node is None:
        return "no normalisation or ReLU follows"
    if any(tile.row_count < one.layer.rows for tile in own):
        return "partial sums of several cores come first"
    return ""


def _fold_tile(
    one: QuantisedLayer,
    tile: Tile,
    calibration: CoreCalibration,
    limit: float,
    *,
    fmt: NmpuFormat,
    headroom: float,
) -> FoldedTile:
    whole, part = output_norm(one), one.tile_outputs(tile)
    norm = BatchNorm(
        gamma=whole.gamma[part],
        beta=whole.beta[part],
        mean=whole.mean[part],
        variance=whole.variance[part],
        eps=whole.eps,
    )
    output_lsb = _output_lsb(norm, calibration, limit, fmt, headroom)
    try:
        nmpu = fold_batch_norm(
            calibration.correction,
            norm,
            fmt,
            input_lsb=calibration.output_lsb,
            output_range=output_lsb * fmt.highest_output,
            relu=one.layer.relu_node is not None,
            headroom=headroom,
        )
    except (CalibrationError, ValueError) as error:
        raise _NotFoldedError(str(error)) from error
    return FoldedTile(nmpu=nmpu, fp16=_half_coefficients(norm, calibration, output_lsb))


def search_codes(
    nearest: FoldedBatchNorm, counts: CountArray, *, headroom: float
) -> FoldedBatchNorm:
    """Return the codes nearest to the real-valued map on readouts, all of a column together.

    The nearest code of a gain is off by up to half a step, and hundreds of counts make whole output
    codes of that; the offset, fitted again, takes its mean back. The target knows no ReLU: what it
    cuts off still says which gains are right.
    """
    correction = nearest.correction
    found = quantize(
        correction,
        nearest.fmt,
        # A dead column, too, has an offset: what normalisation makes of nothing.
        is_calibrated=np.ones(correction.b.shape, dtype=np.bool_),
        counts=counts,
        expected=correction.apply(counts),
        headroom=headroom,
    )
    bound = error_bound(correction, found.registers, found.fmt)
    return replace(nearest, fmt=found.fmt, registers=found.registers, error_bound=bound)


def _output_lsb(
    norm: BatchNorm, calibration: CoreCalibration, limit: float, fmt: NmpuFormat, headroom: float
) -> float:
    """Return the finest step that holds outputs, gains and offsets, in the normalised unit."""
    correction, step = calibration.correction, calibration.output_lsb
    gains = np.maximum(abs(correction.a_p), abs(correction.a_n)) * abs(norm.gain) * step
    offsets = (correction.b * step - norm.mean) * norm.gain + norm.beta
    wanted = limit / fmt.highest_output
    needed = max(wanted, smallest_output_lsb(float(gains.max(initial=0.0)), fmt, headroom))
    if fmt.offset_at is OffsetAt.AFTER_SHIFT:
        register = fmt.offset_format
        room = OFFSET_ROOM_CODES * register.step
        above = offsets / max(register.highest - room, register.step)
        below = offsets / min(register.lowest + room, -register.step)
        needed = max(needed, float(np.maximum(above, below).max(initial=0.0)))
    if needed > LARGEST_COARSENING * wanted:
        raise _NotFoldedError(
            f"its gains and offsets need an output step more than {LARGEST_COARSENING:g} times as "
            "coarse in this format"
        )
    return needed


def _half_coefficients(
    norm: BatchNorm, calibration: CoreCalibration, output_lsb: float
) -> LdpuCoefficients:
    """Return correction and normalisation apart, as the FP16 unit holds them."""
    plain = LdpuCoefficients.from_correction(calibration.correction)
    gain = norm.gain * (calibration.output_lsb / output_lsb)
    offset = (norm.beta - norm.mean * norm.gain) / output_lsb
    with np.errstate(over="ignore"):  # beyond 65504 is infinite in FP16
        return LdpuCoefficients(
            scale_p=plain.scale_p,
            scale_n=plain.scale_n,
            offset=plain.offset,
            bn_scale=gain.astype(np.float16),
            bn_offset=offset.astype(np.float16),
        )
