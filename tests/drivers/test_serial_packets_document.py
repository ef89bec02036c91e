"""The page on serial packets against both ends: its dialogue, its tables."""

import re
from pathlib import Path

from hil_drivers.packet_end import PacketEnd
from hil_drivers.packets import LineFault, PacketType

PAGE = (Path(__file__).parents[2] / "docs/reference/serial-packets.md").read_text("utf-8")
DIALOGUE = PAGE.split("## A whole dialogue")[1].split("```text\n")[1].split("```")[0].splitlines()


def take(end: PacketEnd) -> bytes:
    buffer = bytearray(100)
    return bytes(buffer[: end.take_into(memoryview(buffer))])


def said_by(who: str, lines: list[str]) -> bytes:
    """Return the bytes in lines that all must be of one end; what is lost was sent by the host."""
    assert {line.split()[0] for line in lines} <= {who, "lost"}
    return b"".join(bytes.fromhex(line[16:]) for line in lines)


def test_dialogue_is_what_both_ends_say() -> None:
    host, device = PacketEnd(window=64), PacketEnd(first_epoch=0x90, window=16)
    host.reset(0xC07B614E, 0.0)
    turns = ["host", "device", "host", "device", "host", "device", "host"]
    turns += ["host", "device", "host", "device", "host", "device"]
    sizes = [1, 1, 1, 1, 1, 2, 1, 3, 1, 2, 1, 1, 1]
    heard: dict[str, list[bytes]] = {"host": [], "device": []}
    lines = list(DIALOGUE)
    for turn, (who, size) in enumerate(zip(turns, sizes, strict=True)):
        end, other, name = (host, device, "device") if who == "host" else (device, host, "host")
        if turn == 4:
            host.offer(b"@1 *OPC?\n")
        elif turn == 5:
            device.offer(b"@1 1\n")
        elif turn == 7:
            for letter in (b"a", b"b", b"c"):
                host.offer(letter)
        elif turn == 11:
            host.finish()
        now, lines = lines[:size], lines[size:]
        assert end.to_send(0.0) == said_by(who, now)
        other.receive(said_by(who, [line for line in now if not line.startswith("lost")]), 0.0)
        heard[name].append(take(other))
    assert lines == []
    assert b"".join(heard["device"]) == b"@1 *OPC?\nabc"
    assert b"".join(heard["host"]) == b"@1 1\n"
    assert device.has_ended
    assert device.faults == {LineFault.MISSING: 2}
    assert host.faults == {LineFault.RESENT: 2}


def test_page_lists_every_type() -> None:
    rows = re.findall(r"^\| (A\d) \| (\w+) \|", PAGE, re.MULTILINE)
    assert rows == [(f"{kind:X}", kind.name) for kind in PacketType]


def test_page_lists_every_fault() -> None:
    table = PAGE.split("## Faults")[1].split("## ")[0]
    assert re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:] == [str(one) for one in LineFault]
