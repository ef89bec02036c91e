"""A trained network as one flat graph of operations, wherever it came from."""

import hashlib
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, Problem
from hil.inference.libraries import load_torch
from hil.inference.networks.architectures.built_in import BUILT_IN, build
from hil.inference.networks.factory import call_factory, factory_surroundings, why
from hil.inference.networks.functional import functional_graph
from hil.inference.networks.graph import find_layers
from hil.inference.networks.graph_digest import graph_digest
from hil.inference.networks.layers import AnalogLayer
from hil.inference.networks.weight_size import require_usual_sizes
from hil.inference.networks.weights import (
    check_finite,
    insert_weights,
    read_weights,
    weights_digest,
)

_LARGEST_BATCH = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network in evaluation mode, and its layers that go onto cores."""

    graph: Any
    """`torch.fx.GraphModule`: flat, aten operations, none in place, any number of images, float32,
    on the CPU."""
    layers: tuple[AnalogLayer, ...]
    """In the order of execution."""
    image_shape: tuple[int, int, int]
    """(channel, row, column) of an image."""
    classes: int
    """Number of logits."""
    source: str
    """Architecture, factory or file, as the user named it."""
    weights_sha256: str
    """Of the file of weights; of the tensors where a factory made them without a file."""
    program_sha256: str
    """Of what it computes: operations, arguments and constants, as `graph_digest` does."""


def load_network(
    model: str,
    weights: Path | None,
    *,
    image_shape: tuple[int, int, int],
    classes: int | None = None,
) -> Network:
    """Load a trained network.

    Parameters
    ----------
    model
        A built-in architecture (`BUILT_IN`), ``package.module:factory`` or ``FILE.py:factory`` (a
        function or class that is called without arguments), or a ``.pt2`` file of
        `torch.export.save`.
    weights
        What torch.save or safetensors wrote; None leaves those that a factory or file has.
    image_shape
        (channel, row, column).
    classes
        Number of logits that the labels need; None takes what the network has.

    Raises
    ------
    ConfigError
        If there is no such model, it cannot be mapped (each operation is named with its module),
        it does not take such images, or torch is not installed.
    DatasetError
        If a file cannot be read, or the weights are another architecture's or not finite.
    """
    torch = load_torch()
    suffix = Path(model).suffix.lower()
    if suffix == ".onnx":
        reason = (
            "ONNX files are not read; export the PyTorch network by torch.export.save(program, "
            "'network.pt2'), or name its factory as package.module:factory or FILE.py:factory"
        )
        raise ConfigError(model, [Problem("", reason)])
    if suffix in (".pt2", ".ep"):
        from hil.inference.networks.exported import open_exported  # noqa: PLC0415 - imports torch

        given = None if weights is None else read_weights(weights)
        graph, state = open_exported(Path(model), given, weights_source=str(weights))
        return _network(graph, state, Path(model) if weights is None else weights, model,
                        image_shape=image_shape, classes=classes)  # fmt: skip
    with factory_surroundings(model) if ":" in model else nullcontext():
        with torch.random.fork_rng(devices=[]):  # making a network draws weights of no meaning
            module = _module(model, weights, image_shape=image_shape)
        return trace_network(
            module, image_shape=image_shape, source=model, classes=classes, weights=weights
        )


def trace_network(
    module: Any,
    *,
    image_shape: tuple[int, int, int],
    source: str,
    classes: int | None = None,
    weights: Path | None = None,
) -> Network:
    """Turn a `torch.nn.Module` with its weights into a network.

    Parameters
    ----------
    module
        The module; it is put into evaluation mode and float32, on the CPU.
    image_shape
        (channel, row, column).
    source
        What errors and results call it.
    classes
        Number of logits that the labels need; None takes what the network has.
    weights
        File that the weights are from.

    Raises
    ------
    ConfigError
        If it cannot be mapped, does not take such images, or has enormous weights.
    DatasetError
        If a weight is not finite.
    """
    torch = load_torch()
    module = module.cpu().float().eval()
    check_finite(module.state_dict(), source=source)
    example = torch.zeros((2, *image_shape))
    batch = {0: torch.export.Dim("images", min=1, max=_LARGEST_BATCH)}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for the author of the network
            module(example)
    except BaseException as error:
        raise _does_not_take(source, image_shape, error) from error
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations, nobody here can act on
            program = torch.export.export(module, (example,), dynamic_shapes=(batch,))
    except BaseException as error:
        reason = f"torch.export cannot make one graph of it: {why(error)}"
        raise ConfigError(source, [Problem("", reason)]) from error
    graph = functional_graph(program, source=source)
    return _network(
        graph, module.state_dict(), weights, source, image_shape=image_shape, classes=classes
    )


def _network(
    graph: Any,
    state: Any,
    file: Path | None,
    source: str,
    *,
    image_shape: tuple[int, int, int],
    classes: int | None,
) -> Network:
    logits = _count_logits(graph, source, image_shape)
    if classes is not None and logits < classes:
        reason = f"has {logits} logits, the labels need {classes}"
        raise ConfigError(source, [Problem("", reason)])
    for parameter in graph.parameters():
        parameter.requires_grad_(False)  # noqa: FBT003 - torch's own name
    layers = find_layers(graph, source=source)
    require_usual_sizes(layers, source=source)
    return Network(
        graph=graph,
        layers=layers,
        image_shape=image_shape,
        classes=logits,
        source=source,
        weights_sha256=weights_digest(state) if file is None else _file_digest(file),
        program_sha256=graph_digest(graph),
    )


def _module(model: str, weights: Path | None, *, image_shape: tuple[int, int, int]) -> Any:
    if model in BUILT_IN:
        if weights is None:
            reason = "a built-in architecture has no weights of its own: give a file of weights"
            raise ConfigError(model, [Problem("", reason)])
        given = read_weights(weights)
        module, renamed = build(model, given, image_shape=image_shape)
        insert_weights(module, renamed, source=str(weights))
        return module
    if ":" not in model:
        reason = (
            f"no such model; give one of {', '.join(BUILT_IN)}, package.module:factory, "
            "FILE.py:factory, or a .pt2 file"
        )
        raise ConfigError(model, [Problem("", reason)])
    module = call_factory(model)
    if weights is not None:
        insert_weights(module, read_weights(weights), source=str(weights))
    return module


def _count_logits(graph: Any, source: str, image_shape: tuple[int, int, int]) -> int:
    torch = load_torch()
    images = 3
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for the author of the network
            output = graph(torch.zeros((images, *image_shape)))
    except Exception as error:
        raise _does_not_take(source, image_shape, error) from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != images:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        reason = f"its output for {images} images is {shape}, must be one tensor (image, class)"
        raise ConfigError(source, [Problem("", reason)])
    return int(output.shape[1])


def _does_not_take(
    source: str, image_shape: tuple[int, int, int], error: BaseException
) -> ConfigError:
    channels, rows, columns = image_shape
    reason = (
        f"does not take images of {rows} x {columns} pixels and {channels} channels: {why(error)}"
    )
    return ConfigError(source, [Problem("", reason)])


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
