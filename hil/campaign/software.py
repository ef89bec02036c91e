"""Which software a run was made with."""

import platform
from importlib import metadata

import h5py
import numpy as np

import hil


def software_versions() -> dict[str, str]:
    """Return name and version of this software, and of what it computes and stores with."""
    return {
        "aimc-hil": hil.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "pyvisa-py": metadata.version("pyvisa-py"),
    }
