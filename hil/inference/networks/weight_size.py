"""Whether the numbers of a network's layers are of a size that float32 can compute with."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.inference.networks.layers import AnalogLayer

LARGEST_VALUE = 1e15
"""Largest magnitude of a weight, a bias, or a value of batch normalisation. Trained ones are not
within many powers of ten of it; float32, which ends at 3.4e38, still holds products of two."""


def require_usual_sizes(layers: Sequence[AnalogLayer], *, source: str) -> None:
    """Refuse a network with values that are finite but so large that only damage explains them.

    Raises
    ------
    ConfigError
        With every layer that has one, and the first of its values.
    """
    problems = []
    for layer in layers:
        for name, values in _values(layer):
            # NaN is told elsewhere: no comparison with it is true.
            wrong = np.argwhere(np.abs(values) > LARGEST_VALUE)
            if len(wrong):
                place = tuple(map(int, wrong[0]))
                message = (
                    f"{name} {values[place]:.3g} at {place}: must be at most {LARGEST_VALUE:g} in "
                    "magnitude, beyond that float32 overflows a layer or two later; is the file "
                    "of weights damaged, or training diverged?"
                )
                problems.append(Problem(f"layer {layer.name}", message))
                break
    if problems:
        raise ConfigError(source, problems)


def _values(layer: AnalogLayer) -> Iterator[tuple[str, npt.NDArray[np.floating]]]:
    yield "weight", layer.weight
    if layer.bias is not None:
        yield "bias", layer.bias
    norm = layer.batch_norm
    if norm is not None:
        for name in ("gamma", "beta", "mean", "variance"):
            yield f"{name} of batch normalisation", getattr(norm, name)
