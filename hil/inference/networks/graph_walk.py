"""Computing a network node by node, with some nodes computed otherwise and some looked at."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Compute = Callable[[tuple[Any, ...]], Any]
"""Makes a node's value of the values of its arguments."""
Observe = Callable[[str, Any], None]
"""Is told the name of a node and its value."""


def walk_graph(
    graph: Any,
    images: "torch.Tensor",
    *,
    compute: Mapping[str, Compute] | None = None,
    observe: Observe | None = None,
) -> "torch.Tensor":
    """Compute the output of a flat graph.

    A value is dropped when nothing needs it any more: memory holds what is between two nodes.

    Parameters
    ----------
    graph
        A `torch.fx.GraphModule` of one input and one output.
    images
        Its input, shape (image, ...); the parameters are taken to its device.
    compute
        What computes the nodes of these names instead of their own operation.
    observe
        Is told every node that is computed, in order.
    """
    from torch.fx.node import map_arg  # noqa: PLC0415 - the extra `inference`

    instead = compute or {}
    values: dict[str, Any] = {}
    uses = Counter({node.name: len(node.users) for node in graph.graph.nodes})

    def value_of(node: Any) -> Any:
        return values[node.name]

    for node in graph.graph.nodes:
        arguments = map_arg(node.args, value_of)
        if node.op == "output":
            result = arguments[0]
            logits: torch.Tensor = result[0] if isinstance(result, tuple | list) else result
            return logits
        if node.op == "placeholder":
            # Networks are traced with images in this order, and their views hold for no other.
            value = images.contiguous()
        elif node.op == "get_attr":
            value = attribute(graph, node.target)
            value = value.to(images.device) if hasattr(value, "to") else value
        elif node.name in instead:
            value = instead[node.name](arguments)
        else:
            operation = (
                graph.get_submodule(node.target) if node.op == "call_module" else node.target
            )
            value = operation(*arguments, **map_arg(node.kwargs, value_of))
        if observe is not None:
            observe(node.name, value)
        values[node.name] = value
        for used in node.all_input_nodes:
            uses[used.name] -= 1
            if uses[used.name] == 0:
                del values[used.name]
    raise ValueError("the graph has no output")


def attribute(graph: Any, path: str) -> Any:
    """Return a parameter or buffer of a graph by its path."""
    found = graph
    for name in path.split("."):
        found = getattr(found, name)
    return found
