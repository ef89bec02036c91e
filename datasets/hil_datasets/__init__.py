"""Datasets: run directories, their HDF5 files, recordings, exports.

Everything a campaign measured and concluded, stored so that it survives the process, opens in other
people's tools, and can be traced. Nothing here talks to a device or fits anything.

`open_run` is where to begin.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil_datasets.opened_run import OpenedRun as OpenedRun
    from hil_datasets.opened_run import open_run as open_run

__all__ = ["OpenedRun", "open_run"]


def __getattr__(name: str) -> Any:
    # What opens a run imports HDF5, which most importers of a module in here do not need.
    if name in __all__:
        from hil_datasets import opened_run  # noqa: PLC0415

        return getattr(opened_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
