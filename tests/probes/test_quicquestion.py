"""Looking into QUIC, with a server in memory at the other end of a whole session."""

import random

import pytest

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Layer, Outcome, Question
from flowsonar.probes.dialogue import (
    Attend,
    Attended,
    Begun,
    Beside,
    Close,
    Closed,
    Connect,
    Connected,
    Ended,
    Event,
    Received,
    Send,
    Sent,
    TimedOut,
    Wait,
)
from flowsonar.probes.session import Session
from flowsonar.protocols.quic import build_initial
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.special.peer import certificate_der
from tests.probes.special.quicpeer import QuicServer, web
from tests.probes.world import question

CATALOGUE: SignatureSet = load_signatures()
MATCHER = Matcher(CATALOGUE, engine="re2")
SHOWN = build_initial(1, b"12345678", b"abcdefgh", b"\x01")[:64]


class Peer:
    """The other side of a session: a server, or nobody."""

    def __init__(self, *servers: QuicServer, end: Outcome | None = None) -> None:
        self.servers = list(servers)
        self.end = end
        self.now_s = 100.0
        self.sent: list[tuple[str, int]] = []

    def do(self, command: object) -> Event:
        if isinstance(command, Connect):
            return Connected(self.now_s, None, "10.0.0.1", 40000)
        if isinstance(command, Send):
            self.sent.append((command.probe, len(command.data)))
            if self.servers and command.probe.startswith("quic/"):
                if len(self.servers) > 1 and self.servers[0].shaken and len(command.data) == 1200:
                    self.servers.pop(0)  # another handshake
                self.servers[0].feed(command.data)
            return Sent(self.now_s)
        if isinstance(command, Wait):
            if self.end is not None:
                return Ended(self.now_s, self.end)
            if self.servers and self.servers[0].out:
                self.now_s += 0.001
                return Received(self.now_s, self.servers[0].out.pop(0))
            self.now_s += command.seconds
            return TimedOut(self.now_s)
        if isinstance(command, Beside):
            return Begun(self.now_s)
        if isinstance(command, Attend):
            waiting = bool(self.servers and self.servers[0].out)
            self.now_s += 0.0 if waiting else command.seconds
            return Attended(self.now_s, readable=waiting)
        assert isinstance(command, Close)
        return Closed(self.now_s)


def play(peer: Peer, asked: Question) -> Answer:
    session = Session(
        asked, signatures=CATALOGUE, matcher=MATCHER, settings=Settings(), now_s=peer.now_s, pick=random.Random(7)
    )
    talk = session.talk()
    try:
        command = next(talk)
        for _ in range(10_000):
            command = talk.send(peer.do(command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    raise AssertionError("a conversation without end")


def found(answer: Answer) -> dict[tuple[str | None, Layer | None], Confidence]:
    best: dict[tuple[str | None, Layer | None], Confidence] = {}
    for one in answer.evidence:
        if one.confidence.rank > best.get((one.service, one.over), Confidence.UNKNOWN).rank:
            best[one.service, one.over] = one.confidence
    return best


def shown(**values: object) -> Question:
    return question("10.0.0.9:4433/udp", initiator_bytes=SHOWN, **values)


def test_a_flow_of_quic_is_looked_into_at_once():
    peer = Peer(server := QuicServer(certificate=certificate_der()))
    answer = play(peer, shown(server_name="lab.example", alpn=("h3",)))
    assert found(answer) == {("quic", None): Confidence.CONFIRMED, ("http", Layer.QUIC): Confidence.CONFIRMED}
    details = [one.detail for one in answer.evidence]
    assert any("ALPN h3" in detail and "certificate for lab.example" in detail for detail in details)
    assert "HTTP/3 SETTINGS" in details
    assert server.closed == 0x100
    assert {probe for probe, _ in peer.sent} == {"quic/handshake"}


def test_who_tells_its_versions_is_looked_into():
    answer = play(Peer(QuicServer()), question("10.0.0.9:443/udp"))
    assert found(answer)["http", Layer.QUIC] is Confidence.CONFIRMED


def test_a_name_that_is_picked_is_likely_until_something_is_said():
    answer = play(Peer(QuicServer(streams={})), shown())
    assert found(answer) == {("quic", None): Confidence.CONFIRMED, ("http", Layer.QUIC): Confidence.LIKELY}


def test_who_picks_anything_says_nothing():
    answer = play(Peer(QuicServer(alpn=(b"\x0a\x0a",), streams=web())), shown())
    assert found(answer) == {("quic", None): Confidence.CONFIRMED}


def test_a_name_server():
    message = bytes.fromhex("0000 8405 0001 0000 0000 0000 07") + b"version\x04bind\0\0\x10\0\x03"
    reply = len(message).to_bytes(2, "big") + message
    answer = play(Peer(QuicServer(alpn=(b"doq",), streams={0: reply})), shown())
    assert found(answer)["dns", Layer.QUIC] is Confidence.CONFIRMED


def test_without_a_common_name_ours_are_tried():
    peer = Peer(QuicServer(alpn=(b"h3",)), QuicServer(alpn=(b"h3",)))
    answer = play(peer, shown(alpn=("strange",)))
    assert found(answer)["http", Layer.QUIC] is Confidence.CONFIRMED
    answer = play(Peer(QuicServer(alpn=(b"strange",))), shown())
    assert found(answer) == {("quic", None): Confidence.CONFIRMED}
    assert "none of our ALPN names" in answer.evidence[0].detail


def test_another_version_is_spoken_too():
    answer = play(Peer(QuicServer(version=0x6B3343CF)), shown())
    assert found(answer)["http", Layer.QUIC] is Confidence.CONFIRMED


def test_silence_is_no_quic_and_ends_in_time():
    peer = Peer()
    answer = play(peer, shown())
    assert not found(answer)
    assert peer.now_s <= 103.01
    assert ("quic/version-negotiation", 1200) in peer.sent


@pytest.mark.parametrize("end", [Outcome.REFUSED, Outcome.CANCELLED])
def test_the_end_is_the_end(end):
    answer = play(Peer(end=end), shown())
    assert answer.outcome is end
    assert answer.datagrams == 1
