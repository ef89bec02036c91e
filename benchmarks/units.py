"""Contenders for the NMPU (two uint16 in, int8 out) and for its FP16 baseline."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import FORMAT, Readouts
from benchmarks.timing import Contender
from hil.core.correction import Correction
from hil_calibration.kernels import numba_extra
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu
from hil_calibration.nmpu import apply_nmpu

Array = npt.NDArray[Any]

_NUMPY_VECTORS = 4096
_FIXED_POINT_VECTORS = 256
_FXPMATH_VECTORS = 16


def unit_contenders(readouts: Readouts) -> Iterator[Contender]:
    """Yield the kernel and its rivals; slow ones get fewer vectors and are credited with those."""
    yield from _kernel(readouts)
    vector_bytes = 4 * readouts.p_counts.shape[1]
    p_counts, n_counts = readouts.p_counts[:_NUMPY_VECTORS], readouts.n_counts[:_NUMPY_VECTORS]
    yield Contender(
        name="NMPU apply, numpy",
        work=vector_bytes * len(p_counts),
        run=lambda: apply_nmpu(p_counts, n_counts, readouts.registers, FORMAT),
    )
    half = LdpuCoefficients.from_correction(_correction(readouts))
    yield from _half_kernel(readouts, half)
    yield Contender(
        name="FP16 baseline, numpy",
        work=vector_bytes * len(p_counts),
        run=lambda: apply_ldpu(p_counts, n_counts, half),
    )
    for package, vectors, function in (
        ("apytypes", _FIXED_POINT_VECTORS, nmpu_with_apytypes),
        ("fxpmath", _FXPMATH_VECTORS, nmpu_with_fxpmath),
        ("torch", _NUMPY_VECTORS, nmpu_with_torch),
    ):
        if find_spec(package) is not None:
            used = min(vectors, len(readouts.p_counts))
            yield Contender(
                name=f"NMPU apply, {package}",
                work=vector_bytes * used,
                run=lambda function=function, used=used: function(readouts, used),  # type: ignore[misc]
            )


def _kernel(readouts: Readouts) -> Iterator[Contender]:
    if not numba_extra.is_installed():
        return
    from hil_calibration.kernels.nmpu import apply_nmpu_compiled

    out = np.ones(readouts.p_counts.shape, np.int8)
    apart = (readouts.p_counts, readouts.n_counts)
    together = (readouts.counts[:, 0], readouts.counts[:, 1])
    for name, (p_counts, n_counts), threads in (
        ("NMPU apply, one core", apart, 1),
        ("NMPU apply, all cores", apart, None),
        ("NMPU apply, P and N interleaved, all cores", together, None),
    ):
        yield Contender(
            name=name,
            work=4 * out.size,
            run=lambda p=p_counts, n=n_counts, threads=threads: apply_nmpu_compiled(  # type: ignore[misc]
                p, n, readouts.registers, FORMAT, out=out, threads=threads
            ),
        )


def _half_kernel(readouts: Readouts, half: LdpuCoefficients) -> Iterator[Contender]:
    """Yield the FP16 unit without batch normalisation, as its numpy rival has none, and with."""
    if not numba_extra.is_installed():
        return
    from hil_calibration.kernels.ldpu import apply_ldpu_compiled

    out = np.ones(readouts.p_counts.shape, np.int8)
    affine = replace(half, bn_scale=half.bn_scale * np.float16(1.25))
    for name, unit, threads in (
        ("FP16 baseline, one core", half, 1),
        ("FP16 baseline, all cores", half, None),
        ("FP16 baseline, batch norm, all cores", affine, None),
    ):
        yield Contender(
            name=name,
            work=4 * out.size,
            run=lambda unit=unit, threads=threads: apply_ldpu_compiled(  # type: ignore[misc]
                readouts.p_counts, readouts.n_counts, unit, out=out, threads=threads
            ),
        )


def _correction(readouts: Readouts) -> Correction:
    weight = 2.0 ** -(FORMAT.scale_frac + FORMAT.shift)
    registers = readouts.registers
    return Correction(
        a_p=registers.scale_p.astype(np.float64) * weight,
        a_n=registers.scale_n.astype(np.float64) * weight,
        b=registers.offset.astype(np.float64) * 0.5,
    )


def nmpu_with_apytypes(readouts: Readouts, vectors: int) -> Array:
    """Compute the default NMPU with apytypes' fixed-point arrays."""
    from apytypes import APyFixedArray, OverflowMode, QuantizationMode

    registers, shape = readouts.registers, (vectors, readouts.p_counts.shape[1])
    top = (1 << FORMAT.in_bits) - 1

    def array(codes: Array, int_bits: int, frac_bits: int) -> APyFixedArray:
        whole = np.broadcast_to(codes, shape).astype(np.int64)
        return APyFixedArray.from_array(whole * 2.0**-frac_bits, int_bits, frac_bits)

    p_input = array(np.minimum(readouts.p_counts[:vectors], top), 11, 0)
    n_input = array(np.minimum(readouts.n_counts[:vectors], top), 11, 0)
    difference = p_input * array(registers.scale_p, 2, 7) - n_input * array(registers.scale_n, 2, 7)
    shifted = difference >> FORMAT.shift
    nearest, clip = QuantizationMode.RND, OverflowMode.SAT
    held = shifted.cast(int_bits=11, frac_bits=1, quantization=nearest, overflow=clip)
    summed = held + array(registers.offset, 7, 1)
    output = summed.cast(int_bits=8, frac_bits=0, quantization=nearest, overflow=clip)
    return np.asarray(output.to_numpy(), np.int8)


