"""Check sums of what lies one after the other follow from those of each."""

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_datasets.check_sum import extended_crc, joined_crc


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_joined_check_sum_is_that_of_all_bytes(first: bytes, rest: bytes) -> None:
    of_each = google_crc32c.value(first), google_crc32c.value(rest)
    assert joined_crc(*of_each, len(rest)) == google_crc32c.value(first + rest)


@pytest.mark.parametrize("length", [4096, 65535, 131_072, 300_001])
def test_long_blocks_are_joined_too(length: int) -> None:
    content = np.random.default_rng(length).bytes(length)
    joined = joined_crc(google_crc32c.value(b"123456789"), google_crc32c.value(content), length)
    assert joined == google_crc32c.value(b"123456789" + content)


def test_check_sum_of_the_usual_digits_is_the_published_one() -> None:
    # RFC 3720, appendix B.4, and the catalogue of CRCs: CRC-32C of "123456789".
    digits = np.frombuffer(b"123456789", np.uint8)
    assert extended_crc(0, digits) == 0xE3069283
    assert joined_crc(extended_crc(0, digits[:4]), extended_crc(0, digits[4:]), 5) == 0xE3069283
