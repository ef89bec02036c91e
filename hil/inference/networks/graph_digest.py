"""A hash of what a network computes, whatever its parts are called."""

import hashlib
from typing import Any

from hil.inference.networks.graph_walk import attribute
from hil.inference.networks.weights import weights_digest


def graph_digest(graph: Any) -> str:
    """Return the SHA-256 of a flat graph: operations, arguments and constants, in order.

    Nodes are called by their place, so neither their names nor those of weights and modules matter.

    Parameters
    ----------
    graph
        A flat `torch.fx.GraphModule`, on the CPU.

    Returns
    -------
    Hexadecimal digits.
    """
    digest = hashlib.sha256(b"hil network 1\n")
    places: dict[Any, int] = {}
    for place, node in enumerate(graph.graph.nodes):
        places[node] = place
        digest.update(f"{node.op} {_target(graph, node)}\n".encode())
        given = [*enumerate(node.args), *sorted(node.kwargs.items())]
        for name, value in given:
            digest.update(f" {name}={_words(value, places)}\n".encode())
    return digest.hexdigest()


def _target(graph: Any, node: Any) -> str:
    if node.op == "get_attr":
        value = attribute(graph, node.target)
        is_tensor = hasattr(value, "detach")
        return weights_digest({"": value}) if is_tensor else f"{type(value).__name__} {value!r}"
    if node.op != "call_function":
        return "" if node.op in ("placeholder", "output") else str(node.target)
    module = getattr(node.target, "__module__", "")
    # aten's operations say their overload; functions of Python would say where they are in memory.
    name = getattr(node.target, "__qualname__", "") if module in ("_operator", "math") else ""
    return f"{module}.{name}" if name else str(node.target)


def _words(value: Any, places: dict[Any, int]) -> str:
    if _is_node(value):
        return f"%{places[value]}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_words(one, places) for one in value)}]"
    if isinstance(value, dict):
        items = sorted((str(key), _words(one, places)) for key, one in value.items())
        return f"{{{items}}}"
    if isinstance(value, slice):
        return f"slice{_words([value.start, value.stop, value.step], places)}"
    return repr(value)


def _is_node(value: Any) -> bool:
    return hasattr(value, "all_input_nodes")
