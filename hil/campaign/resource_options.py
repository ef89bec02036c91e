"""The ``?KEY=VALUE&...`` behind a resource string."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from hil.core.legible import quoted


def split_options(resource: str, prefix: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what stands between the prefix and the options, and the options.

    Parameters
    ----------
    resource
        The resource string.
    prefix
        What it begins with.
    known
        Its options, two or more.

    Raises
    ------
    ValueError
        If it has unknown or repeated options.

    Examples
    --------
    >>> split_options("mock://quickstart?seed=3", "mock://", ("seed", "time"))
    ('quickstart', {'seed': '3'})
    """
    shown = quoted(resource)
    place, _, query = resource.removeprefix(prefix).partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    options = dict(given)
    unknown = sorted(options.keys() - set(known))
    if unknown:
        listed = f"{', '.join(known[:-1])} and {known[-1]}"
        raise ValueError(f"{shown}: unknown option {quoted(unknown[0])}; use {listed}")
    if len(given) > len(options):
        raise ValueError(f"{shown}: gives an option twice")
    return place, options
