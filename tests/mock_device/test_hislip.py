"""HiSLIP as bytes on two real connections to a real server process, right and wrong ones.

Numbers of messages and codes are those of IVI-6.1; what is sent is packed by hand.
"""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil_mock_device.launch import MockProcess
from hislip_client import RawChannel, RawClient

IDENTITY = b"aimc-hil,mock-chip,quickstart-0,1.0\n"
NO_ERROR = b'0,"No error"\n'


@pytest.fixture(scope="module")
def process() -> Iterator[MockProcess]:
    arguments = ["--profile", "quickstart", "--tcp", "127.0.0.1:0", "--hislip", "127.0.0.1:0"]
    with MockProcess(arguments) as mock:
        yield mock


@pytest.fixture(scope="module")
def port(process: MockProcess) -> int:
    return int(process.resources[1].split(",")[1].split("::")[0])


@pytest.fixture
def client(port: int) -> Iterator[RawClient]:
    with RawClient(port) as raw:
        raw.query(b"*CLS;*ESE 0;*SRE 0;*OPC?\n", 0xFFFFFE00)
        yield raw


def test_both_ways_in_are_announced(process: MockProcess, port: int) -> None:
    assert process.resource == process.resources[0]
    assert process.resources[0].endswith("::SOCKET")
    assert process.resources[1] == f"TCPIP0::127.0.0.1::hislip0,{port}::INSTR"


def test_channels_are_initialized_in_synchronized_mode(client: RawClient) -> None:
    first, second = client.initialize_response, client.async_initialize_response
    assert (first.kind, first.control, first.parameter >> 16) == (1, 0, 0x0100)
    assert (second.kind, second.control) == (18, 0)


def test_overlapped_mode_is_refused_politely(port: int) -> None:
    channel = RawChannel(port)
    heard = channel.ask(0, 1, 0x0200_7878, b"hislip0")
    assert (heard.kind, heard.control, heard.parameter >> 16) == (1, 0, 0x0100)
    channel.close()


def test_answer_carries_the_id_of_its_request(client: RawClient) -> None:
    heard = client.sync.ask(7, 1, 0xFFFFFF04, b"*IDN?\n")
    assert heard == (7, 0, 0xFFFFFF04, IDENTITY)


def test_end_of_the_message_ends_it_without_a_newline(client: RawClient) -> None:
    assert client.query(b"*IDN?", 2) == IDENTITY


def test_message_may_be_spread_over_several(client: RawClient) -> None:
    client.sync.send(6, 1, 2, b"*I")
    client.sync.send(6, 0, 4, b"DN")
    assert client.query(b"?", 6, has_read=0) == IDENTITY


def test_two_messages_in_one_are_answered_one_by_one(client: RawClient) -> None:
    client.sync.send(7, 1, 2, b"*OPC?\n*IDN?\n")
    assert [client.sync.hear().payload, client.sync.hear().payload] == [b"1\n", IDENTITY]


def test_message_that_ends_inside_a_block_is_an_error_and_no_more(client: RawClient) -> None:
    client.sync.send(7, 1, 2, b"CORE:PROG #3100abc")
    assert client.query(b"SYST:ERR?", 4).startswith(b'-161,"Invalid block data; the message ended')


def test_bytes_that_are_no_message_are_answered_and_the_session_goes_on(client: RawClient) -> None:
    heard = client.sync.ask(7, 1, 2, b"CORE:PROG #9999999999" + bytes(100))
    assert heard.payload.startswith(b'@0 !-160,"Block data error')
    assert client.query(b"*IDN?", 4) == IDENTITY


def test_answer_is_cut_into_the_size_that_the_client_takes(client: RawClient) -> None:
    heard = client.asynch.ask(15, 0, 0, (96).to_bytes(8, "big"))
    assert (heard.kind, heard.payload) == (16, (1 << 20).to_bytes(8, "big"))
    client.sync.send(7, 1, 8, b"NMPU:FORM?\n")
    kinds, text = [], b""
    while 7 not in kinds:
        part = client.sync.hear()
        assert len(part.payload) <= 80
        assert part.parameter == 8
        kinds.append(part.kind)
        text += part.payload
    assert kinds == [6] * (len(kinds) - 1) + [7]
    assert len(kinds) > 2
    assert text.startswith(b'"in_bits=10,')
    assert text.endswith(b'"\n')


