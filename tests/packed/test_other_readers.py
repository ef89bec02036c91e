"""Programs and libraries that others wrote read a packed file without this one's help."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import example_steps as example
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run

STEP = f"/entry/steps/{example.ONE.name}"
_NO_TOOLS = "is not installed (apt: hdf5-tools)"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    run = example.write_run(folder / "run", example.ONE)
    path = folder / "run.hil.h5"
    pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
    return path


def said_by(tool: str, *arguments: str) -> str:
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} {_NO_TOOLS}")
    ended = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_h5dump_prints_counts(packed: Path) -> None:
    said = said_by("h5dump", "-d", f"{STEP}/raw", "-s", "5,0,0", "-c", "1,2,3", str(packed))
    assert "H5T_STD_U16LE" in said
    assert "(5,0,0): 150, 151, 4095" in said
    assert "(5,1,0): 50, 51, 0" in said


def test_h5ls_lists_the_readouts_of_a_step(packed: Path) -> None:
    said = said_by("h5ls", f"{packed}{STEP}")
    assert re.search(r"^raw +Dataset \{6, 2, 3\}$", said, re.MULTILINE)


def test_h5stat_finds_no_fault(packed: Path) -> None:
    assert "# of unique datasets" in said_by("h5stat", str(packed))


def test_xarray_has_named_axes_units_and_counts(packed: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed")
    with xarray.open_dataset(packed, engine="h5netcdf", group=STEP) as step:
        assert step["raw"].dims == ("vector", "polarity", "column")
        assert step["raw"].attrs["units"] == "count"
        assert np.array_equal(step["raw"].values, example.RAW)


def test_nexusformat_finds_what_to_plot(packed: Path) -> None:
    nexus = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")
    root = nexus.nxload(str(packed))
    assert root.nxclass == "NXroot"
    assert root["entry"].nxclass == "NXentry"
    plotted = root["entry"][root["entry"].attrs["default"]]
    assert plotted.nxsignal.nxname == "a_p"
    assert plotted.nxsignal.nxvalue.tolist() == [0.5, 0.25, 0.0]


def test_punx_finds_no_error_but_one_that_it_has_itself(packed: Path) -> None:
    punx = Path(sys.executable).with_name("punx")
    if not punx.exists():
        pytest.skip("punx is not installed (the extra 'clients')")
    ended = subprocess.run(
        [punx, "validate", "--report", "ERROR", packed],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = [line for line in ended.stdout.splitlines() if re.match(r"/.* ERROR ", line)]
    assert "summary statistics" in ended.stdout
    # NeXus allows "." for an axis without a scale: manual, NXdata, attribute axes.
    assert [line for line in found if "@axes['.']" not in line] == []
