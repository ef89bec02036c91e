"""The layers of a flat graph of operations that go onto cores, and what cannot go there.

A tensor that depends on weights only is constant. A convolution or linear layer by a constant is a
layer for the chip; every other multiplication by a constant matrix would silently stay off the
chip, so it is refused. Multiplications of two activations, and element by element, stay digital.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.inference.networks.graph_walk import attribute
from hil.inference.networks.layers import AnalogLayer
from hil.inference.networks.randomness import draws_random_numbers
from hil_calibration.fold import BatchNorm

if TYPE_CHECKING:
    import torch

_CONVOLUTIONS = ("aten.conv2d.default", "aten.conv2d.padding")
_LINEAR = "aten.linear.default"
_BATCH_NORM = "aten.batch_norm.default"
_RELU = ("aten.relu.default", "aten.relu_.default")
_MATRIX_OPERATIONS = re.compile(
    r"conv|linear|matmul|einsum|embedding|lstm|gru|rnn|attention|tensordot|outer|"
    r"^(mm|bmm|mv|dot|vdot|inner|kron|ger|cdist|addmm|addmv|addr|addbmm|baddbmm|chain_matmul)$"
)
"""Operations that multiply matrices: those that belong onto cores if one is constant."""
_DECOMPOSED = ("convolution", "addmm")
"""What torch makes of Conv2d and Linear if it is asked for its smallest set of operations."""
_TRAINING_ARGUMENT = {"batch_norm": 5}
"""Place of the argument that says whether the network is being trained."""
_RANDOM = (
    "{name} draws random numbers, or does so in training mode: its output depends on chance; call "
    "model.eval(), and leave it out if it stays random then"
)
_PARAMETRIZED = re.compile(r"parametrizations\.\w+\.")
"""What torch.nn.utils.parametrize puts between a module and its weights."""
_BRANCHES = ("cond", "while_loop", "map_impl", "scan", "wrap_with_set_grad_enabled")


def find_layers(graph: Any, *, source: str) -> tuple[AnalogLayer, ...]:
    """Find the layers of a graph that go onto cores, in the order of execution.

    Parameters
    ----------
    graph
        A flat `torch.fx.GraphModule` of aten operations.
    source
        The network, as the user named it.

    Raises
    ------
    ConfigError
        If an operation with weights cannot go onto cores; all of them are named. Also if the graph
        is in training mode, or has no such layer at all.
    """
    constants = _constant_nodes(graph)
    problems = [problem for node in graph.graph.nodes for problem in _refusals(node, constants)]
    if problems:
        raise ConfigError(source, problems)
    _refuse_negative_variances(graph, constants, source)
    layers: list[AnalogLayer] = []
    for node in graph.graph.nodes:
        if _is_layer(node, constants):
            taken = {layer.name for layer in layers}
            layers.append(_layer(graph, node, constants, taken=taken))
    if not layers:
        reason = "has no Conv2d and no Linear layer: nothing goes onto the chip"
        raise ConfigError(source, [Problem("", reason)])
    return tuple(layers)


def _constant_nodes(graph: Any) -> set[Any]:
    constants: set[Any] = set()
    for node in graph.graph.nodes:
        inputs = node.all_input_nodes
        from_weights = bool(inputs) and all(one in constants for one in inputs)
        if node.op == "get_attr" or (node.op == "call_function" and from_weights):
            constants.add(node)
    return constants


def _is_layer(node: Any, constants: set[Any]) -> bool:
    operation = str(node.target)
    return (operation in _CONVOLUTIONS or operation == _LINEAR) and node.args[1] in constants


def _refusals(node: Any, constants: set[Any]) -> list[Problem]:
    if node.op == "call_module":
        return [Problem(str(node.target), "is a module within the graph: the graph must be flat")]
    if draws_random_numbers(node):
        return [Problem(_module_path(node), _RANDOM.format(name=_operation(node)))]
    if node.op != "call_function" or node in constants:
        return []
    reason = _execution_refusal(node)
    if reason:
        return [Problem(_module_path(node), reason)]
    if _is_layer(node, constants):
        return _layer_refusals(node, constants)
    return _matrix_refusals(node, constants)


def _refuse_negative_variances(graph: Any, constants: set[Any], source: str) -> None:
    for node in graph.graph.nodes:
        if str(node.target) != _BATCH_NORM or node.args[4] not in constants:
            continue
        variance = constant_array(graph, node.args[4])
        if (variance < 0).any():
            place = int(np.flatnonzero(variance < 0)[0])
            reason = f"{variance[place]:g} at {place}: a variance must be at least 0"
            raise ConfigError(source, [Problem(str(node.args[4].target), reason)])


def _matrix_refusals(node: Any, constants: set[Any]) -> list[Problem]:
    weights = [one for one in node.all_input_nodes if one in constants]
    name = _operation(node)
    path = _module_path(node, weights)
    if weights and name in _DECOMPOSED:
        return [Problem(path, f"is {name}: export the network without run_decompositions()")]
    is_convolution = str(node.target) in _CONVOLUTIONS
    if (is_convolution or weights) and _MATRIX_OPERATIONS.search(name):
        return [Problem(path, f"{_kind(node)} cannot go onto cores; Conv2d and Linear can")]
    return []


def _execution_refusal(node: Any) -> str:
    name = _operation(node)
    if name in _BRANCHES:
        return f"{name}: branches and loops cannot be mapped"
    training = _TRAINING_ARGUMENT.get(name)
    if training is not None and node.args[training] is True:
        return (
            f"{name} in training mode: its output depends on the other images; call "
            "model.eval(), and keep running statistics"
        )
    return ""


def _operation(node: Any) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _layer_refusals(node: Any, constants: set[Any]) -> list[Problem]:
    path = _module_path(node, [node.args[1]])
    if node.args[0] in constants:
        return [Problem(path, "multiplies a constant, not what depends on the image")]
    value = node.args[1].meta.get("val")
    if value is not None and value.ndim not in (2, 4):
        return [Problem(path, f"weights of {value.ndim} dimensions; Conv2d has 4, Linear 2")]
    bias = node.args[2] if len(node.args) > 2 else None
    if bias is not None and bias not in constants:
        return [Problem(path, "the bias depends on the image, must be a weight")]
    if str(node.target) == "aten.conv2d.padding":
        return _same_padding_refusals(node, path)
    return []


def _same_padding_refusals(node: Any, path: str) -> list[Problem]:
    value = node.args[1].meta.get("val")
    if _padding(node) != "same" or value is None:
        return []
    dilation = _pair(node, 5)
    if any((size - 1) * step % 2 for size, step in zip(value.shape[2:], dilation, strict=True)):
        reason = "padding 'same' of an even kernel is not symmetric: pad before the convolution"
        return [Problem(path, reason)]
    return []


def _layer(graph: Any, node: Any, constants: set[Any], *, taken: set[str]) -> AnalogLayer:
    bias = node.args[2] if len(node.args) > 2 else None
    last, norm = _batch_norm_after(graph, node, constants)
    relu = _only_user(last, _RELU)
    return AnalogLayer(
        name=_free_name(_module_path(node, [node.args[1]]), taken),
        node=node.name,
        weight=constant_array(graph, node.args[1]),
        bias=None if bias is None else constant_array(graph, bias),
        batch_norm=norm,
        batch_norm_node=None if norm is None else last.name,
        relu_node=None if relu is None else relu.name,
        **_geometry(node),
    )


def _geometry(node: Any) -> dict[str, Any]:
    operation = str(node.target)
    if operation == _LINEAR:
        return {}
    dilation = _pair(node, 5)
    padding = _padding(node)
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        kernel = node.args[1].meta["val"].shape[2:]
        padding = tuple((size - 1) * step // 2 for size, step in zip(kernel, dilation, strict=True))
    return {
        "stride": _pair(node, 3),
        "padding": _as_pair(padding),
        "dilation": dilation,
        "groups": int(node.args[6]) if len(node.args) > 6 else 1,
    }


def _padding(node: Any) -> Any:
    """Return numbers, ``same`` or ``valid``; without an argument there are no zeros either way."""
    return node.args[4] if len(node.args) > 4 else 0


def _batch_norm_after(graph: Any, node: Any, constants: set[Any]) -> tuple[Any, BatchNorm | None]:
    following = _only_user(node, (_BATCH_NORM,))
    if following is None or following.args[0] is not node:
        return node, None
    norm = _batch_norm_of(graph, following, constants)
    return (node, None) if norm is None else (following, norm)


def find_batch_norms(graph: Any) -> dict[str, BatchNorm]:
    """Return every batch normalisation by constants, by name of its node, in order."""
    constants = _constant_nodes(graph)
    found = {}
    for node in graph.graph.nodes:
        if str(node.target) == _BATCH_NORM:
            norm = _batch_norm_of(graph, node, constants)
            if norm is not None:
                found[node.name] = norm
    return found


def _batch_norm_of(graph: Any, node: Any, constants: set[Any]) -> BatchNorm | None:
    """Return the normalisation of a node; None if it depends on the images or has no statistics."""
    given = node.args[1:5]
    if any(one is not None and one not in constants for one in given):
        return None
    gamma, beta, mean, variance = (
        None if one is None else constant_array(graph, one).astype(np.float64) for one in given
    )
    if mean is None or variance is None:
        return None
    return BatchNorm(
        gamma=np.ones_like(mean) if gamma is None else gamma,
        beta=np.zeros_like(mean) if beta is None else beta,
        mean=mean,
        variance=variance,
        eps=float(node.args[7]),
    )


def _only_user(node: Any, operations: tuple[str, ...]) -> Any:
    """Return what uses a node, if it is alone and one of these operations."""
    users = list(node.users)
    return users[0] if len(users) == 1 and str(users[0].target) in operations else None


def constant_array(graph: Any, node: Any) -> npt.NDArray[np.float32]:
    """Return the value of a node that depends on weights only."""
    value: torch.Tensor = _constant(graph, node)
    return np.asarray(value.detach().float().cpu().numpy(), dtype=np.float32)


def _constant(graph: Any, node: Any) -> Any:
    from torch.fx.node import map_arg  # noqa: PLC0415 - the extra `inference`

    if node.op == "get_attr":
        return attribute(graph, node.target)
    arguments = map_arg(node.args, lambda one: _constant(graph, one))
    return node.target(*arguments, **map_arg(node.kwargs, lambda one: _constant(graph, one)))


def _pair(node: Any, place: int) -> tuple[int, int]:
    return _as_pair(node.args[place] if len(node.args) > place else 1)


def _as_pair(value: Any) -> tuple[int, int]:
    # aten takes one number for both axes, alone or in a list.
    numbers = [int(one) for one in value] if isinstance(value, list | tuple) else [int(value)]
    return numbers[0], numbers[-1]


def _kind(node: Any) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    operation = _operation(node)
    kind = str(stack[-1][1]).rpartition(".")[2] if stack else ""
    return f"{kind} ({operation})" if kind and kind[0].isupper() else operation


def _module_path(node: Any, weights: "list[Any] | tuple[Any, ...]" = ()) -> str:
    """Return the path of the module that an operation belongs to, ``layer1.0.conv1``."""
    for one in weights:
        found = one
        while found.op != "get_attr" and found.all_input_nodes:
            found = found.all_input_nodes[0]
        if found.op == "get_attr" and "." in str(found.target):
            path, _, last = _PARAMETRIZED.sub("", str(found.target)).rpartition(".")
            return path if _belongs(last) else str(found.target)
        if found.op == "get_attr":
            return str(found.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return (str(stack[-1][0]) if stack else "") or node.name


def _belongs(last: str) -> bool:
    return last.startswith(("weight", "bias", "original"))


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name of its own for a module that is used more than once."""
    if name not in taken:
        return name
    return next(free for use in range(2, len(taken) + 3) if (free := f"{name}@{use}") not in taken)
