"""Exporters as plug-ins: what an entry point of the group ``hil.exporters`` leads to."""

from collections.abc import Callable
from dataclasses import dataclass

from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.csv_format import export_csv
from hil_datasets.export.json_format import export_json
from hil_datasets.export.npz_format import export_npz


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A format that coefficients can be exported to; its entry point's name is the format's."""

    api_version: int
    """Version of this interface that it was written for."""
    summary: str
    """One line on the format."""
    export: Callable[[CoefficientSet], bytes]
    """Returns the file; the same coefficients always give the same bytes."""


JSON = Exporter(api_version=1, summary="one JSON document", export=export_json)
CSV = Exporter(api_version=1, summary="one CSV line for each column", export=export_csv)
NPZ = Exporter(api_version=1, summary="NumPy arrays", export=export_npz)
