"""The PyPI package `scpi`: an asyncio client with a parser of its own, which sends CRLF."""

import asyncio
from typing import Any

import pytest

scpi = pytest.importorskip("scpi", reason="the package scpi is not installed")
tcp = pytest.importorskip("scpi.transports.tcp", reason="the package scpi is not installed")


async def talk(port: int) -> list[Any]:
    device = scpi.SCPIDevice(scpi.scpi.SCPIProtocol(tcp.get("127.0.0.1", port)))
    await device.clear_status()
    heard: list[Any] = [list(await device.identify()), await device.get_error()]
    await device.set_ese(60)
    heard += [await device.query_ese(), await device.query_esr(), await device.query_stb()]
    with pytest.raises(scpi.errors.CommandError, match="Undefined header"):
        await device.command("BAD")
    await device.clear_status()
    await device.set_ese(0)
    await device.quit()
    return heard


def test_device_identifies_and_tells_its_status(board: Any) -> None:
    identity, error, mask, events, status = asyncio.run(asyncio.wait_for(talk(board.port), 30))
    # The package leaves the newline at the last field.
    assert [field.strip() for field in identity] == ["aimc-hil", "mock-chip", "S-1", "1.0"]
    assert error == (0, "No error")
    assert (mask, events, status) == (60, 0, 0)
