"""Weights from a file, and into a network: by name, shape and value, never by running code."""

import hashlib
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.core.errors import DatasetError, Problem
from hil.inference.failed_reads import names_failed_reads
from hil.inference.libraries import load_library, load_torch

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts store the weights next to other things."""
_NUMBERS = ("float64", "float32", "float16", "bfloat16")
"""Types of real numbers; others, such as float8, mean nothing without scales of their own."""
_MOST_NESTED = 8
"""Wrappers around the weights."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


def read_weights(path: Path) -> "Tensors":
    """Read a file of weights: safetensors by its suffix, otherwise what torch.save wrote.

    Returns
    -------
    Tensors by name, on the CPU, in the order of the file, without the prefixes of wrappers.

    Raises
    ------
    DatasetError
        If the file is missing or damaged, holds anything but tensors, or a value is not finite.
    ConfigError
        If torch or safetensors are not installed.
    """
    with names_failed_reads(path):
        if not path.is_file():
            why = "is a folder, give the file of weights" if path.is_dir() else "no such file"
            raise _error(path, "", why)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    weights = _without_prefix(_tensors(state, path))
    check_finite(weights, source=str(path))
    return weights


def _read_safetensors(path: Path) -> Any:
    safetensors = load_library("safetensors", purpose=str(path), package="safetensors")
    load_torch()
    loader = load_library("safetensors.torch", purpose=str(path), package="safetensors")
    try:
        return loader.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise _error(path, "", f"is no safetensors file, or damaged: {error}") from error


def _read_torch(path: Path) -> Any:
    torch = load_torch()
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old storage classes, not about the file
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = (
            "holds more than tensors, or is no file of torch.save; such a file could run code and "
            "is not opened: save model.state_dict(), or write safetensors"
        )
        raise _error(path, "", reason) from error
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, IndexError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise _error(path, "", f"is no file of torch.save, or damaged: {first}") from error
    except (AttributeError, AssertionError, OverflowError, MemoryError) as error:
        reason = f"is no file of torch.save, or damaged ({type(error).__name__})"
        raise _error(path, "", reason) from error


def _check_sums(path: Path) -> None:
    """Refuse a file whose parts are not what their check sums say: torch does not look at them."""
    try:
        if not zipfile.is_zipfile(path):  # as torch.save wrote before version 1.6
            return
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
        reason = f"is no file of torch.save, or damaged: {error}"
        raise _error(path, "", reason) from error
    if broken is not None:
        raise _error(path, "", f"is damaged: {broken} is not what its check sum says")


def _tensors(state: Any, path: Path, *, nested: int = 0) -> "Tensors":
    torch = load_torch()
    if not isinstance(state, Mapping):
        reason = f"holds a {type(state).__name__}, must hold names and tensors (a state dict)"
        raise _error(path, "", reason)
    for key in _WRAPPERS:
        if isinstance(state.get(key), Mapping) and nested < _MOST_NESTED:
            return _tensors(state[key], path, nested=nested + 1)
    if not state or nested == _MOST_NESTED:
        raise _error(path, "", "holds no weights")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            reason = f"is a {type(value).__name__}, must be a tensor (a state dict holds no other)"
            raise _error(path, str(key), reason)
        if value.layout != torch.strided or value.is_quantized or value.is_nested:
            raise _error(path, key, "is a sparse, nested or quantised tensor, must be a plain one")
        reason = no_plain_numbers(value)
        if reason:
            raise _error(path, key, reason)
    return dict(state)


def no_plain_numbers(value: "torch.Tensor") -> str:
    """Say why a tensor is no plain one, without computing with it; nothing where it is one."""
    dtype = str(value.dtype).removeprefix("torch.")
    if value.is_complex() or (value.is_floating_point() and dtype not in _NUMBERS):
        return f"is {value.dtype}, must be one of {', '.join(_NUMBERS)}: save model.float()"
    if value.is_meta:
        return "has no values, its shape only: load the weights before you save them"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        shape = tuple(value.shape)
        return f"of shape {shape} repeats what the file holds once: save value.contiguous()"
    return ""


def _without_prefix(weights: "Tensors") -> "Tensors":
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in weights):
            return _without_prefix({key[len(prefix) :]: one for key, one in weights.items()})
    return weights


def check_finite(weights: "Mapping[str, torch.Tensor]", *, source: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises
    ------
    DatasetError
        If there is one; the message names its tensor and its place.
    """
    torch = load_torch()
    for key, value in weights.items():
        if not value.is_floating_point():
            continue
        wrong = ~torch.isfinite(value)
        if wrong.any():
            place = tuple(int(index) for index in wrong.nonzero()[0])
            reason = f"{value[place].item()} at {place}: every weight must be finite"
            raise DatasetError(source, [Problem(key, reason)])


def insert_weights(module: Any, weights: "Mapping[str, torch.Tensor]", *, source: str) -> None:
    """Put weights into a module.

    Raises
    ------
    DatasetError
        If a name is missing or not known, or a shape is another; the first one is named.
    """
    wanted = module.state_dict()
    named = with_prefix(weights, wanted)
    check_names(wanted, named, source=source)
    # Counters of batch norm are all that may be missing: inference does not read them.
    module.load_state_dict(named, strict=False)


def with_prefix(
    weights: "Mapping[str, torch.Tensor]", wanted: "Mapping[str, torch.Tensor]"
) -> "Tensors":
    """Return weights under the prefix that all names of a network have of their own."""
    for prefix in _PREFIXES:
        if wanted and all(key.startswith(prefix) for key in wanted):
            return {prefix + key: value for key, value in weights.items()}
    return dict(weights)


def check_names(
    wanted: "Mapping[str, torch.Tensor]", weights: "Mapping[str, torch.Tensor]", *, source: str
) -> None:
    """Compare names and shapes of weights with those that a network has.

    Raises
    ------
    DatasetError
        If a name is missing or not known, or a shape is another; the first one is named.
    """
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            continue
        if key not in weights:
            reason = "the network has it, the file has not; is it a file of this architecture?"
            raise DatasetError(source, [Problem(key, reason)])
        if weights[key].shape != value.shape:
            reason = f"shape {tuple(weights[key].shape)}, the network has {tuple(value.shape)}"
            raise DatasetError(source, [Problem(key, reason)])
        if weights[key].is_floating_point() != value.is_floating_point():
            reason = f"is {weights[key].dtype}, the network has {value.dtype}"
            raise DatasetError(source, [Problem(key, reason)])
    for key in weights:
        if key not in wanted:
            reason = "the file has it, the network has not; is it a file of this architecture?"
            raise DatasetError(source, [Problem(key, reason)])


def weights_digest(weights: "Mapping[str, torch.Tensor]") -> str:
    """Return the SHA-256 of names, types, shapes and values, as hexadecimal digits."""
    digest = hashlib.sha256()
    for key, value in weights.items():
        array = value.detach().cpu().contiguous()
        digest.update(f"{key} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()


def _error(path: Path, where: str, message: str) -> DatasetError:
    return DatasetError(str(path), [Problem(where, message)])
