"""`hil devices` as a user runs it."""

import json
import subprocess
import sys
import threading
import time

from unruly_listener import Listener

QUICK = ("--backend", "@py", "--interface", "127.0.0.1")


def devices(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from hil.cli.devices import command; command(prog_name='hil devices')"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_says_where_was_looked_and_what_came_of_it() -> None:
    done = devices(
        "--json", "--timeout", "0.5", "--backend", "@nowhere", "--interface", "127.0.0.1"
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    outcomes = {search["name"]: search["outcome"] for search in found["searches"]}
    assert outcomes["VISA (@nowhere)"] == "failed"
    assert outcomes["serial ports"] == "done"
    assert set(outcomes) == {"VISA (@nowhere)", "serial ports", "mDNS"}


def test_text_ends_in_time_and_says_where_was_looked() -> None:
    start = time.monotonic()
    done = devices("--no-identify", "--timeout", "1", *QUICK)
    took_s = time.monotonic() - start
    assert done.returncode == 0
    assert "looked for VISA (@py):" in done.stderr
    assert "looked for mDNS:" in done.stderr
    assert "identified" not in done.stdout
    assert ("a known address needs no discovery" in done.stderr) == ("TCPIP" not in done.stdout)
    assert took_s < 10


def test_device_that_is_not_announced_is_not_connected_to() -> None:
    arrived = threading.Event()

    def notice(client: object, is_over: threading.Event) -> None:
        arrived.set()
        is_over.wait(60)

    with Listener(notice):
        assert devices("--timeout", "0.5", *QUICK).returncode == 0
        assert not arrived.is_set()


def test_impossible_timeout_is_a_usage_error() -> None:
    assert devices("--timeout", "0").returncode == 2
