import struct

from flowsonar.shaping.nflog import payloads


def message(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("!BBH", 2, 0, 7)
    for name, data in attributes:
        body += struct.pack("=HH", 4 + len(data), name) + data + bytes(-len(data) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_the_packets_of_a_datagram() -> None:
    data = message(0x400, (1, b"abcd"), (9, b"packet")) + message(0x400, (9, b"another"))
    assert payloads(data) == [b"packet", b"another"]
    assert payloads(message(0x401, (9, b"no packet"))) == []


def test_what_is_cut_or_odd_is_left_out() -> None:
    data = message(0x400, (1, b"abcd"), (9, b"packet"))
    for length in range(len(data)):
        assert payloads(data[:length]) == []
    odd = bytearray(data)
    odd[20:22] = struct.pack("=H", 2)
    assert payloads(bytes(odd)) == []
    odd[20:22] = struct.pack("=H", 60000)
    assert payloads(bytes(odd)) == []
    assert payloads(bytes(64)) == []
