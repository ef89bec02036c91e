"""Exporters: one file per format, each a function from a `CoefficientSet` to bytes.

The bytes depend on the coefficients and their origin only, never on the clock: the same
coefficients always give the same file.
"""

from collections.abc import Callable
from enum import StrEnum

from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.csv_format import export_csv
from hil_datasets.export.json_format import export_json
from hil_datasets.export.npz_format import export_npz


class ExportFormat(StrEnum):
    """The formats that coefficients can be exported to."""

    JSON = "json"
    CSV = "csv"
    NPZ = "npz"


EXPORTERS: dict[ExportFormat, Callable[[CoefficientSet], bytes]] = {
    ExportFormat.JSON: export_json,
    ExportFormat.CSV: export_csv,
    ExportFormat.NPZ: export_npz,
}
"""Format to function."""
