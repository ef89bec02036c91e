"""Programs that `torch.export.save` wrote, opened only where nothing in them can run code.

torch itself unpickles what a program's archive holds, loads compiled libraries from it and hands
its sizes to an evaluating parser. What `torch.export.save` writes for a plain network needs none of
that, so an archive with more than it is refused before torch sees it.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/serialize.py of torch 2.13.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.core.errors import ConfigError, DatasetError, HilError, Problem
from hil.inference.functional import functional_graph
from hil.inference.libraries import load_torch
from hil.inference.weights import check_finite, check_names, no_plain_numbers, with_prefix

if TYPE_CHECKING:
    import torch

_MEMBER = re.compile(
    r"models/model\.json|data/(weights|constants)/(weight|tensor)_\d+|"
    r"data/(weights|constants)/model_(weights|constants)_config\.json|"
    r"data/sample_inputs/model\.pt|archive_format|archive_version|version|byteorder|"
    r"\.data/\w+|extra/.*"
)
"""Files of an archive, below its first folder."""
_SIZE = re.compile(
    r"(Symbol\('[su]\d+'|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|"
    r"positive=True|nonnegative=True|integer=True|[su]\d+|\d+|[-+*/(), ])*"
)
"""A size that depends on the number of images, as sympy writes it."""
_TARGET = re.compile(r"torch\.ops\.\w+\.\w+\.\w+|_operator\.\w+|math\.\w+|torch\.sym_\w+|\w+")


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
    _check_archive(path)
    torch = load_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what torch will drop one day
            program = torch.export.load(io.BytesIO(path.read_bytes()))
            graph = functional_graph(program, source=str(path))
    except HilError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"torch {torch.__version__} cannot open it: {first}; export it with this version"
        raise _damaged(path, reason) from error
    _check_interface(graph, path)
    if weights is not None:
        wanted = dict(graph.state_dict())
        named = with_prefix(weights, wanted)
        check_names(wanted, named, source=weights_source)
        graph.load_state_dict(named, strict=False)
    state = dict(graph.state_dict())
    check_finite(state, source=str(path))
    return graph, state


def _check_archive(path: Path) -> None:
    if not path.is_file():
        raise _damaged(path, "no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            for name in archive.namelist():
                if name.endswith(".json"):
                    _check_json(json.loads(archive.read(name)), path)
                if name.endswith(".pt"):
                    content = io.BytesIO(archive.read(name))
                    load_torch().load(content, weights_only=True, map_location="cpu")
    except (DatasetError, ConfigError):
        raise
    except Exception as error:
        reason = f"is no program of torch.export.save, or damaged, or holds code: {error}"
        raise _damaged(path, reason.splitlines()[0]) from error


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    inner = [name.partition("/")[2] for name in archive.namelist()]
    wrong = [name for name in inner if not _MEMBER.fullmatch(name)]
    if wrong or len(set(inner)) != len(inner):
        strange = wrong[0] if wrong else "a file twice"
        raise _damaged(path, f"holds {strange}, which torch.export.save does not write")


def _check_json(content: Any, path: Path) -> None:
    for key, value in _entries(content):
        strange = (
            (key == "use_pickle" and value is not False)
            or (key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value)))
            or (key == "expr_str" and not _SIZE.fullmatch(str(value)))
            or (key == "target" and not (value is None or _TARGET.fullmatch(str(value))))
        )
        if strange:
            reason = f"{key} = {value!r} could run code when it is opened: not opened"
            raise _damaged(path, reason)


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    # A stack of its own: a file nests as deep as it likes.
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


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


def _damaged(path: Path, message: str) -> DatasetError:
    return DatasetError(str(path), [Problem("", message)])