def test_size_that_is_none_is_an_error(client: RawClient) -> None:
    heard = client.asynch.ask(15, 0, 0, b"abc")
    assert (heard.kind, heard.control) == (3, 0)


# --- status, triggers and queries that are interrupted -------------------------------------------


def status(client: RawClient, *, has_read: int) -> int:
    heard = client.asynch.ask(21, has_read, 0)
    assert heard.kind == 22
    return heard.control


def test_status_byte_tells_that_an_answer_waits_until_it_is_read(client: RawClient) -> None:
    assert status(client, has_read=1) == 0
    client.sync.ask(7, 1, 2, b"*IDN?\n")
    assert status(client, has_read=0) == 16
    assert status(client, has_read=1) == 0
    assert status(client, has_read=0) == 0


def test_status_byte_is_the_one_that_is_asked_for_in_words(client: RawClient) -> None:
    client.query(b"*SRE 4;BAD;*OPC?", 2)
    assert status(client, has_read=1) == 4 + 64
    assert client.query(b"*STB?", 4) == b"68\n"


def test_message_before_the_answer_was_read_interrupts_it(client: RawClient) -> None:
    client.sync.ask(7, 1, 2, b"*IDN?\n")
    client.sync.send(7, 0, 4, b"*ESR?\n")
    assert client.sync.hear() == (13, 0, 4, b"")
    assert client.asynch.hear() == (14, 0, 4, b"")
    assert client.sync.hear() == (7, 0, 4, b"4\n")
    assert client.query(b"SYST:ERR?", 6).startswith(b'-410,"Query INTERRUPTED')


def test_status_query_may_be_what_tells_that_the_answer_was_read(client: RawClient) -> None:
    client.sync.ask(7, 1, 2, b"*IDN?\n")
    status(client, has_read=1)
    assert client.query(b"SYST:ERR?", 4, has_read=0) == NO_ERROR


def test_trigger_is_ignored_with_an_error(client: RawClient) -> None:
    client.sync.send(12, 1, 2)
    assert client.query(b"SYST:ERR?", 4).startswith(b'-211,"Trigger ignored')


# --- device clear --------------------------------------------------------------------------------


def test_device_clear_forgets_half_a_message(client: RawClient) -> None:
    client.sync.send(6, 1, 2, b"CORE:SEL 1;CORE:PROG #3")
    assert client.asynch.ask(19) == (23, 0, 0, b"")
    assert client.sync.ask(8, 1) == (9, 0, 0, b"")
    assert client.query(b"CORE:SEL?", 0xFFFFFF00) == b"0\n"
    assert client.query(b"SYST:ERR?", 0xFFFFFF02) == NO_ERROR


def test_messages_between_clear_and_its_completion_are_dropped(client: RawClient) -> None:
    assert client.asynch.ask(19).kind == 23
    client.sync.send(7, 1, 2, b"*IDN?\n")
    assert client.sync.ask(8).kind == 9
    assert client.query(b"*OPC?", 4) == b"1\n"


def test_device_clear_drops_answers_that_nobody_reads(client: RawClient) -> None:
    # 80,000 messages of 27 bytes come out of this one: more than the buffers between hold.
    client.sync.send(7, 1, 2, b"CHIP:GEOM?\n" * 80_000)
    client.sync.hear()
    assert client.asynch.ask(19).kind == 23
    client.sync.send(8)
    dropped = 0
    while client.sync.hear().kind != 9:
        dropped += 1
    assert 0 < dropped < 79_999
    assert client.query(b"*OPC?", 4) == b"1\n"


# --- remote, local and locks ---------------------------------------------------------------------


@pytest.mark.parametrize("request_code", range(7))
def test_remote_and_local_are_acknowledged(client: RawClient, request_code: int) -> None:
    assert client.asynch.ask(10, request_code, 2) == (11, 0, 0, b"")


def test_unknown_remote_request_is_an_unknown_control_code(client: RawClient) -> None:
    heard = client.asynch.ask(10, 7, 2)
    assert (heard.kind, heard.control) == (3, 2)


def test_exclusive_lock_shuts_the_others_out_until_it_is_released(
    client: RawClient, port: int
) -> None:
    with RawClient(port) as other:
        assert client.asynch.ask(4, 1, 0).control == 1
        assert client.asynch.ask(24) == (25, 1, 1, b"")
        assert other.asynch.ask(4, 1, 0).control == 0
        assert other.query(b"CORE:SEL 1;CORE:SEL?;:SYST:ERR?", 2).startswith(b"0;-203,")
        assert client.asynch.ask(4, 0, 2).control == 1
        assert other.query(b"CORE:SEL 1;CORE:SEL?;CORE:SEL 0", 4) == b"1\n"
        assert client.asynch.ask(24) == (25, 0, 0, b"")


