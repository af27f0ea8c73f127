import socket
import struct

import pytest

from flowsonar.errors import MalformedError
from flowsonar.shaping.classdump import ClassDump, ended, request, served
from flowsonar.shaping.windows import Served
from tests.needs import needs_program, needs_root
from tests.shaping.world import World


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def message(handle: int, *attributes: bytes, kind: int = 40) -> bytes:
    body = struct.pack("=BxxxiIII", 0, 3, handle, 0, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


STATS = attribute(3, struct.pack("=QIIIIIII", 5_000_000_000, 4, 3, 2, 1, 1, 7, 9_000))
DONE = message(0, kind=3)


def test_classes_of_ours_are_read() -> None:
    others = message(0x20050, STATS) + message(0x10060, attribute(1, b"htb\0")) + message(0x10070, STATS, kind=36)
    data = message(0x10050, attribute(1, b"htb\0"), STATS) + others
    assert dict(served(data)) == {0x50: Served(5_000_000_000, 9_000)}
    assert not ended(data)
    assert ended(data + DONE)


def test_a_request_names_the_interface() -> None:
    assert struct.unpack_from("=i", request(77), 20) == (77,)


@pytest.mark.parametrize("cut", [8, 20, 38])
def test_messages_that_lie_about_their_length(cut: int) -> None:
    whole = message(0x10050, STATS)
    lying = struct.pack("=I", len(whole) + cut) + whole[4:] if cut == 8 else whole[:36] + b"\xff\xff" + whole[38:]
    with pytest.raises(MalformedError):
        list(served(lying))


@needs_root()
@needs_program("tc")
def test_the_kernels_own_answer(lab: World) -> None:
    for words in (
        "qdisc add dev lan root handle 1: htb default 50",
        "class add dev lan parent 1: classid 1:1 htb rate 9mbit",
        "class add dev lan parent 1:1 classid 1:50 htb rate 9mbit",
    ):
        lab.run(lab.gateway, "tc", *words.split())
    dump = lab.within(lab.gateway, lambda: ClassDump(socket.if_nametoindex("lan")))
    before = dump.read()
    assert before.keys() == {1, 0x50}
    sender = lab.within(lab.gateway, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender:
        sender.sendto(bytes(100), ("10.81.1.2", 9))
    after = dump.read()
    assert after[0x50].octets >= before[0x50].octets + 100
    assert after[0x50].waiting == 0
    dump.close()
