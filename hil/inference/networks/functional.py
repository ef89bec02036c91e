"""Programs without operations in place: a value, once computed, stays what it is.

A network may work in place on its images, or on part of what a layer returned. Walked node by node
with some nodes computed otherwise, such a change would reach the images of everything after, or be
lost with the copy that another computation made. So it is written into the graph what changes.
"""

import operator
import warnings
from typing import Any

from hil.core.errors import ConfigError, Problem
from hil.inference.libraries import load_torch

_VIEWS = ("aten.view.default", "aten._unsafe_view.default")


def functional_graph(program: Any, *, source: str) -> Any:
    """Return the flat graph of an exported program, free of operations in place.

    Parameters
    ----------
    program
        A `torch.export.ExportedProgram`.
    source
        The network, as the user named it.

    Returns
    -------
    A `torch.fx.GraphModule` of the program's own operations. Batch normalisation stays one
    operation, ``aten.batch_norm``.

    Raises
    ------
    ConfigError
        If the network changes its own buffers, or torch cannot write it without changes in place.
    """
    if not any(_works_in_place(node) for node in program.graph.nodes):
        return program.module(check_guards=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations, nobody here can act on
            written = program.run_decompositions({})
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"works in place, and torch cannot write it without that: {first}"
        raise ConfigError(source, [Problem("", reason)]) from error
    _refuse_state(written, source)
    graph = written.module(check_guards=False)
    for node in list(graph.graph.nodes):
        if str(node.target) == "aten.copy_.default" and node.args[0].op == "placeholder":
            graph.graph.erase_node(node)  # what would give changed images back to who called
        elif str(node.target) == "aten._native_batch_norm_legit_no_training.default":
            _join_batch_norm(graph.graph, node)
        elif str(node.target) in _VIEWS:
            # What torch made of flatten() holds for one order in memory only.
            node.target = load_torch().ops.aten.reshape.default
    graph.recompile()
    return graph


def _works_in_place(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _refuse_state(program: Any, source: str) -> None:
    changed = sorted(program.graph_signature.buffers_to_mutate.values())
    problems = [
        Problem(
            name,
            "the network changes this buffer as it computes, so what it predicts depends on what "
            "it saw before: keep it as it is in evaluation mode",
        )
        for name in changed
    ]
    if problems:
        raise ConfigError(source, problems)


def _join_batch_norm(graph: Any, node: Any) -> None:
    """Put the operation that torch took apart back: a layer's normalisation is found by it."""
    torch = load_torch()
    users = list(node.users)
    if any(user.target is not operator.getitem or user.args[1] != 0 for user in users):
        return
    values, gamma, beta, mean, variance, momentum, eps = node.args
    with graph.inserting_before(node):
        joined = graph.call_function(
            torch.ops.aten.batch_norm.default,
            (values, gamma, beta, mean, variance, False, momentum, eps, True),
        )
    joined.meta = {**node.meta, **(users[0].meta if users else {})}
    for user in users:
        user.replace_all_uses_with(joined)
        graph.erase_node(user)
    graph.erase_node(node)
