"""Every search at once, each device once, and who they are: all of it bounded in time."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hil_drivers.discovery.found_device import (
    Discovery,
    Finds,
    FoundDevice,
    Outcome,
    Search,
    State,
)
from hil_drivers.discovery.identify import Asked, ask_network, ask_serial
from hil_drivers.discovery.mdns_services import MDNS_SEARCH, find_announced
from hil_drivers.discovery.serial_ports import SERIAL_SEARCH, describe_port, find_serial
from hil_drivers.discovery.visa_resources import (
    find_visa,
    installed_backends,
    serial_path,
)
from hil_drivers.serial_address import DEFAULT_BAUD

T = TypeVar("T")

_SPARE_S = 1.5
"""What a search may take beyond its time: starting an interpreter, asking for details."""
_TURNS = 4
"""Devices at one host or on one bus are asked one after the other, for this many answers' time."""
_HISLIP = re.compile(r"TCPIP\d*::(?P<host>[^:]+|\[.+\])::hislip0(,(?P<port>\d+))?::INSTR", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to look for and whom to ask."""

    timeout_s: float = 3.0
    """How long each search may take, and each answer."""
    identifies: bool = True
    """Whether network, USB and GPIB devices are asked who they are."""
    serial_to_ask: tuple[str, ...] = ()
    """Device files of the serial ports to write to; they need not be listed by the system."""
    baud: int = DEFAULT_BAUD
    """Bits per second of those."""
    backends: tuple[str, ...] | None = None
    """pyvisa's names of the VISA libraries to ask; all installed ones where None."""
    interfaces: tuple[str, ...] | None = None
    """Addresses of the network interfaces to listen on; all where None."""


def discover(plan: Plan) -> Discovery:
    """Look for devices, and ask those who they are that may be asked."""
    finds = _search(plan)
    devices = merge(device for find in finds for device in find.devices)
    listed = {path for device in devices if (path := _path_of(device)) is not None}
    devices += [
        describe_port(path, "named on the command line", baud=plan.baud)
        for path in plan.serial_to_ask
        if path not in listed
    ]
    devices = _identify(devices, plan)
    return Discovery(
        devices=tuple(sorted(devices, key=lambda device: (not device.resource, device.resource))),
        searches=tuple(find.search for find in finds),
    )


def merge(devices: Iterable[FoundDevice]) -> list[FoundDevice]:
    """Return devices with each resource once, whoever found it and however it is spelled."""
    by_key: dict[str, FoundDevice] = {}
    for device in devices:
        key = _key(device)
        first = by_key.get(key)
        by_key[key] = device if first is None else _together(first, device)
    return _without_guessed_ports(list(by_key.values()))


def _together(first: FoundDevice, second: FoundDevice) -> FoundDevice:
    if SERIAL_SEARCH in second.found_by:  # knows more than VISA does
        first, second = second, first
    words = {text: None for text in (first.description, second.description) if text}
    if len(words) > 1:
        words.pop("network", None)
    others = {first.resource: None, **dict.fromkeys((*first.also, second.resource, *second.also))}
    return replace(
        first,
        found_by=tuple(dict.fromkeys((*first.found_by, *second.found_by))),
        description=", ".join(words),
        also=tuple(name for name in others if _spelled(name) != _spelled(first.resource)),
    )


def _without_guessed_ports(devices: list[FoundDevice]) -> list[FoundDevice]:
    """Leave out HiSLIP at 4880 where the host announced another port.

    pyvisa-py 0.8 lists every HiSLIP server with the registered port, whichever it announces.
    """
    announced = defaultdict(set)
    for device in devices:
        match = _HISLIP.fullmatch(device.resource)
        if match and MDNS_SEARCH in device.found_by:
            announced[match["host"]].add(match["port"])
    return [
        device
        for device in devices
        if MDNS_SEARCH in device.found_by
        or not (match := _HISLIP.fullmatch(device.resource))
        or match["host"] not in announced
    ]


def _key(device: FoundDevice) -> str:
    path = _path_of(device)
    return path or _spelled(device.resource) or device.detail


def _path_of(device: FoundDevice) -> str | None:
    for resource in (device.resource, *device.also):
        path = serial_path(resource)
        if path is not None:
            return path
    return None


def _spelled(resource: str) -> str:
    """Return one spelling for all that mean the same."""
    text = re.sub(r"^(TCPIP|USB|GPIB)(?=::)", r"\g<1>0", resource.upper())
    return text.replace("HISLIP0,4880::", "HISLIP0::")


def _search(plan: Plan) -> list[Finds]:
    backends = installed_backends() if plan.backends is None else plan.backends
    searches: dict[str, Callable[[], Finds]] = {
        f"VISA ({backend})": _visa_search(backend, plan.timeout_s) for backend in backends
    }
    searches[SERIAL_SEARCH] = lambda: find_serial(baud=plan.baud)
    searches[MDNS_SEARCH] = lambda: find_announced(
        listen_s=plan.timeout_s, interfaces=plan.interfaces
    )
    done = _all_at_once(searches, limit_s=plan.timeout_s + _SPARE_S)
    return [_finds_of(name, done.get(name)) for name in searches]


def _visa_search(backend: str, timeout_s: float) -> Callable[[], Finds]:
    return lambda: find_visa(backend, limit_s=timeout_s + _SPARE_S - 0.2)


def _finds_of(name: str, result: Finds | Exception | None) -> Finds:
    if isinstance(result, Finds):
        return result
    outcome = Outcome.LATE if result is None else Outcome.FAILED
    detail = "" if result is None else f"{type(result).__name__}: {result}"
    return Finds(search=Search(name=name, outcome=outcome, detail=detail))


def _identify(devices: Sequence[FoundDevice], plan: Plan) -> list[FoundDevice]:
    """Ask all that may be asked; those that share a host or a bus one after the other."""
    lines: dict[str, list[int]] = defaultdict(list)
    for number, device in enumerate(devices):
        if _may_be_asked(device, plan):
            lines[_shared(device)].append(number)
    answers: dict[int, FoundDevice] = {}
    limit_s = _TURNS * plan.timeout_s
    deadline = time.monotonic() + limit_s

    def ask_in_turn(numbers: Sequence[int]) -> None:
        for number in numbers:
            if time.monotonic() < deadline:
                answers[number] = _asked(devices[number], plan)

    _all_at_once({key: _bound(ask_in_turn, turn) for key, turn in lines.items()}, limit_s=limit_s)
    late = Asked(state=State.SILENT, detail=f"did not answer, or was not reached, in {limit_s:g} s")
    asked = {number for turn in lines.values() for number in turn}
    return [
        answers.get(number) or (_told(device, late) if number in asked else device)
        for number, device in enumerate(devices)
    ]


def _bound(function: Callable[[Sequence[int]], None], turn: Sequence[int]) -> Callable[[], None]:
    return lambda: function(turn)


def _may_be_asked(device: FoundDevice, plan: Plan) -> bool:
    if device.state is not State.NOT_ASKED or not device.resource:
        return False
    path = _path_of(device)
    if path is not None:
        return path in plan.serial_to_ask
    return plan.identifies


def _shared(device: FoundDevice) -> str:
    """Return what a device shares with others that must not be asked at the same time."""
    fields = device.resource.upper().split("::")
    if fields[0].startswith("TCPIP"):
        return fields[1]
    return fields[0] if fields[0].startswith("GPIB") else device.resource


def _asked(device: FoundDevice, plan: Plan) -> FoundDevice:
    path = _path_of(device)
    if path is None:
        backend = next((name[6:-1] for name in device.found_by if name.startswith("VISA (")), None)
        return _told(
            device, ask_network(device.resource, timeout_s=plan.timeout_s, backend=backend)
        )
    asked, speaks_packets = ask_serial(path, baud=plan.baud, timeout_s=plan.timeout_s / 2)
    told = _told(device, asked)
    if asked.state is State.IDENTIFIED and not speaks_packets:
        return replace(told, resource=f"ASRL{path}::INSTR", also=())
    return told


def _told(device: FoundDevice, asked: Asked) -> FoundDevice:
    return replace(device, state=asked.state, identity=asked.identity, detail=asked.detail)


def _all_at_once(
    calls: Mapping[str, Callable[[], T]], *, limit_s: float
) -> dict[str, T | Exception]:
    """Call all, each in a thread; return what came back in time.

    A call that hangs in a library cannot be ended: its thread is left behind, and ends with the
    process.
    """
    results: dict[str, T | Exception] = {}

    def run(name: str, call: Callable[[], T]) -> None:
        try:
            results[name] = call()
        except Exception as error:  # noqa: BLE001 - whatever a library raises is told, not lost
            results[name] = error

    threads = [
        threading.Thread(target=run, args=(name, call), daemon=True) for name, call in calls.items()
    ]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(results)
