"""Frames against bytes made by hand, and every way in which bytes are no frame."""

from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import golden_frames
from golden_frames import GoldenFrame, crc32c_bit_by_bit, with_crc
from hil.core.errors import FrameError
from hil.core.readout import ReadMode
from hil_drivers.frames import Frame, FrameKind, decode_frame, encode_frame

golden = pytest.mark.parametrize(
    "golden",
    golden_frames.EVERY,
    ids=[*(frame.kind.name.lower() for frame in golden_frames.OF_EACH_KIND), "large_numbers"],
)


def changed(offset: int, replacement: bytes) -> bytes:
    """Return the golden weights with other bytes at an offset, and the CRC that belongs to them."""
    body = bytearray(golden_frames.WEIGHTS.data[:-4])
    body[offset : offset + len(replacement)] = replacement
    return with_crc(bytes(body))


@golden
def test_frame_is_encoded_as_the_document_says(golden: GoldenFrame) -> None:
    frame = Frame(
        kind=golden.kind,
        sequence=golden.sequence,
        core=golden.core,
        read_mode=golden.read_mode,
        first_vector=golden.first_vector,
        payload=golden.payload,
    )
    assert encode_frame(frame).hex() == golden.data.hex()


@golden
def test_frame_is_decoded_as_the_document_says(golden: GoldenFrame) -> None:
    frame = decode_frame(golden.data)
    assert (frame.kind, frame.sequence, frame.core, frame.read_mode, frame.first_vector) == (
        golden.kind,
        golden.sequence,
        golden.core,
        golden.read_mode,
        golden.first_vector,
    )
    assert frame.payload.dtype == golden.payload.dtype
    np.testing.assert_array_equal(frame.payload, golden.payload)


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (b"123456789", 0xE3069283),
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=["digits", "zeros", "ones", "ascending", "descending"],
)
def test_crc_has_the_published_check_values(data: bytes, check: int) -> None:
    assert google_crc32c.value(data) == check
    assert crc32c_bit_by_bit(data) == check


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "frame of 0 bytes: must be at least 36"),
        (golden_frames.WEIGHTS.data[:35], "frame of 35 bytes: must be at least 36"),
        (changed(0, b"HILG"), "magic at offset 0 is b'HILG'"),
        (changed(4, b"\x02"), "version at offset 4 is 2"),
        (golden_frames.WEIGHTS.data[:-1] + b"\x00", "CRC-32C at offset 36 is 0x000435b6"),
        (golden_frames.WEIGHTS.data[:-5] + golden_frames.WEIGHTS.data[-4:], "CRC-32C at offset 35"),
        (changed(5, b"\x00"), "kind at offset 5 is 0"),
        (changed(5, b"\x06"), "kind at offset 5 is 6"),
        (changed(6, b"\x02"), "read mode at offset 6 is 2"),
        (changed(7, b"\x00"), "dtype at offset 7 is 0"),
        (changed(7, b"\x02"), "dtype at offset 7 is 2"),
        (changed(14, b"\x03"), "dimensions at offset 14 are 3"),
        (changed(14, b"\x00"), "dimensions at offset 14 are 0"),
        (changed(15, b"\x01"), r"dimensions at offset 14 are 2 \(then 1\)"),
        (changed(16, b"\x03"), "shape at offset 16"),
        (changed(16, b"\x01"), "shape at offset 16"),
        (changed(16, b"\xff" * 8), "shape at offset 16"),
        (changed(16, b"\x01\0\0\0\x02\0\0\0\x02\0\0\0"), "shape at offset 16"),
    ],
    ids=[
        "empty",
        "too_short",
        "magic",
        "version",
        "crc",
        "truncated",
        "kind_0",
        "kind_6",
        "read_mode",
        "dtype_0",
        "dtype_of_another_kind",
        "too_many_dimensions",
        "no_dimensions",
        "reserved",
        "shape_too_large",
        "shape_too_small",
        "shape_beyond_memory",
        "shape_beyond_dimensions",
    ],
)
def test_wrong_bytes_are_refused_by_field(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        decode_frame(data)


@given(position=st.integers(0, 40 * 8 - 1))
@settings(max_examples=60, deadline=None)
def test_every_flipped_bit_is_noticed(position: int) -> None:
    data = bytearray(golden_frames.WEIGHTS.data)
    data[position // 8] ^= 1 << position % 8
    with pytest.raises(FrameError):
        decode_frame(data)


@given(data=st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_a_frame_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data)


@given(body=st.binary(min_size=27, max_size=60))
@settings(max_examples=200, deadline=None)
def test_random_fields_are_a_frame_or_a_frame_error(body: bytes) -> None:
    data = with_crc(b"HILF\x01" + body)
    try:
        frame = decode_frame(data)
    except FrameError:
        return
    assert frame.payload.nbytes == len(data) - 36


@given(
    sequence=st.integers(0, 2**32 - 1),
    core=st.integers(0, 2**16 - 1),
    read_mode=st.sampled_from([None, *ReadMode]),
    vectors=st.integers(0, 5),
    columns=st.integers(0, 5),
    first_vector=st.integers(0, 2**32 - 1),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_what_is_encoded_is_decoded(
    *,
    sequence: int,
    core: int,
    read_mode: ReadMode | None,
    vectors: int,
    columns: int,
    first_vector: int,
    seed: int,
) -> None:
    counts = np.random.default_rng(seed).integers(0, 65536, (vectors, 2, columns), dtype=np.uint16)
    frame = decode_frame(
        encode_frame(
            Frame(
                kind=FrameKind.COUNTS,
                sequence=sequence,
                core=core,
                read_mode=read_mode,
                payload=counts,
                first_vector=first_vector,
            )
        )
    )
    assert (frame.sequence, frame.core, frame.read_mode, frame.first_vector) == (
        sequence,
        core,
        read_mode,
        first_vector,
    )
    np.testing.assert_array_equal(frame.payload, counts)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.array([[1, -1], [2, -2]], dtype=np.int8)),
        np.array([[1, 0, -1, 0], [2, 0, -2, 0]], dtype=np.int8)[:, ::2],
    ],
    ids=["columns_first", "every_other_column"],
)
def test_layout_in_memory_does_not_reach_the_wire(array: npt.NDArray[np.int8]) -> None:
    frame = Frame(kind=FrameKind.WEIGHTS, sequence=7, core=0, read_mode=None, payload=array)
    assert encode_frame(frame) == golden_frames.WEIGHTS.data


def test_decoded_payload_is_a_view_and_read_only() -> None:
    frame = decode_frame(bytearray(golden_frames.COUNTS.data))
    assert not frame.payload.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        frame.payload[0, 0, 0] = 1


@pytest.mark.parametrize(
    "payload",
    [np.zeros((2, 2), np.int16), np.zeros(4, np.int8), np.zeros((1, 2, 2), np.int8)],
    ids=["dtype", "one_axis", "three_axes"],
)
def test_frame_of_the_wrong_array_cannot_be_made(payload: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="weights frame holds int8 with 2 axes"):
        Frame(kind=FrameKind.WEIGHTS, sequence=0, core=0, read_mode=None, payload=payload)
