"""Telling somebody how a run goes: real programs and servers, hanging ones among them."""

import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hil.campaign.config.notify import NotifySection, Occasion
from hil.campaign.notify import Notifier
from hil.campaign.run_events import RunEnded, RunEvent, RunPaused, RunStarted, RunState

SECRET = "s3cr3t-w0rd"  # noqa: S105 - none
STARTED = RunStarted(run=Path("runs/x"), title="Drift", chip="C", steps=())
COMPLETE = RunEnded(state=RunState.COMPLETE)


def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def tell(section: NotifySection, *events: RunEvent, **environment: str) -> float:
    """Tell of events and close; return how long both took."""
    began_s = time.monotonic()
    notifier = Notifier(
        section, now=now, clock=time.monotonic, environment={**os.environ, **environment}
    )
    for event in (STARTED, *events):
        notifier.hear(event)
    notifier.close()
    return time.monotonic() - began_s


def keeping(path: Path) -> list[str]:
    """Return a command that appends its standard input to a file."""
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    return [sys.executable, "-c", code, str(path)]


def section(**keys: Any) -> NotifySection:
    return NotifySection(**{"timeout_s": 20.0, **keys})


@pytest.mark.parametrize(
    ("event", "occasion"),
    [
        (COMPLETE, "finish"),
        (RunEnded(state=RunState.INCOMPLETE), "failure"),
        (RunEnded(state=RunState.FAILED, reason="no link"), "failure"),
        (RunEnded(state=RunState.INTERRUPTED), "failure"),
        (RunPaused(reason="hot"), "pause"),
    ],
    ids=["complete", "incomplete", "failed", "interrupted", "paused"],
)
def test_command_gets_json_on_its_standard_input(
    tmp_path: Path, event: RunEvent, occasion: str
) -> None:
    tell(section(command=keeping(tmp_path / "told")), event)
    (told,) = map(json.loads, (tmp_path / "told").read_text().splitlines())
    assert (told["occasion"], told["title"], told["run"]) == (occasion, "Drift", "runs/x")
    assert told["utc"] == "2026-01-31T12:00:00+00:00"
    assert told["state"] == (event.state if isinstance(event, RunEnded) else "paused")


def test_only_asked_occasions_are_told(tmp_path: Path) -> None:
    command = keeping(tmp_path / "told")
    tell(section(command=command, on=[Occasion.FINISH]), RunPaused(reason="hot"), COMPLETE)
    (told,) = map(json.loads, (tmp_path / "told").read_text().splitlines())
    assert told["occasion"] == "finish"


def test_run_that_ended_with_failed_steps_has_finished_too(tmp_path: Path) -> None:
    command = keeping(tmp_path / "told")
    tell(section(command=command, on=[Occasion.FINISH]), RunEnded(state=RunState.INCOMPLETE))
    assert json.loads((tmp_path / "told").read_text())["occasion"] == "finish"


