import socket
import struct
from contextlib import closing

import pytest

from flowsonar.errors import MalformedError
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.connmarks import clear_marks, clearing, marked_tuples
from tests.needs import needs_program, needs_root
from tests.shaping.world import CLIENT, SERVER, World

REALTIME = DEFAULT_CLASSES[1]


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def message(*attributes: bytes, kind: int = 0x100) -> bytes:
    body = bytes((2, 0, 0, 0)) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


TUPLE = attribute(0x8001, b"somewhere")


def test_only_connections_with_our_mark_are_named() -> None:
    ours = message(TUPLE, attribute(8, struct.pack(">I", REALTIME.mark | 5)), attribute(18, b"\0\7"))
    others = message(TUPLE, attribute(8, struct.pack(">I", 5)))
    assert list(marked_tuples(ours + others + message(TUPLE) + message(kind=3))) == [
        (2, TUPLE + attribute(18, b"\0\7"))
    ]
    assert list(marked_tuples(message(TUPLE, attribute(8, struct.pack(">I", 0x00800000))))) == [(2, TUPLE)]


@pytest.mark.parametrize("cut", [10, 12, 26])
def test_messages_that_lie_about_their_length(cut: int) -> None:
    whole = message(TUPLE, attribute(8, struct.pack(">I", REALTIME.mark)))
    lying = struct.pack("=I", 16 + cut) + whole[4 : 16 + cut] if cut != 10 else struct.pack("=I", 400) + whole[4:]
    with pytest.raises(MalformedError):
        list(marked_tuples(lying))


def test_a_clearing_names_the_connection_and_our_bits() -> None:
    assert clearing(2, TUPLE).endswith(attribute(8, bytes(4)) + attribute(21, bytes.fromhex("fdff0000")))


@needs_root()
@needs_program("nft")
def test_our_bits_go_and_others_stay(lab: World) -> None:
    lab.nft(
        *("-f", "-"),
        given="table inet t {\nchain f { type filter hook forward priority 0; "
        f"ct mark set {REALTIME.mark | 0x77:#x}; }}\n}}\n",
    )
    assert lab.within(lab.gateway, clear_marks) == 0
    receiver = lab.within(lab.server, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = lab.within(lab.client, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with closing(receiver), closing(sender):
        receiver.settimeout(20)
        receiver.bind((SERVER, 5000))
        sender.bind((CLIENT, 5001))
        sender.sendto(b"x", (SERVER, 5000))
        receiver.recv(10)
        lab.nft("flush", "chain", "inet", "t", "f")
        lab.nft("add", "rule", "inet", "t", "f", "ct", "mark", "0x77", "counter")
        assert lab.within(lab.gateway, clear_marks) == 1
        assert lab.within(lab.gateway, clear_marks) == 0
        sender.sendto(b"x", (SERVER, 5000))
        receiver.recv(10)
    assert "counter packets 1 " in lab.nft("list", "chain", "inet", "t", "f")
