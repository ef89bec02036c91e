"""Ages as people read them."""

import math

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def age_words(age_s: float) -> str:
    """Return an age in the largest unit that leaves at least one, and no digit behind.

    Examples
    --------
    >>> age_words(0.0), age_words(5400.0), age_words(2592000.0), age_words(1000001.0)
    ('fresh', '1.5 h', '30 d', '1000001 s')
    """
    if age_s == 0:
        return "fresh"
    for unit_s, unit in _UNITS:
        words = f"{age_s / unit_s:g}"
        if age_s >= unit_s and math.isclose(float(words) * unit_s, age_s, rel_tol=1e-12):
            return f"{words} {unit}"
    return f"{int(age_s)} s" if age_s == int(age_s) else f"{age_s!r} s"


def about(seconds: float) -> str:
    """Return a duration with two digits or a few more, as people say it.

    Examples
    --------
    >>> about(34_200.0), about(0.2), about(1e6)
    ('9.5 h', '0 s', '12 d')
    """
    for unit_s, unit in _UNITS:
        if seconds >= unit_s:
            count = seconds / unit_s
            return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return "0 s"


def three_digits(seconds: float) -> str:
    """Return a duration with three digits, in the largest unit that leaves at least one.

    Examples
    --------
    >>> three_digits(60_500.0), three_digits(90.0), three_digits(0.25), three_digits(1e9)
    ('16.8 h', '1.5 min', '0.25 s', '11600 d')
    """
    unit_s, unit = next((one for one in _UNITS if seconds >= one[0]), _UNITS[-1])
    return f"{float(f'{seconds / unit_s:.3g}'):g} {unit}"
