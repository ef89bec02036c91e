"""Checks of the computer, with what is missing made up."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from command_line import PROJECT
from hil.diagnosis.finding import Part, Verdict
from hil.diagnosis.installation import (
    check_extras,
    check_packages,
    diagnose_installation,
    extras_of,
)
from hil.diagnosis.storage import check_folder, check_hdf5


def test_installation_that_runs_these_tests_is_well(tmp_path: Path) -> None:
    findings = diagnose_installation(tmp_path)
    assert [f.check for f in findings if f.verdict is Verdict.FAIL] == []
    assert {f.part for f in findings} == {Part.HOST}
    assert all(f.claim and f.evidence for f in findings)


def test_missing_package_is_a_failure_that_says_how_to_install_it() -> None:
    finding = check_packages(["numpy", "no-such-package-anywhere"])
    assert finding.verdict is Verdict.FAIL
    assert finding.advice == "pip install no-such-package-anywhere"


def test_absent_extra_is_told_and_no_failure() -> None:
    finding = check_extras({"plot": ["numpy"], "fast": ["no-such-package-anywhere"]})
    assert finding.verdict is Verdict.OK
    assert finding.evidence == "present: plot; absent: fast"
    assert finding.advice == "if wanted: pip install 'aimc-hil[fast]'"


def test_absent_extra_for_development_is_not_recommended() -> None:
    finding = check_extras({"lint": ["no-such-package-anywhere"]})
    assert (finding.evidence, finding.advice) == ("present: none; absent: lint", "")


def test_extras_are_those_that_the_metadata_name() -> None:
    assert extras_of(
        [
            "numpy>=1.26",
            "PyYAML>=6.0; extra == 'exporters'",
            'intelhex>=2.3 ; extra == "exporters"',
            "aihwkit>=1.1; (platform_system == 'Linux') and extra == 'bench'",
            "apytypes>=0.4; extra == 'bench'",
        ]
    ) == {"bench": ["apytypes"], "exporters": ["PyYAML", "intelhex"]}


def test_every_extra_that_this_package_declares_is_judged(tmp_path: Path) -> None:
    declared = metadata.metadata("aimc-hil").get_all("Provides-Extra")
    (finding,) = (each for each in diagnose_installation(tmp_path) if each.check == "extras")
    judged = [*finding.figures["present"], *finding.figures["absent"]]
    assert sorted(judged) == sorted(declared or [])


def test_every_extra_of_the_project_has_a_package_that_is_wanted_on_every_system() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    written = [f"{each}; extra == '{name}'" for name in extras for each in extras[name]]
    assert sorted(extras_of(written)) == sorted(extras)
    assert {"inference", "compress", "exporters", "xarray", "cluster"} < set(extras)


def test_folder_that_is_not_there_is_judged_by_the_one_it_will_be_in(tmp_path: Path) -> None:
    room, speed = check_folder(tmp_path / "runs" / "later")
    assert room.figures["folder"] == str(tmp_path)
    assert speed.figures["bytes_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_to_is_a_failure() -> None:
    _, speed = check_folder(Path("/proc/self"))
    assert speed.verdict is Verdict.FAIL
    assert "choose a folder" in speed.advice


def test_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil  # noqa: PLC0415

    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    room, _ = check_folder(tmp_path)
    assert room.verdict is Verdict.FAIL
    assert "0.001 GB free" in room.evidence


def test_hdf5_filters_that_every_hdf5_has_are_there() -> None:
    filters = check_hdf5().figures["filters"]
    assert filters["shuffle"]
    assert filters["fletcher32"]
