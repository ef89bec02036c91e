"""Exporters as plug-ins: what an entry point of the group ``hil.exporters`` leads to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.aihwkit_format import export_aihwkit, read_aihwkit
from hil_datasets.export.c_header import export_c_header, read_c_header
from hil_datasets.export.csv_format import export_csv, read_csv
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.hdf5_format import export_hdf5, read_hdf5
from hil_datasets.export.image_formats import (
    make_image,
    make_manifest,
    manifest_name,
    read_binary,
    read_hex,
    to_binary,
    to_hex,
)
from hil_datasets.export.json_format import export_json, read_json
from hil_datasets.export.npz_format import export_npz, read_npz_export
from hil_datasets.export.readmemh_format import (
    export_parameters,
    export_readmemh,
    parameters_name,
    read_readmemh,
)
from hil_datasets.export.register_map import MapFile, example_map
from hil_datasets.export.yaml_format import export_yaml, read_yaml

Files = Mapping[str, bytes]
"""Contents by file name, without folders."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """How files are to be made."""

    file_name: str = "coefficients"
    """Name of the file; those beside it are named after it."""
    name: str = "hil"
    """What every name in source code begins with: an identifier in small letters."""
    given_map: MapFile | None = None
    """Where the board keeps its registers; None for the example's places."""

    @cached_property
    def map_file(self) -> MapFile:
        """Where the board keeps its registers."""
        return self.given_map or example_map()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A format that coefficients can be exported to; its entry point's name is the format's."""

    api_version: int
    """Version of this interface that it was written for."""
    summary: str
    """One line on the format."""
    export: Callable[[CoefficientSet], bytes]
    """Returns the file; the same coefficients always give the same bytes."""
    suffix: str = ""
    """What names of its files end in."""
    make_files: Callable[[CoefficientSet, ExportRequest], Files] | None = None
    """Returns all files, the one that was asked for first; None where `export` is all there is."""
    read: Callable[[Files, ExportRequest], ExportedSet] | None = None
    """Reads the files back; None where that cannot be checked."""


def make_files(exporter: Exporter, coefficients: CoefficientSet, request: ExportRequest) -> Files:
    """Return the files of a format; a plug-in from elsewhere need have nothing but `export`."""
    make = getattr(exporter, "make_files", None)
    if make is None:
        return {request.file_name: exporter.export(coefficients)}
    files: Files = make(coefficients, request)
    return files


def _one_file(
    read: Callable[[bytes], ExportedSet],
) -> Callable[[Files, ExportRequest], ExportedSet]:
    return lambda files, request: read(files[request.file_name])


def _readmemh_files(coefficients: CoefficientSet, request: ExportRequest) -> Files:
    parameters = export_parameters(coefficients, name=request.name)
    return {
        request.file_name: export_readmemh(coefficients),
        parameters_name(request.file_name): parameters,
    }


def _hex_files(coefficients: CoefficientSet, request: ExportRequest) -> Files:
    image = make_image(coefficients, request.map_file)
    content = to_hex(image)
    manifest = make_manifest(coefficients, request.map_file, image, content)
    return {request.file_name: content, manifest_name(request.file_name): manifest}


def _binary_files(coefficients: CoefficientSet, request: ExportRequest) -> Files:
    image = make_image(coefficients, request.map_file)
    content = to_binary(image, request.map_file)
    manifest = make_manifest(coefficients, request.map_file, image, content)
    return {request.file_name: content, manifest_name(request.file_name): manifest}


JSON = Exporter(
    api_version=1,
    summary="one JSON document",
    export=export_json,
    suffix=".json",
    read=_one_file(read_json),
)
CSV = Exporter(
    api_version=1,
    summary="one CSV line for each column",
    export=export_csv,
    suffix=".csv",
    read=_one_file(read_csv),
)
NPZ = Exporter(
    api_version=1,
    summary="NumPy arrays",
    export=export_npz,
    suffix=".npz",
    read=_one_file(read_npz_export),
)
HDF5 = Exporter(
    api_version=1,
    summary="HDF5 tables with named axes",
    export=export_hdf5,
    suffix=".h5",
    read=_one_file(read_hdf5),
)
YAML = Exporter(
    api_version=1,
    summary="the JSON document as YAML",
    export=export_yaml,
    suffix=".yaml",
    read=_one_file(read_yaml),
)
C_HEADER = Exporter(
    api_version=1,
    summary="C99 header: tables, and the NMPU's datapath",
    export=export_c_header,
    suffix=".h",
    make_files=lambda coefficients, request: {
        request.file_name: export_c_header(coefficients, name=request.name)
    },
    read=_one_file(read_c_header),
)
READMEMH = Exporter(
    api_version=1,
    summary="words for Verilog's $readmemh, and their parameters",
    export=export_readmemh,
    suffix=".mem",
    make_files=_readmemh_files,
    read=lambda files, request: read_readmemh(
        files[request.file_name], files[parameters_name(request.file_name)]
    ),
)
HEX = Exporter(
    api_version=1,
    summary="Intel HEX image by a register map",
    export=lambda coefficients: to_hex(make_image(coefficients, example_map())),
    suffix=".hex",
    make_files=_hex_files,
    read=lambda files, request: read_hex(
        files[request.file_name], files[manifest_name(request.file_name)], request.map_file
    ),
)
BINARY = Exporter(
    api_version=1,
    summary="binary image by a register map",
    export=lambda coefficients: to_binary(make_image(coefficients, example_map()), example_map()),
    suffix=".bin",
    make_files=_binary_files,
    read=lambda files, request: read_binary(
        files[request.file_name], files[manifest_name(request.file_name)], request.map_file
    ),
)
AIHWKIT = Exporter(
    api_version=1,
    summary="what aihwkit's tiles take: a scale and a bias per column",
    export=export_aihwkit,
    suffix=".aihwkit.json",
    read=_one_file(read_aihwkit),
)
