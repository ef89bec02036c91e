"""Programs that `torch.export.save` wrote, as flat graphs."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.core.errors import ConfigError, HilError, Problem
from hil.inference.libraries import load_torch
from hil.inference.networks.functional import functional_graph
from hil.inference.networks.program_archive import damaged, read_archive
from hil.inference.networks.weights import check_finite, check_names, no_plain_numbers, with_prefix

if TYPE_CHECKING:
    import torch


def open_exported(
    path: Path, weights: "Mapping[str, torch.Tensor] | None", *, weights_source: str
) -> "tuple[Any, dict[str, torch.Tensor]]":
    """Open an exported program.

    Parameters
    ----------
    path
        What `torch.export.save` wrote, of a network with one input.
    weights
        Weights that replace its own; None keeps those.
    weights_source
        What errors call these weights.

    Returns
    -------
    Its flat graph, a `torch.fx.GraphModule`, and its weights by name.

    Raises
    ------
    DatasetError
        If it is missing or damaged, could run code, or its weights are not finite.
    ConfigError
        If it takes other than one input, is not of float32, or has a fixed number of images.
    """
    content = read_archive(path)
    torch = load_torch()
    try:
        with warnings.catch_warnings(), _silent("torch.export"):
            warnings.simplefilter("ignore")  # about what torch will drop one day
            program = torch.export.load(io.BytesIO(content))
            graph = functional_graph(program, source=str(path))
    except HilError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"torch {torch.__version__} cannot open it: {first}; export it with this version"
        raise damaged(path, reason) from error
    _check_interface(graph, path)
    if weights is not None:
        wanted = dict(graph.state_dict())
        named = with_prefix(weights, wanted)
        check_names(wanted, named, source=weights_source)
        graph.load_state_dict(named, strict=False)
    state = dict(graph.state_dict())
    check_finite(state, source=str(path))
    return graph, state


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a library from logging what is raised as an error anyway, with its traceback."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _check_interface(graph: Any, path: Path) -> None:
    torch = load_torch()
    for node in graph.graph.nodes:
        kind = getattr(node.target, "__module__", "")
        is_operation = isinstance(node.target, torch._ops.OpOverload)  # noqa: SLF001 - no other name
        if node.op == "call_function" and not is_operation and kind not in ("_operator", "math"):
            reason = f"calls {node.target}, must call operations of torch only"
            raise ConfigError(str(path), [Problem(node.name, reason)])
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        reason = f"takes {len(inputs)} inputs, must take one: the images"
        raise ConfigError(str(path), [Problem("", reason)])
    images = inputs[0].meta.get("val")
    if images is not None and isinstance(images.shape[0], int):
        reason = (
            f"takes exactly {images.shape[0]} images at a time: export it with "
            "dynamic_shapes=({0: torch.export.Dim('images')},)"
        )
        raise ConfigError(str(path), [Problem("", reason)])
    for key, value in graph.state_dict().items():
        strange = no_plain_numbers(value)
        if strange:
            raise ConfigError(str(path), [Problem(key, strange)])
        if value.is_floating_point() and value.dtype != torch.float32:
            reason = f"is {value.dtype}, must be torch.float32: export network.float()"
            raise ConfigError(str(path), [Problem(key, reason)])
