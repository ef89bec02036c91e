"""Whether the answer to a request that was given up can be taken for the next one's.

The test gives up on purpose, at moments when the answer has not come, is coming and has come, and
asks what it knows the answers to. It does so twice: with the link cleared in between, as the driver
always does, and, where the link is a plain stream, without, so that only tags help.

Left-overs that are noticed for what they are cost a repetition, and are worth a warning. An answer
that passes for another's is a failure.
"""

import time
from collections.abc import Mapping, Sequence

from hil.core.errors import FrameError, HilError, TransportError, TransportTimeoutError
from hil.core.legible import quoted
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.latencies import shown_time
from hil.diagnosis.tested_link import TestedLink

_CHECK = "stale answers"
_CLAIM = "after a timeout, the next answers are the right ones"
_ROUNDS = (0.0, 0.3, 1.0, 3.0)
"""Pauses before the next request, in medians of the latency."""
_LONGEST_PAUSE_S = 0.5
_ATTEMPTS = 5
"""As the driver does unless told otherwise."""
_STREAMS = ("::SOCKET", "SERIAL://")
"""Links that carry on with an answer nobody waits for; VISA's other kinds interrupt it."""


def check_stale_answers(link: TestedLink, *, median_s: float, limit_s: float) -> Finding:
    """Give up on purpose, and compare what comes next with what is known."""
    deadline = time.monotonic() + limit_s
    known = {text: link.session.ask(text) for text in ("*IDN?", "CHIP:GEOMetry?", "READ:MODE?")}
    rounds = [
        (clears, pause, receptions)
        for clears in ((True, False) if _is_stream(link.resource) else (True,))
        for pause in _ROUNDS
        for receptions in (0, 1)
    ]
    took_s: list[float] = []
    noticed: list[str] = []
    for clears, pause, receptions in rounds:
        if took_s and time.monotonic() > deadline:
            break
        _give_up(link, receptions)
        time.sleep(min(pause * median_s, _LONGEST_PAUSE_S))
        start = time.perf_counter()
        if not clears and receptions == 0:
            link.session.is_in_step = True
        wrong = _wrong_answer(link, known, noticed)
        took_s.append(time.perf_counter() - start)
        if wrong is not None:
            return _failed(wrong, len(took_s), was_cleared=clears)
    return _passed(link, took_s, noticed)


def _passed(link: TestedLink, took_s: Sequence[float], noticed: Sequence[str]) -> Finding:
    dropped = link.session.stale_answers
    advice = (
        "clearing this link leaves the rest of an answer on it, which the driver notices, and "
        "clears again; a link with packets or a device clear is quicker"
    )
    return Finding(
        check=_CHECK,
        claim=_CLAIM,
        verdict=Verdict.WARN if noticed else Verdict.OK,
        evidence=(
            f"{len(took_s)} requests given up, {dropped} late answers known by their tags and "
            f"dropped, the next answers right; back in step within {shown_time(max(took_s))}"
            + (f"; left-overs noticed {len(noticed)} times: {noticed[0]}" if noticed else "")
        ),
        advice=advice if noticed else "",
        figures={
            "given_up": len(took_s),
            "dropped": dropped,
            "noticed": len(noticed),
            "longest_recovery_s": max(took_s),
        },
    )


def _is_stream(resource: str) -> bool:
    text = resource.upper()
    return text.endswith(_STREAMS[0]) or text.startswith(_STREAMS[1])


def _give_up(link: TestedLink, receptions: int) -> None:
    """Make a request and leave its answer, or all but its first bytes, on the way."""
    link.transport.gives_up_after = receptions
    try:
        link.session.ask("SYSTem:BOOT?" if receptions == 0 else "NMPU:FORMat?")
    except TransportTimeoutError:
        return
    finally:
        link.transport.gives_up_after = None


def _wrong_answer(link: TestedLink, known: Mapping[str, str], noticed: list[str]) -> str | None:
    """Ask what is known; return what was answered wrongly, or why nothing was answered."""
    for text, right in known.items():
        for attempt in range(_ATTEMPTS):
            try:
                answer = link.session.ask(text)
            except (TransportError, FrameError) as error:
                if attempt == _ATTEMPTS - 1:
                    return f"{error} ({_ATTEMPTS} times)"
                noticed.append(str(error))
                link.session.is_in_step = False  # as the driver does after any fault
            except HilError as error:
                return str(error)
            else:
                if answer != right:
                    return f"{text} was answered {quoted(answer)}, and before {quoted(right)}"
                break
    return None


def _failed(trouble: str, given_up: int, *, was_cleared: bool) -> Finding:
    how = "after the link was cleared" if was_cleared else "by its tag alone"
    advice = (
        "the firmware must begin anew when a client connects again, or clears the device: drop "
        "what it had read and was about to send"
        if was_cleared
        else "the firmware must answer every tagged request once, with its own tag, also one that "
        "nobody waits for any more"
    )
    return Finding(
        check=_CHECK,
        claim=_CLAIM,
        verdict=Verdict.FAIL,
        evidence=f"after {given_up} requests given up, the next was not answered rightly {how}: "
        f"{trouble}",
        advice=advice,
        figures={"given_up": given_up},
    )
