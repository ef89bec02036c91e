"""Coefficients as YAML: the document of the JSON format, for tools that are configured in YAML."""

from typing import Any

from hil.core.extras import load_extra
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.json_format import coefficients_document, read_document
from hil_datasets.export.origin import provenance_lines


def export_yaml(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as YAML.

    Raises
    ------
    MissingExtraError
        If PyYAML is not installed.
    """
    comment = "".join(f"# {line}\n" for line in provenance_lines(coefficients))
    text: str = _yaml().safe_dump(
        coefficients_document(coefficients),
        sort_keys=False,
        default_flow_style=None,  # lists of numbers on a line, not one number a line
        width=100,
    )
    return (comment + text).encode()


def read_yaml(content: bytes) -> ExportedSet:
    """Read what `export_yaml` wrote.

    Raises
    ------
    MissingExtraError
        If PyYAML is not installed.
    ValueError
        If it is no such file, or something in it is wrong; the message names the place.
    """
    yaml = _yaml()
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"is no YAML: {error}") from error
    return read_document(document)


def _yaml() -> Any:
    return load_extra("yaml", purpose="format yaml", library="PyYAML", extra="exporters")