def test_hanging_command_holds_nothing_up_beyond_its_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); "
        "open(sys.argv[1], 'a').write(f'{os.getpid()} '); time.sleep(600)"
    )
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", code, str(pids)]
    with caplog.at_level(logging.INFO):
        took_s = tell(section(command=command, timeout_s=1.5), RunPaused(reason="hot"), COMPLETE)
    assert 1.4 < took_s < 4
    assert "did not end within 1.5 s, and was ended" in caplog.text
    assert len(pids.read_text().split()) == 2
    deadline = time.monotonic() + 10
    while any(is_alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline, "the command, or its child, still runs"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_telling_delays_no_event(tmp_path: Path) -> None:
    notifier = Notifier(
        section(command=["sleep", "600"], timeout_s=0.5), now=now, clock=time.monotonic
    )
    notifier.hear(STARTED)
    began_s = time.monotonic()
    for _ in range(50):
        notifier.hear(RunPaused(reason="hot"))
    assert time.monotonic() - began_s < 0.4
    notifier.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/notify"], "cannot be started: No such file or directory"),
        (["/"], "cannot be started: Permission denied"),
        ([sys.executable, "-c", "raise SystemExit('no \x1b[31mspace')"], "ended with 1: no ?[31m"),
        (["false"], "ended with 1"),
    ],
    ids=["missing", "no program", "words", "code"],
)
def test_failing_command_is_logged(
    command: list[str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tell(NotifySection.model_construct(command=command, on=list(Occasion)), COMPLETE)
    assert words in caplog.text


class Hook(BaseHTTPRequestHandler):
    """A web hook that remembers what it got."""

    got: ClassVar[list[tuple[str, dict[str, str], Any]]] = []
    answer: ClassVar[int] = 204

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Hook.got.append((self.path, dict(self.headers), body))
        self.send_response(Hook.answer)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        Hook.got.append((self.path, dict(self.headers), None))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(answer: int) -> Iterator[str]:
    Hook.got, Hook.answer = [], answer
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=10)


def test_web_hook_gets_the_message_with_its_secrets_filled_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), served(204) as url:
        tell(
            section(url=f"{url}/${{ENV:HOOK}}", headers={"Authorization": "Bearer ${ENV:HOOK}"}),
            COMPLETE,
            HOOK=SECRET,
        )
    ((path, headers, body),) = Hook.got
    assert path == f"/{SECRET}"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert (body["occasion"], body["title"]) == ("finish", "Drift")
    assert "sent" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_refusal_is_logged_without_secrets_and_redirects_are_not_followed(
    answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), served(answer) as url:
        tell(section(url=f"{url}/${{ENV:HOOK}}"), COMPLETE, HOOK=SECRET)
    assert f"the server answered {answer}" in caplog.text
    assert "${ENV:HOOK}" in caplog.text
    assert SECRET not in caplog.text
    assert len(Hook.got) == 1


def test_secret_that_spoils_the_url_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        spoiled = f"{SECRET[:6]} {SECRET[6:]}"
        tell(section(url="http://127.0.0.1:9/${ENV:HOOK}"), COMPLETE, HOOK=spoiled)
    assert "failed: ended with 1: cannot be posted: InvalidURL" in caplog.text
    assert SECRET[:6] not in caplog.text


def test_secret_that_spoils_a_header_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        headers = {"Authorization": "Bearer ${ENV:HOOK}"}
        spoiled = f"{SECRET}\nmore"
        tell(section(url="http://127.0.0.1:9/", headers=headers), COMPLETE, HOOK=spoiled)
    assert "failed: ended with 1: cannot be posted: ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_missing_secret_is_named_and_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), served(204) as url:
        tell(section(url=f"{url}/${{ENV:HIL_NOT_SET}}"), COMPLETE)
    assert "not set in the environment: HIL_NOT_SET" in caplog.text
    assert Hook.got == []


@contextmanager
def silent_server(first_bytes: bytes) -> Iterator[str]:
    """Take connections, and answer slowly for ever, or not at all."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            clients: list[socket.socket] = []
            while not is_over.is_set():
                try:
                    clients.append(server.accept()[0])
                except TimeoutError:
                    for client in clients:
                        if first_bytes:
                            try:
                                client.sendall(first_bytes)
                            except OSError:
                                continue
            for client in clients:
                client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            is_over.set()
            thread.join(timeout=10)


@pytest.mark.parametrize("first_bytes", [b"", b"H"], ids=["silent", "trickling"])
def test_server_that_never_ends_its_answer_holds_nothing_up(
    first_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), silent_server(first_bytes) as url:
        took_s = tell(section(url=url, timeout_s=1.5), COMPLETE)
    assert took_s < 4
    assert "failed: " in caplog.text


def test_nobody_is_told_where_nothing_listens(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with caplog.at_level(logging.INFO):
        tell(section(url=f"http://127.0.0.1:{port}/"), COMPLETE)
    assert "Connection refused" in caplog.text


def test_flood_of_words_fills_no_disk_and_keeps_nothing_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # The size of a pipe is 0, that of a file what was written.
    code = (
        "import os, sys; [os.write(2, b'x' * 100_000) for _ in range(100)]; "
        "open(sys.argv[1], 'w').write(str(os.fstat(2).st_size)); sys.exit(3)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "size")]
    with caplog.at_level(logging.WARNING):
        assert tell(section(command=command), COMPLETE) < 15
    assert (tmp_path / "size").read_text() == "0"
    assert "ended with 3: xxx" in caplog.text
    assert len(caplog.text) < 2000
