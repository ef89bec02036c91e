"""Networks that code of the user's own makes: ``package.module:factory`` or ``FILE.py:factory``."""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from hil.core.errors import ConfigError, HilError, Problem
from hil.inference.libraries import load_torch

_SUFFIX = ".py"


def factory_file(model: str) -> Path | None:
    """Return the file of ``FILE.py:factory``; None if a model is named otherwise.

    Examples
    --------
    >>> factory_file("./mynet.py:make"), factory_file("package.mynet:make")
    (PosixPath('mynet.py'), None)
    """
    place, colon, _ = model.rpartition(":")
    return Path(place) if colon and place.endswith(_SUFFIX) else None


@contextmanager
def factory_surroundings(model: str) -> Iterator[None]:
    """Let modules be found as Python itself finds them, and what they print not be a result.

    The folder of FILE.py is searched first, as ``python FILE.py`` does, or else the current one, as
    ``python -m`` does. Whatever is printed to stdout goes to stderr.
    """
    file = factory_file(model)
    folder = str((Path() if file is None else file.parent).absolute())
    sys.path.insert(0, folder)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def call_factory(model: str) -> Any:
    """Return the `torch.nn.Module` that a factory makes.

    Parameters
    ----------
    model
        ``package.module:factory`` or ``FILE.py:factory``: a function or class that is called
        without arguments, or a network that is made already.

    Raises
    ------
    ConfigError
        If there is none, it fails, or makes something else.
    """
    torch = load_torch()
    place, _, name = model.rpartition(":")
    found = _found(_imported(place, model), name, model)
    try:
        module = found if isinstance(found, torch.nn.Module) else found()
    except HilError:
        raise
    except BaseException as error:
        reason = f"the factory takes no arguments and must return a network: {why(error)}"
        raise ConfigError(model, [Problem("", reason)]) from error
    if not isinstance(module, torch.nn.Module):
        reason = f"made a {type(module).__name__}, must make a torch.nn.Module"
        raise ConfigError(model, [Problem("", reason)])
    return module


def why(error: BaseException) -> str:
    """Return in one line why code of the user's own ended.

    Raises
    ------
    KeyboardInterrupt
        If it did not end, but was stopped.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, SystemExit):
        return f"it ends the process (exit code {error.code})"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _imported(place: str, model: str) -> Any:
    file = factory_file(model)
    if file is not None and not file.is_file():
        raise ConfigError(model, [Problem("", f"cannot be imported: {file}: no such file")])
    try:
        return importlib.import_module(place) if file is None else _executed(file)
    except BaseException as error:
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        if missing and file is None and f"{place}.".startswith(f"{missing}."):
            reason = (
                f"cannot be imported: {error}: it is neither installed, nor in the current folder, "
                "nor on the Python path (PYTHONPATH); for a file, give FILE.py:factory"
            )
        elif file is None and not all(part.isidentifier() for part in place.split(".")):
            reason = (
                f"cannot be imported: {place!r} is no name of a module: give "
                "package.module:factory or FILE.py:factory"
            )
        else:
            reason = f"its module fails as it is imported: {why(error)}"
        raise ConfigError(model, [Problem("", reason)]) from error


def _executed(file: Path) -> Any:
    # Under a name of its own: a file may be called as a library is.
    name = f"_hil_network_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _found(module: Any, name: str, model: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [one for one in dir(found) if one[0] != "_"])
            hint = f"; did you mean {near[0]!r}?" if near else ""
            reason = f"has no {name!r}{hint}" if name else "names no factory: give it after the ':'"
            raise ConfigError(model, [Problem("", reason)])
        found = getattr(found, part)
    return found
