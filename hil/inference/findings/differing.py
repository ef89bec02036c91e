"""What tells one evaluation from another, in words: settings first, hashes where nothing else."""

from collections.abc import Mapping

SETTINGS = {"images": "images_sha256", "calibration_images": "calibration_images_sha256"}
"""Setting to the hash that is another one with it."""
_NAMES = {
    "weights_sha256": "weights",
    "network_sha256": "network",
    "images_sha256": "images to judge",
    "calibration_images_sha256": "calibration images",
    "profile_sha256": "profile of the chip",
    "run_readouts_sha256": "readouts of the run",
    "run_coefficient_set_id": "calibration of the run",
    "coefficients_set_id": "set of coefficients",
    "coefficients_run": "run of the coefficients",
    "coefficients_measured_utc": "time of the coefficients",
}
_DIGITS = 12
"""Of a hash, to recognise it."""


def differing_words(there: Mapping[str, str], asked: Mapping[str, str]) -> str:
    """Return what differs between the evaluation in a folder and the one asked for; "" if nothing.

    Examples
    --------
    >>> differing_words({"images": "100", "images_sha256": "a"}, {"images": "200"})
    'images: 100 there, 200 asked'
    """
    names = [*asked, *(name for name in there if name not in asked)]
    differing = [name for name in names if there.get(name) != asked.get(name)]
    explained = {SETTINGS[name] for name in differing if name in SETTINGS}
    told = [name for name in differing if name not in explained]
    told.sort(key=lambda name: (name not in SETTINGS, name in _NAMES))
    return "; ".join(_words(name, there.get(name), asked.get(name)) for name in told)


def _words(name: str, there: str | None, asked: str | None) -> str:
    is_hash = name.endswith(("_sha256", "_set_id"))
    label = _NAMES.get(name, name.replace("_", " "))

    def shown(value: str | None) -> str:
        if value is None:
            return "none"
        return value[:_DIGITS] if is_hash else value

    return f"{'other ' if is_hash else ''}{label}: {shown(there)} there, {shown(asked)} asked"
