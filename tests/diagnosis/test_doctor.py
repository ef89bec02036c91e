"""Examinations of devices that are well, that lie, and that fall silent."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

import numpy as np
import pytest

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.diagnosis.doctor import diagnose_link
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.round_trip import (
    ALL_BYTES,
    TEXTS,
    Registers,
    check_byte_values,
    check_payloads,
    prepare_registers,
    text_pieces,
)
from hil.diagnosis.tested_link import TestedLink
from hil_drivers.connect import connect_chip
from hil_drivers.open_transport import open_transport
from hil_drivers.session import Session
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.launch import MockProcess
from hil_mock_device.loopback import LoopbackTransport
from small_profiles import lifelike_profile
from unruly_board import HANG_UP, CountingChip, UnrulyBoard, once, retold
from unruly_listener import Listener, babble, hang_up, keep_silent, unused_port

LINK_CHECKS = [
    "opens",
    "protocol",
    "lock",
    "latency",
    "settings",
    "byte values",
    "payloads",
    "throughput to the device",
    "throughput from the device",
    "company",
    "stale answers",
    "clock",
    "left as it was",
]


def examine(resource: str, *, seconds: float = 0.3, timeout_s: float = 2.0) -> dict[str, Finding]:
    return {
        finding.check: finding
        for finding in diagnose_link(resource, seconds=seconds, timeout_s=timeout_s)
    }


def passes(_: bytes, answer: bytes) -> Iterable[bytes | float | None]:
    return [answer]


def altered(change: Callable[[bytes], bytes]) -> Callable[[bytes, bytes], Iterable[bytes]]:
    """Change every byte that the device sends."""
    return lambda _, answer: [change(answer)]


def told(known: Mapping[bytes, str]) -> Callable[[bytes, bytes], Iterable[bytes]]:
    """Answer some queries otherwise than the mock does."""

    def plan(request: bytes, answer: bytes) -> Iterable[bytes]:
        _, _, text = request.partition(b" ")
        for header, words in known.items():
            if text.startswith(header):
                return [retold(request, words.encode() + b"\n")]
        return [answer]

    return plan


def verdicts(findings: Mapping[str, Finding], verdict: Verdict) -> list[str]:
    return [name for name, finding in findings.items() if finding.verdict is verdict]


# Devices that are well


def test_well_device_in_a_process_of_its_own_passes_every_check() -> None:
    with MockProcess(["--profile", "quickstart", "--seed", "1"]) as mock:
        findings = examine(mock.resource, seconds=1.0)
    assert list(findings) == LINK_CHECKS
    assert verdicts(findings, Verdict.SKIPPED) == ["clock"]
    assert verdicts(findings, Verdict.FAIL) == [], findings
    assert findings["byte values"].figures["values"] == 256
    assert findings["stale answers"].figures["given_up"] == 16
    assert findings["stale answers"].figures["dropped"] >= 4
    assert findings["latency"].figures["count"] > 20


def test_well_device_over_hislip_and_serial_passes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    line = tmp_path_factory.mktemp("l") / "line"
    ways = ["--hislip", "127.0.0.1:0", "--pty", str(line)]
    with MockProcess(["--profile", "quickstart", "--seed", "1", *ways]) as mock:
        for resource in mock.resources:
            findings = examine(resource, seconds=1.0, timeout_s=5.0)
            assert verdicts(findings, Verdict.FAIL) == [], findings


def test_device_is_left_as_it_was() -> None:
    fmt = NmpuFormat(off_int=8, off_bits=9)
    chip = CountingChip()
    size = chip.geometry
    rng = np.random.default_rng(0)
    registers = NmpuRegisters(
        scale_p=rng.integers(0, 256, size.columns, dtype=np.uint8),
        scale_n=rng.integers(0, 256, size.columns, dtype=np.uint8),
        offset=rng.integers(-256, 256, size.columns, dtype=np.int16),
        swap=rng.integers(0, 2, size.columns).astype(np.bool_),
    )
    inputs = rng.integers(-127, 128, (5, size.rows), dtype=np.int8)
    with UnrulyBoard(chip, passes) as board:
        with closing(connect_chip(board.resource, timeout_s=5)) as host:
            host.program(0, rng.integers(-127, 128, (size.rows, size.columns), dtype=np.int8))
            host.write_nmpu(0, ReadMode.FOUR_PHASE, fmt, registers)
            counts = host.read_counts(0, ReadMode.ONE_PHASE, inputs)
        conversions = chip.conversions
        findings = examine(board.resource)
        settings = board.firmware.settings
        assert (settings.core, settings.read_mode) == (0, ReadMode.ONE_PHASE)
        assert (settings.nmpu_is_on, settings.inputs) == (False, None)
        assert settings.nmpu_formats[0, ReadMode.FOUR_PHASE] == (fmt, registers)
        assert settings.latched is not None
        assert np.array_equal(settings.latched.counts, counts)
    assert findings["left as it was"].verdict is Verdict.OK
    assert "latched counts" in findings["throughput from the device"].evidence
    assert (chip.programmings, chip.conversions) == (1, conversions)


def test_programmed_core_is_read_once_with_zeros_where_nothing_is_latched() -> None:
    chip = CountingChip()
    size = chip.geometry
    with UnrulyBoard(chip, passes) as board:
        with closing(connect_chip(board.resource, timeout_s=5)) as host:
            host.program(0, np.ones((size.rows, size.columns), dtype=np.int8))
        findings = examine(board.resource)
        assert board.firmware.settings.latched is None
        assert board.firmware.settings.nmpu_formats.get((0, ReadMode.FOUR_PHASE)) in (
            None,
            (NmpuFormat(), None),
        )
    assert "counts of vectors of zeros" in findings["throughput from the device"].evidence
    assert (chip.programmings, chip.conversions) == (1, 1)


# Devices and links that are not


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda answer: answer.replace(b"\x11", b"").replace(b"\x13", b""), "XON"),
        (lambda answer: re.sub(rb"\n(?!$)", b"\r\n", answer), "newline"),
        (lambda answer: answer.replace(b"\xff", b"\xff\xff"), "Telnet"),
        (lambda answer: answer.replace(b"\x7f", b"\x08"), "delete"),
    ],
    ids=["flow control", "newline translation", "Telnet", "line editing"],
)
def test_line_that_changes_bytes_is_found_out_and_the_bytes_named(
    change: Callable[[bytes], bytes], named: str
) -> None:
    with UnrulyBoard(CountingChip(), altered(change)) as board:
        findings = examine(board.resource, seconds=10.0, timeout_s=0.3)
    assert findings["byte values"].verdict is Verdict.FAIL
    assert named in findings["byte values"].evidence
    assert "raw mode" in findings["byte values"].advice


def test_registers_that_come_back_changed_are_blamed_on_the_firmware() -> None:
    with UnrulyBoard(CountingChip(), passes) as board:
        link = TestedLink(open_transport(board.resource, timeout_s=2), timeout_s=2)
        registers = prepare_registers(link)
        assert registers is not None
        right = link.read_codes
        link.read_codes = lambda: right() ^ np.int16(1)  # type: ignore[method-assign]
        finding = check_byte_values(link, registers, limit_s=2)
        link.session.close()
    assert finding.verdict is Verdict.FAIL
    assert "changed with a right checksum" in finding.evidence
    assert "firmware" in finding.advice


def test_late_answer_with_the_next_tag_is_found_out() -> None:
    last: list[bytes] = []

    def plan(request: bytes, answer: bytes) -> Iterable[bytes]:
        """Answer each request that comes soon after a reconnection with what is left over."""
        if not answer.startswith(b"@"):
            return [answer]
        left, last[:] = (last[0] if last else b""), [answer.partition(b" ")[2]]
        is_new = board.connections != plan_connections[0]
        plan_connections[0] = board.connections
        return [retold(answer, left)] if is_new and left else [answer]

    plan_connections = [1]
    with UnrulyBoard(CountingChip(), plan) as board:
        findings = examine(board.resource)
    assert findings["stale answers"].verdict is Verdict.FAIL
    assert "after the link was cleared" in findings["stale answers"].evidence
    assert "begin anew" in findings["stale answers"].advice


def test_left_overs_that_are_noticed_are_a_warning() -> None:
    is_late = threading.Event()

    def plan(request: bytes, answer: bytes) -> Iterable[bytes]:
        """Say the rest of an earlier answer first, once in each connection after the first."""
        if board.connections > 1 and not is_late.is_set():
            is_late.set()
            return [b"ac_bits=1,off_int=7\n" + answer]
        return [answer]

    with UnrulyBoard(CountingChip(), plan) as board:
        findings = examine(board.resource)
    assert findings["stale answers"].verdict is Verdict.WARN
    assert findings["stale answers"].figures["noticed"] == 1


def test_slow_device_is_told_of_delayed_acknowledgements() -> None:
    with UnrulyBoard(CountingChip(), lambda _, answer: [0.041, answer]) as board:
        findings = examine(board.resource, seconds=1.0)
    assert findings["latency"].verdict is Verdict.WARN
    assert "TCP_NODELAY" in findings["latency"].advice
    assert findings["latency"].figures["median_s"] == pytest.approx(0.041, abs=0.012)


@pytest.mark.parametrize("header", [b"NMPU:REGisters ", b"INPut:DATA "])
def test_device_that_hangs_up_once_fails_one_check_and_is_left_well(header: bytes) -> None:
    with UnrulyBoard(CountingChip(), once(header, HANG_UP)) as board:
        findings = examine(board.resource)
    assert len(verdicts(findings, Verdict.FAIL)) == 1
    assert findings["left as it was"].verdict is Verdict.OK


def test_device_that_dies_in_the_middle_is_given_up_in_time() -> None:
    is_dead = threading.Event()

    def plan(request: bytes, answer: bytes) -> Iterable[bytes | float | None]:
        if b"INPut:DATA" in request[:60]:
            is_dead.set()
        return [] if is_dead.is_set() else [answer]

    with UnrulyBoard(CountingChip(), plan) as board:
        start = time.monotonic()
        findings = examine(board.resource, timeout_s=0.3)
        took_s = time.monotonic() - start
    assert findings["payloads"].verdict is Verdict.FAIL
    assert findings["left as it was"].verdict is Verdict.FAIL
    assert "SAFE" in findings["left as it was"].advice
    assert took_s < 15


@pytest.mark.parametrize(
    "behaviour", [keep_silent, hang_up, babble], ids=["silent", "hangs up", "babbles"]
)
def test_device_that_does_not_speak_the_protocol_is_a_failure_in_time(
    behaviour: Callable[[socket.socket, threading.Event], None],
) -> None:
    with Listener(behaviour) as device:
        start = time.monotonic()
        findings = examine(device.resource, timeout_s=0.5)
        took_s = time.monotonic() - start
    assert list(findings) == ["opens", "protocol"]
    assert findings["protocol"].verdict is Verdict.FAIL
    assert took_s < 5


def test_nobody_at_the_port_is_a_failure_to_open() -> None:
    findings = examine(f"TCPIP0::127.0.0.1::{unused_port()}::SOCKET")
    assert list(findings) == ["opens"]
    assert findings["opens"].verdict is Verdict.FAIL


def test_other_instrument_is_recognised_by_its_plain_identity() -> None:
    plan = told({b"CHIP:PROTocol?": '!-113,"Undefined header"'})
    with UnrulyBoard(CountingChip(), plan) as board:
        findings = examine(board.resource)
    assert findings["protocol"].verdict is Verdict.FAIL
    assert "aimc-hil,mock-chip,lifelike-7,1.0" in findings["protocol"].advice


def test_other_instrument_is_left_without_our_error_and_known_to_be_on() -> None:
    heard = []

    def answer_identity_only(server: socket.socket) -> None:
        for _ in range(2):
            client, _ = server.accept()
            with client, client.makefile("rb") as lines:
                for line in lines:
                    heard.append(line)
                    if line == b"*IDN?\n":
                        client.sendall(b"ACME,M1,7,1.0\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_identity_only, args=(server,))
        thread.start()
        port = server.getsockname()[1]
        findings = examine(f"TCPIP0::127.0.0.1::{port}::SOCKET", timeout_s=0.3)
        thread.join(10)
    assert heard[1:] == [b"*IDN?\n", b"*CLS\n"]
    assert "ACME,M1,7,1.0" in findings["protocol"].advice
    assert "no whole answer" in findings["protocol"].evidence
    assert "check that" not in findings["protocol"].evidence


# Devices that others use


def test_device_that_another_client_has_locked_is_not_written_to() -> None:
    with (
        UnrulyBoard(CountingChip(), passes) as board,
        Session(open_transport(board.resource, timeout_s=2), timeout_s=2) as other,
    ):
        assert other.ask("SYSTem:LOCK:REQuest?") == "1"
        other.tell("NMPU:STATe ON")
        findings = examine(board.resource)
        assert board.firmware.settings.nmpu_is_on
    assert findings["lock"].verdict is Verdict.FAIL
    assert "client 1" in findings["lock"].evidence
    assert "byte values" not in findings
    assert findings["latency"].verdict is not Verdict.FAIL


def test_device_that_another_client_measures_with_is_not_written_to() -> None:
    chip = CountingChip()
    size = chip.geometry
    is_over = threading.Event()
    with (
        UnrulyBoard(chip, passes) as board,
        closing(connect_chip(board.resource, timeout_s=5)) as host,
    ):
        host.program(0, np.ones((size.rows, size.columns), dtype=np.int8))

        def campaign() -> None:
            inputs = np.ones((1, size.rows), dtype=np.int8)
            while not is_over.is_set():
                host.read_counts(0, ReadMode.ONE_PHASE, inputs)

        thread = threading.Thread(target=campaign)
        thread.start()
        try:
            findings = examine(board.resource)
        finally:
            is_over.set()
            thread.join(10)
    assert findings["company"].verdict is Verdict.WARN
    assert "byte values" not in findings
    assert "left as it was" not in findings


def test_lock_is_free_again_afterwards() -> None:
    with UnrulyBoard(CountingChip(), passes) as board:
        examine(board.resource)
        assert board.firmware.lock.owner is None


# Clocks


@pytest.mark.parametrize(
    ("date", "clock", "verdict"),
    [
        (time.strftime("%Y,%m,%d", time.gmtime()), None, Verdict.OK),
        ("2001,1,1", "0,0,0", Verdict.WARN),
        ("soon", "noon", Verdict.WARN),
    ],
    ids=["right", "never set", "no time"],
)
def test_clock_is_compared(date: str, clock: str | None, verdict: Verdict) -> None:
    def plan(request: bytes, answer: bytes) -> Iterable[bytes]:
        now = clock or time.strftime("%H,%M,%S", time.gmtime())
        return told({b"SYSTem:DATE?": date, b"SYSTem:TIME?": now})(request, answer)

    with UnrulyBoard(CountingChip(), plan) as board:
        findings = examine(board.resource)
    assert findings["clock"].verdict is verdict


# Registers of other widths


class FixedWidths(MockDevice):
    """Refuses formats with a wide offset, as an NMPU in silicon does."""

    def answers(self, data: bytes) -> Iterator[bytes]:
        if b"off_bits=16" in data:
            return iter([retold(data, b'!-224,"Illegal parameter value"\n')])
        return super().answers(data)


def test_device_of_fixed_widths_is_tested_with_its_scales() -> None:
    device = FixedWidths(Firmware(ChipModel(lifelike_profile())))
    link = TestedLink(LoopbackTransport(device, resource="loop"), timeout_s=2)
    link.remember()
    registers = prepare_registers(link)
    columns = link.requests.geometry.columns
    assert registers == Registers(columns=columns, is_wide=False)
    finding = check_byte_values(link, registers, limit_s=5)
    assert (finding.verdict, finding.figures["values"]) == (Verdict.OK, 256)
    assert check_payloads(link, registers, limit_s=5).verdict is Verdict.OK


@pytest.mark.parametrize("size", [3, 16, 512])
def test_every_text_is_in_the_pieces_whole_or_cut(size: int) -> None:
    pieces = list(text_pieces(size))
    assert all(0 < len(piece) <= size for _, piece in pieces)
    assert b"".join(piece for _, piece in pieces) == b"".join(TEXTS.values())
    assert {name for names, _ in pieces for name in names} == set(TEXTS)


def test_every_byte_value_is_in_the_frames_of_a_narrow_core() -> None:
    registers = Registers(columns=8, is_wide=True)
    sent = b"".join(
        registers.codes(ALL_BYTES[start : start + registers.size])[2].tobytes()
        for start in range(0, 256, registers.size)
    )
    assert sent == bytes(range(256))
