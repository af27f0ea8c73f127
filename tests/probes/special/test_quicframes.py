import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quicframes import CLOSE, CRYPTO, STREAM, Frame, read_frames, stream


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ("0000", []),
        ("01 06 05 02 6869", [Frame(CRYPTO, 0, 5, b"hi")]),
        ("02 00 00 00 00 06 00 01 61", [Frame(CRYPTO, 0, 0, b"a")]),
        ("0a 03 02 0004 08 04 6869", [Frame(STREAM, 3, 0, b"\x00\x04"), Frame(STREAM, 4, 0, b"hi")]),
        ("0e 03 07 01 61", [Frame(STREAM, 3, 7, b"a")]),
        ("1c 4178 06 02 6e6f 01", [Frame(CLOSE, 0x178, 0, b"no")]),
        ("1d 4100 00", [Frame(CLOSE, 0x100, 0, b"")]),
        ("18 01 00 04 01020304" + "00" * 16 + "0b 03 00", [Frame(STREAM, 3, 0, b"")]),
        ("07 02 abcd 1e 10 05 11 01 02 1a" + "00" * 8 + "0b 00 00", [Frame(STREAM, 0, 0, b"")]),
        ("21 06 00 01 61", []),
    ],
)
def test_frames(payload, found):
    assert list(read_frames(bytes.fromhex(payload))) == found


@pytest.mark.parametrize("payload", ["06", "0600", "0640", "1c", "1c00", "02", "11 01", "0c 01"])
def test_a_frame_that_is_cut(payload):
    with pytest.raises(MalformedError):
        list(read_frames(bytes.fromhex(payload)))


def test_what_is_written_is_read():
    assert list(read_frames(stream(0, b"question", final=True))) == [Frame(STREAM, 0, 0, b"question")]


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused(payload):
    with contextlib.suppress(MalformedError):
        assert len(list(read_frames(payload))) <= len(payload)