def test_lock_is_waited_for_as_long_as_the_client_says(client: RawClient, port: int) -> None:
    with RawClient(port) as other:
        assert client.asynch.ask(4, 1).control == 1
        start = time.monotonic()
        assert other.asynch.ask(4, 1, 150).control == 0
        assert time.monotonic() - start >= 0.15
        other.asynch.send(4, 1, 8000)
        assert client.asynch.ask(4, 0).control == 1
        assert other.asynch.hear() == (5, 1, 0, b"")


def test_lock_of_a_client_that_has_gone_is_free(port: int) -> None:
    with RawClient(port) as first:
        assert first.asynch.ask(4, 1).control == 1
    with RawClient(port) as second:
        assert second.asynch.ask(4, 1, 5000).control == 1


def test_client_that_goes_while_it_waits_never_gets_the_lock(client: RawClient, port: int) -> None:
    client.asynch.ask(4, 1)
    with RawClient(port) as waiting:
        waiting.asynch.send(4, 1, 60_000)
    assert client.asynch.ask(4, 0).control == 1
    time.sleep(0.1)  # ten times as long as a client that waits needs to take a free lock
    assert client.asynch.ask(24).parameter == 0


def test_device_clear_and_status_are_answered_while_a_lock_is_waited_for(
    client: RawClient, port: int
) -> None:
    assert client.asynch.ask(4, 1).control == 1
    with RawClient(port) as waiting:
        waiting.asynch.send(4, 1, 8000)
        start = time.monotonic()
        assert waiting.asynch.ask(19).kind == 23
        assert waiting.sync.ask(8).kind == 9
        assert waiting.asynch.ask(21).kind == 22
        assert waiting.asynch.ask(4, 1, 8000).control == 3, "one request at a time"
        assert time.monotonic() - start < 4
        assert client.asynch.ask(4, 0).control == 1
        assert waiting.asynch.hear() == (5, 1, 0, b"")


def test_shared_lock_is_shared_by_those_with_its_key(client: RawClient, port: int) -> None:
    with RawClient(port) as second, RawClient(port) as stranger:
        assert client.asynch.ask(4, 1, 0, b"key").control == 1
        assert second.asynch.ask(4, 1, 0, b"key").control == 1
        assert stranger.asynch.ask(4, 1, 0, b"other").control == 0
        assert stranger.query(b"CORE:SEL 1;:SYST:ERR?", 2).startswith(b"-203,")
        assert second.query(b"CORE:SEL 0;:SYST:ERR?", 2) == NO_ERROR
        assert client.asynch.ask(24) == (25, 0, 2, b"")
        assert [c.asynch.ask(4, 0).control for c in (client, second)] == [2, 2]


def test_lock_asked_for_twice_or_released_without_one_is_an_error(client: RawClient) -> None:
    codes = [client.asynch.ask(4, control).control for control in (0, 1, 1, 0, 0)]
    assert codes == [3, 1, 3, 1, 3]


def test_lock_in_words_and_lock_by_message_are_the_same(client: RawClient, port: int) -> None:
    with RawClient(port) as other:
        assert client.query(b"SYST:LOCK:REQ?", 2) == b"1\n"
        assert other.asynch.ask(4, 1).control == 0
        assert other.query(b"SYST:LOCK:REQ?;OWN?", 2) == b"0;" + client.query(b"SYST:LOCK:OWN?", 4)
        assert client.asynch.ask(4, 0).control == 1


@pytest.mark.parametrize(
    ("control", "payload", "code"), [(2, b"", 2), (1, b"k" * 257, 4)], ids=["control", "key"]
)
def test_lock_request_that_is_none_is_an_error(
    client: RawClient, control: int, payload: bytes, code: int
) -> None:
    heard = client.asynch.ask(4, control, 0, payload)
    assert (heard.kind, heard.control) == (3, code)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [(26, 1), (127, 1), (200, 3), (4, 1), (1, 1)])
