"""A device whose own NMPU computes something else is found out, and nothing is lost."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import numpy.typing as npt

from command_line import campaign_file, hil
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.profile import ArrayProfile, MockProfile

SMALL = ArrayProfile(cores=1, rows=32, columns=8, stuck_share=0.0, dead_column_chance=0.0)


class OffByOne(ChipModel):
    """A chip whose NMPUs add 1 to column 3."""

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        outputs = super().correct(core, read_mode, counts, fmt, registers).copy()
        outputs[:, 3] += 1
        return outputs


@contextmanager
def served_once(chip: ChipModel) -> Iterator[str]:
    """Serve one client; give the resource string."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        device = MockDevice(Firmware(chip))
        with connection:
            while data := connection.recv(1 << 18):
                connection.sendall(device.receive(data))

    thread = Thread(target=talk, daemon=True)
    thread.start()
    with listener:
        yield f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
    thread.join(timeout=10)


def test_nmpu_that_computes_otherwise_is_reported_and_its_readouts_are_kept(
    tmp_path: Path,
) -> None:
    with served_once(OffByOne(MockProfile(array=SMALL))) as resource:
        path = campaign_file(tmp_path, resource=resource, campaign='read_modes = ["one_phase"]')
        ended = hil("run", path, "--json")
    assert ended.code == 1
    (step,) = ended.json["steps"]
    assert 30 <= step["nmpu_mismatches"] <= 32, "column 3, unless it stands at its end already"
    assert "differ from the integer model" in ended.json["failures"][0]
    with h5py.File(tmp_path / "run" / "campaign.h5") as index:
        assert index["cores/00/one_phase/raw"].shape == (96, 2, 8)


class NeverTheSame(ChipModel):
    """A device that says it is another one at each step."""

    asked = 0

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        self.asked += 1
        self.identity = replace(self.identity, serial=f"swapped-{self.asked}")
        return super().temperature_c(core, read_mode)


def test_chip_that_was_swapped_in_the_middle_of_a_run_is_noticed(tmp_path: Path) -> None:
    with served_once(NeverTheSame(MockProfile(array=SMALL))) as resource:
        ended = hil("run", campaign_file(tmp_path, resource=resource))
    assert ended.code == 4
    assert "serial swapped-1" in ended.stderr
    assert len(hil("info", tmp_path / "run", "--json").json["steps"]) == 1


def test_export_warns_of_coefficients_that_the_device_does_not_follow(tmp_path: Path) -> None:
    with served_once(OffByOne(MockProfile(array=SMALL))) as resource:
        path = campaign_file(tmp_path, resource=resource, campaign='read_modes = ["one_phase"]')
        hil("run", path)
    ended = hil("export", tmp_path / "run", "--format", "csv", "-o", tmp_path / "codes.csv")
    assert ended.code == 0
    assert "warning: core00_one_phase" in ended.stderr


def test_device_without_nmpu_is_verified_in_software(tmp_path: Path) -> None:
    with served_once(ChipModel(MockProfile(array=SMALL))) as resource:
        path = campaign_file(
            tmp_path,
            resource=resource,
            campaign='read_modes = ["one_phase"]',
            device="has_nmpu = false",
        )
        ended = hil("run", path, "--json")
    assert ended.code == 0, ended.stderr
    (step,) = ended.json["steps"]
    assert step["nmpu_mismatches"] is None
    replayed = hil("replay", tmp_path / "run", "--out", tmp_path / "again", "--json")
    assert replayed.json["steps"][0]["errors"] == step["errors"]
