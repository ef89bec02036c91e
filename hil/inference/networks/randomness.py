"""Operations that draw random numbers: a network with one predicts another class each time."""

from typing import Any

from hil.inference.libraries import load_torch

_SWITCHES = ("train", "training", "dropout_p", "p", "dropout")
"""Arguments that switch the randomness of an operation off, the first there is decides."""


def draws_random_numbers(node: Any) -> bool:
    """Tell whether an operation of a graph draws random numbers.

    Dropout and the like do so in training only, attention where its dropout is not 0.

    Source
    ------
    Tag ``nondeterministic_seeded`` of aten/src/ATen/native/native_functions.yaml.
    """
    tags = getattr(node.target, "tags", ())
    if node.op != "call_function" or load_torch().Tag.nondeterministic_seeded not in tags:
        return False
    arguments = node.target._schema.arguments  # noqa: SLF001 - torch has no other name for it
    names = [argument.name for argument in arguments]
    for name in _SWITCHES:
        if name in names:
            place = names.index(name)
            default = arguments[place].default_value
            given = node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
            return bool(given)
    return True