def test_message_type_that_means_nothing_here_is_an_error_and_no_end(
    client: RawClient, kind: int, code: int
) -> None:
    heard = client.sync.ask(kind, 0, 0, b"payload")
    assert (heard.kind, heard.control) == (3, code)
    assert client.query(b"*IDN?", 4) == IDENTITY


def test_unknown_message_on_the_asynchronous_channel_is_an_error(client: RawClient) -> None:
    assert client.asynch.ask(7, 0, 0, b"*IDN?")[:2] == (3, 1)
    assert client.asynch.ask(200)[:2] == (3, 3)
    assert status(client, has_read=1) == 0


@pytest.mark.parametrize("channel", ["sync", "asynch"])
def test_message_that_is_too_large_is_an_error_and_no_end(client: RawClient, channel: str) -> None:
    raw: RawChannel = getattr(client, channel)
    heard = raw.ask(7, 0, 2, bytes((1 << 20) + 1))
    assert (heard.kind, heard.control) == (3, 4)
    assert client.query(b"*IDN?", 4) == IDENTITY


@pytest.mark.parametrize("channel", ["sync", "asynch"])
def test_header_that_is_none_ends_both_channels(client: RawClient, channel: str) -> None:
    raw: RawChannel = getattr(client, channel)
    raw.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    heard = raw.hear()
    assert (heard.kind, heard.control) == (2, 1)
    assert b"must be b'HS'" in heard.payload
    raw.close()
    assert client.asynch.is_closed() if channel == "sync" else client.sync.is_closed()


def test_request_before_both_channels_are_there_is_fatal(port: int) -> None:
    channel = RawChannel(port)
    channel.ask(0, 0, 0x0100_7878, b"hislip0")
    heard = channel.ask(7, 0, 2, b"*IDN?\n")
    assert (heard.kind, heard.control) == (2, 2)
    channel.close()


@pytest.mark.parametrize(
    ("kind", "parameter", "payload"),
    [(7, 2, b"*IDN?"), (17, 65535, b""), (0, 0x0100_7878, b"hislip1"), (0, 0, bytes(2 << 20))],
    ids=["data", "no such session", "no such instrument", "oversize"],
)
def test_connection_that_begins_wrongly_is_ended(
    port: int, kind: int, parameter: int, payload: bytes
) -> None:
    channel = RawChannel(port)
    heard = channel.ask(kind, 0, parameter, payload)
    assert (heard.kind, heard.control) == (2, 3)
    channel.close()


def test_second_asynchronous_channel_is_refused_and_hurts_nobody(
    client: RawClient, port: int
) -> None:
    thief = RawChannel(port)
    heard = thief.ask(17, 0, client.initialize_response.parameter & 0xFFFF)
    assert (heard.kind, heard.control) == (2, 3)
    thief.close()
    assert client.query(b"*IDN?", 4) == IDENTITY


def test_clients_beyond_the_most_are_told_so(port: int) -> None:
    channels = [RawChannel(port) for _ in range(33)]
    heard = [channel.ask(0, 0, 0x0100_7878, b"hislip0") for channel in channels]
    assert [answer.kind for answer in heard] == [1] * 32 + [2]
    assert heard[-1].control == 4
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("kind", [2, 3])
def test_error_of_the_client_is_taken_note_of_and_not_answered(port: int, kind: int) -> None:
    with RawClient(port) as client:
        client.sync.send(kind, 0, 0, b"I give up")
        if kind == 2:
            assert client.sync.is_closed()
        else:
            assert client.query(b"*IDN?", 2) == IDENTITY


ANY_MESSAGE = st.tuples(
    st.integers(0, 30) | st.integers(0, 255),
    st.integers(0, 3) | st.integers(0, 255),
    st.integers(0, 100),
    st.sampled_from([b"", b"*IDN?\n", b"CORE:PROG #15", b"hislip0", bytes(8)]) | st.binary(),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.booleans(), ANY_MESSAGE), max_size=12))
def test_no_order_of_messages_hurts_anybody_else(
    client: RawClient, port: int, messages: list[tuple[bool, tuple[int, int, int, bytes]]]
) -> None:
    with RawClient(port) as wild:
        for is_synchronous, (kind, control, parameter, payload) in messages:
            channel = wild.sync if is_synchronous else wild.asynch
            try:
                channel.send(kind, control, parameter, payload)
            except OSError:  # it has been ended, as it deserves
                break
    assert client.query(b"*CLS;SYST:LOCK:OWN?;*IDN?", 4).endswith(b";" + IDENTITY)
