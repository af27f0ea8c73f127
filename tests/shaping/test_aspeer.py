import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowsonar.errors import ShapingError
from flowsonar.model import Endpoint, Transport
from flowsonar.shaping.aspeer import PeerLine, PeerSocket, clear, rules

from .namespaces import inside, needs_root, run

ENDPOINT, PEER = Endpoint(Transport.UDP, "198.18.71.2", 4000), Endpoint(Transport.UDP, "198.18.72.2", 5000)
NAMES = tuple(f"fst{os.getpid()}{name}" for name in ("a", "b"))


@contextlib.contextmanager
def forwarding() -> Iterator[tuple[socket.socket, socket.socket]]:
    """This process is a gateway; what comes back are the sockets of an endpoint and of its peer."""
    with inside():
        for name in NAMES:
            run("ip", "netns", "add", name)
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            found = []
            for name, (_, address, port), device in zip(NAMES, (ENDPOINT, PEER), ("left", "right"), strict=True):
                net = address.rsplit(".", 1)[0]
                run("ip", "link", "add", "name", device, "type", "veth", "peer", "name", "e0", "netns", name)
                run("ip", "addr", "add", f"{net}.1/24", "dev", device)
                run("ip", "link", "set", device, "up")
                for words in (f"addr add {address}/24 dev e0", "link set e0 up", f"route add default via {net}.1"):
                    run("ip", "-n", name, *words.split())
                found.append(socket_in(name, address, port))
            yield found[0], found[1]
            for one in found:
                one.close()
        finally:
            for name in NAMES:
                subprocess.run(["ip", "netns", "del", name], check=False)


def socket_in(name: str, address: str, port: int) -> socket.socket:
    from .namespaces import enter

    with enter(Path(f"/run/netns/{name}")):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        made.settimeout(5)
        return made


def nothing_more(one: socket.socket) -> bool:
    return not select.select([one], [], [], 0.3)[0]


@needs_root
def test_the_peer_sees_neither_question_nor_answer() -> None:
    with forwarding() as (endpoint, peer):
        endpoint.sendto(b"hello", PEER[1:])
        assert peer.recv(100) == b"hello"
        line = PeerLine()
        try:
            asker = PeerSocket(line, PEER, ENDPOINT, lambda data: (2, data[2:6]))
            asker.connect(("ignored", 0))
            assert asker.getsockname() == PEER[1:]
            assert asker.send(b"Q:abcd") == 6
            question, sender = endpoint.recvfrom(100)
            assert (question, sender) == (b"Q:abcd", PEER[1:])
            endpoint.sendto(b"of the flow itself", sender)  # goes on, though its flow is held
            endpoint.sendto(b"the answer to abcd", sender)
            assert select.select([asker], [], [], 5)[0]
            assert asker.recv(100) == b"the answer to abcd"
            assert peer.recvfrom(100) == (b"of the flow itself", ENDPOINT[1:])
            asker.close()
            again = PeerSocket(line, PEER, ENDPOINT, lambda data: (2, data[2:6]))
            again.connect(None)  # another question in the same flow, while late answers are still waited for
            again.send(b"Q:efgh")
            assert endpoint.recv(100) == b"Q:efgh"
            endpoint.sendto(b"the answer to efgh", sender)
            assert select.select([again], [], [], 5)[0]
            assert again.recv(100) == b"the answer to efgh"
            again.close()
            endpoint.sendto(b"late: abcd", sender)  # still taken off the path
            assert nothing_more(peer)
            assert line.counts["answers"] == 3
            assert line.counts["passed_on"] == 1
        finally:
            line.close()
            line.close()  # twice does no harm
        endpoint.sendto(b"abcd is nothing any more", PEER[1:])
        assert peer.recv(100) == b"abcd is nothing any more"
        assert "flowsonar" not in run("nft", "list", "ruleset")


@needs_root
def test_one_flow_is_held_once_and_questions_without_a_key_do_not_leave() -> None:
    with forwarding():
        line = PeerLine()
        try:
            first = PeerSocket(line, PEER, ENDPOINT, lambda _data: None)
            first.connect(None)
            with pytest.raises(PermissionError):
                first.send(b"question")
            second = PeerSocket(line, PEER, ENDPOINT, lambda _data: None)
            with pytest.raises(OSError, match="held already"):
                second.connect(None)
            first.close()
            second.close()
            assert line.counts["asked"] == 0
        finally:
            line.close()


@needs_root
def test_what_a_killed_run_has_left_is_cleared_and_nothing_of_others() -> None:
    with inside():
        assert not clear()
        subprocess.run(["nft", "-f", "-"], input=rules(9), text=True, check=True)
        assert clear()
        assert not clear()
        run("nft", "add", "table", "inet", "flowsonar_peers")  # somebody else's
        for call in (clear, PeerLine):
            with pytest.raises(ShapingError, match="did not make"):
                call()
        assert "flowsonar_peers" in run("nft", "list", "tables")


def test_the_rules_touch_nothing_but_what_is_held() -> None:
    text = rules(77)
    assert text.count(" drop") == 4
    assert text.count("log group 77") == 2
    assert "policy" not in text
