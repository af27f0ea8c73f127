import pytest

from flowsonar.probes.special import h3
from flowsonar.probes.special.quicframes import read_frames
from flowsonar.protocols import qpack
from flowsonar.protocols.quic import write_varint


def headers(*fields: tuple[str, str]) -> bytes:
    block = qpack.encode(list(fields))
    return b"\x01" + write_varint(len(block)) + block


def test_the_request():
    control, request = list(read_frames(h3.request("lab.example", "us")))
    assert (control.number, control.data) == (2, b"\x00\x04\x00")
    assert request.number == 0
    assert qpack.read_fields(request.data[2:]) == [
        (":method", "GET"), (":scheme", "https"), (":authority", "lab.example"), (":path", "/"), ("user-agent", "us"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (headers((":status", "404"), ("server", "Caddy")), b"HTTP/1.1 404 \r\nserver: Caddy\r\n\r\n"),
        (headers((":status", "103")) + headers((":status", "200")) + b"\0\x02hi", b"HTTP/1.1 200 \r\n\r\nhi"),
        (b"\x21\x01a" + headers((":status", "200")), b"HTTP/1.1 200 \r\n\r\n"),
        (headers((":status", "200"), ("x", "a\r\nb: c")), b"HTTP/1.1 200 \r\nx: a  b: c\r\n\r\n"),
        (headers((":status", "200"))[:-1], b""),
        (headers(("server", "Caddy")), b""),
        (b"\x01\x02\x05\x00", b""),
        (b"\0\x02hi", b""),
        (b"", b""),
    ],
)
def test_answers(data, said):
    assert h3.answer(data) == said


def test_settings_are_the_servers_own():
    assert h3.has_settings({3: b"\x00\x04\x00"})
    assert h3.has_settings({3: b"\x02", 7: b"\x00\x04\x02\x01\x00"})
    assert not h3.has_settings({2: b"\x00\x04\x00", 0: b"\x00\x04\x00", 3: b"\x00\x05\x00", 11: b"\x00\x04"})