def nmpu_with_fxpmath(readouts: Readouts, vectors: int) -> Array:
    """Compute the default NMPU with fxpmath's fixed-point arrays."""
    fixed: Any = import_module("fxpmath").Fxp  # untyped

    registers, top = readouts.registers, (1 << FORMAT.in_bits) - 1
    p_input = fixed(np.minimum(readouts.p_counts[:vectors], top), signed=True, n_word=11, n_frac=0)
    n_input = fixed(np.minimum(readouts.n_counts[:vectors], top), signed=True, n_word=11, n_frac=0)
    scales = [
        fixed(codes * 2.0**-7, signed=True, n_word=9, n_frac=7)
        for codes in (registers.scale_p, registers.scale_n)
    ]
    weight = 2.0**-FORMAT.shift
    difference = (p_input * scales[0] - n_input * scales[1]).get_val() * weight
    # fxpmath rounds to even or towards an end, never half up: floor(2 x + 0.5) / 2 is given it.
    held = fixed(np.floor(2 * difference + 0.5) / 2, signed=True, n_word=12, n_frac=1)
    summed = (held + fixed(registers.offset * 0.5, signed=True, n_word=8, n_frac=1)).get_val()
    output = fixed(np.floor(summed + 0.5), signed=True, n_word=8, n_frac=0)
    return np.asarray(output.get_val(), np.int8)


def nmpu_with_torch(readouts: Readouts, vectors: int) -> Array:
    """Compute the default NMPU with torch's 32-bit integers."""
    torch: Any = import_module("torch")  # not installed where the types are checked

    registers = readouts.registers
    top, cut = (1 << FORMAT.in_bits) - 1, FORMAT.total_cut

    def tensor(codes: Array) -> Any:
        return torch.from_numpy(codes.astype(np.int32))

    p_input = tensor(readouts.p_counts[:vectors]).clamp(max=top)
    n_input = tensor(readouts.n_counts[:vectors]).clamp(max=top)
    difference = p_input * tensor(registers.scale_p) - n_input * tensor(registers.scale_n)
    held = ((difference + (1 << (cut - 1))) >> cut).clamp(-2048, 2047)
    output = ((held + tensor(registers.offset) + 1) >> 1).clamp(-128, 127)
    return np.asarray(output.to(torch.int8).numpy())
