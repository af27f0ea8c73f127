"""`flowsonar shape` itself, on a gateway in namespaces of the test's own."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from flowsonar.app.shapeplan import clear
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, TrafficClass, Transport, Verdict
from flowsonar.verdicts.store import Store
from tests.needs import needs_program, needs_root
from tests.shaping.world import CLIENT, CLIENT6, SERVER, SERVER6, World, world

CS2 = 16 << 2
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 04 74657374 00 0001 0001")
ANSWER = (
    QUERY[:2] + bytes.fromhex("8180 0001 0001") + QUERY[8:] + bytes.fromhex("c00c 0001 0001 0000003c 0004 c0000201")
)
NAT = 'table ip nat {\n\tchain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }\n}\n'


@pytest.fixture
def lab() -> Iterator[World]:
    with world() as made:
        yield made


@contextmanager
def shaping(lab: World, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program on the gateway, ready."""
    command = ["ip", "netns", "exec", lab.gateway, sys.executable, "-m", "flowsonar", "shape"]
    command += ["-i", "wan", "--lan", "lan", "--json", "--passive", "--store", str(folder / "v.db"), *options]
    with (folder / "errors").open("wb") as errors:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
    try:
        await_words(program, folder, "shaping; watching")
        yield program
    finally:
        program.kill()
        program.wait()
        assert program.stdout is not None
        program.stdout.close()


def await_words(program: subprocess.Popen[bytes], folder: Path, words: str) -> None:
    """Wait until the program has said so on standard error."""
    while words not in (said := (folder / "errors").read_text()):
        assert program.poll() is None, said
        select_a_moment()


def select_a_moment() -> None:
    """Let others run; what is waited for is looked at, not timed."""
    os.sched_yield()
    time.sleep(0.01)


class Talk:
    """A UDP dialogue between client and server that both ends see the type of service of."""

    query, answer = QUERY, ANSWER

    def __init__(self, lab: World, family: int, port: int = 5300) -> None:
        self._family = family
        client, server = (CLIENT, SERVER) if family == 4 else (CLIENT6, SERVER6)
        self.server = lab.within(lab.server, lambda: self._open(server, port))
        self.client = lab.within(lab.client, lambda: self._open(client, 0))
        self.to = (server, port)
        self.port = self.client.getsockname()[1]

    def _open(self, address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET if self._family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        made.settimeout(20)
        if self._family == 4:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        made.bind((address, port))
        return made

    def once(self) -> tuple[int, int]:
        """Ask and answer; the types of service that server and client saw."""
        self.client.sendto(self.query, self.to)
        asked, back = self._receive(self.server)
        self.server.sendto(self.answer, back)
        answered, _ = self._receive(self.client)
        return asked, answered

    def _receive(self, at: socket.socket) -> tuple[int, Any]:
        _, extra, _, sender = at.recvmsg(2048, 256)
        (value,) = (data for _, _, data in extra)
        return (value[0] if len(value) == 1 else struct.unpack("=i", value)[0]), sender

    def close(self) -> None:
        self.client.close()
        self.server.close()


def next_mark(program: subprocess.Popen[bytes], port: int) -> dict[str, Any]:
    """The next record of a mark of the flow from that port."""
    assert program.stdout is not None
    for line in program.stdout:
        record = json.loads(line)
        if record["event_type"] == "mark" and record.get("src_port") == port:
            return cast("dict[str, Any]", record)
    raise AssertionError("the program ended")


@needs_root()
@needs_program("nft")
@pytest.mark.parametrize(
    ("family", "nat", "watched"), [(4, False, "lan"), (4, True, "lan"), (4, True, "wan"), (6, False, "lan")]
)
def test_both_directions_of_a_flow_are_marked(lab: World, tmp_path: Path, family: int, nat: bool, watched: str) -> None:
    if nat:
        lab.nft("-f", "-", given=NAT)
    before = lab.nft("list", "ruleset")
    with closing(Talk(lab, family)) as talk, shaping(lab, tmp_path, "--mark-only", "--watch", watched) as program:
        assert talk.once()[0] == 0  # the answer may be marked already
        record = next_mark(program, talk.port)
        assert record["shaping"]["class"] == "control"
        assert record["shaping"]["rule"] == "class control"
        assert talk.once() == (CS2, CS2)
        program.send_signal(signal.SIGTERM)
        program.wait(20)
        assert talk.once() == (0, 0)
    assert lab.nft("list", "ruleset") == before


@needs_root()
@needs_program("nft")
def test_what_is_known_is_marked_from_the_first_packet_after_a_kill_too(lab: World, tmp_path: Path) -> None:
    lab.nft("-f", "-", given=NAT)
    before = lab.nft("list", "ruleset")
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only") as program:
        talk.once()
        next_mark(program, talk.port)
        program.kill()
        program.wait()
        talk.once()  # traffic flows
    assert "table inet flowsonar" in lab.nft("list", "ruleset")
    reply = Evidence(kind=EvidenceKind.REPLY, service="dns", confidence=Confidence.CONFIRMED)
    known = Verdict(
        service="dns", traffic_class=TrafficClass.CONTROL, confidence=Confidence.CONFIRMED, evidence=(reply,)
    )
    store = Store(tmp_path / "v.db")
    store.learned(Endpoint(Transport.UDP, SERVER, 5300), known, time.time())
    store.close()
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only") as program:
        assert program.stdout is not None
        first = json.loads(program.stdout.readline())
        assert first["shaping"]["of"] == "endpoint"
        assert lab.nft("list", "ruleset").count("table inet flowsonar") == 1
        assert talk.once() == (CS2, CS2)
        program.kill()
        program.wait()
    lab.within(lab.gateway, clear)
    assert lab.nft("list", "ruleset") == before


@needs_root()
@needs_program("nft")
@needs_program("tc")
def test_after_a_kill_queues_and_counting_are_set_as_they_were(lab: World, tmp_path: Path) -> None:
    def settings() -> tuple[str, str]:
        counting = lab.run(lab.gateway, "sysctl", "-n", "net.netfilter.nf_conntrack_acct")
        return counting, lab.run(lab.gateway, "tc", "qdisc", "show")

    lab.nft("-f", "-", given=NAT)
    before = settings()
    for _ in range(2):
        with shaping(lab, tmp_path, "--up", "5mbit", "--down", "20mbit") as program:
            assert settings()[0] == "1\n"
            program.kill()
            program.wait()
    lab.within(lab.gateway, clear)
    assert settings() == before
    assert before[0] == "0\n"


SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\n"
SIP = (
    "{0}\r\nVia: SIP/2.0/UDP 10.81.1.2;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\n"
    "Call-ID: 1@a\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: {1}\r\n\r\n{2}"
)


def sip(first: str, address: str, port: int) -> bytes:
    body = SDP.format(address, port)
    return SIP.format(first, len(body), body).encode()


@needs_root()
@needs_program("nft")
def test_a_calls_media_is_marked_from_its_first_packet(lab: World, tmp_path: Path) -> None:
    lab.nft("-f", "-", given=NAT)
    with (
        closing(Talk(lab, 4)) as call,
        closing(Talk(lab, 4, 5302)) as media,
        shaping(lab, tmp_path, "--mark-only") as program,
    ):
        call.query, call.answer = (
            sip("INVITE sip:b@b.test SIP/2.0", CLIENT, media.port),
            sip("SIP/2.0 200 OK", SERVER, 5302),
        )
        call.once()
        assert program.stdout is not None
        wanted = {(SERVER, 5302), (CLIENT, media.port)}
        while wanted:
            record = json.loads(program.stdout.readline())
            if record["event_type"] == "mark" and record["shaping"]["of"] == "endpoint":
                wanted.discard((record["dest_ip"], record["dest_port"]))
        media.query = media.answer = bytes.fromhex("8000 0001 00000001 00000001") + bytes(160)
        assert media.once() == (46 << 2, 46 << 2)


@needs_root()
@needs_program("nft")
def test_a_policy_decides_and_hosts_can_be_left_alone(lab: World, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text('[[rule]]\ntitle = "names"\nservice = "dns"\nserver = "10.81.2.0/24"\nclass = "bulk"\n')
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only", "--policy", str(policy)) as program:
        talk.once()
        assert next_mark(program, talk.port)["shaping"]["rule"] == f'rule "names" ({policy}:1)'
        assert talk.once() == (1 << 2, 1 << 2)
        program.send_signal(signal.SIGINT)
        program.wait(20)
    policy.write_text('unknown = "bulk"\n[[rule]]\nservice = "dns"\nclass = "leave"\n')
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only", "--policy", str(policy)) as program:
        assert talk.once()[0] == 1 << 2
        assert next_mark(program, talk.port)["shaping"]["action"] == "cleared"
        assert talk.once() == (0, 0)
        program.send_signal(signal.SIGINT)
        program.wait(20)
    policy.write_text(f'except = ["{CLIENT}"]\n')
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only", "--policy", str(policy)):
        for _ in range(3):
            assert talk.once() == (0, 0)


@needs_root()
@needs_program("nft")
def test_a_service_reads_its_policy_again_when_it_is_told(lab: World, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text('[[rule]]\nservice = "dns"\nclass = "bulk"\n')
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only", "--policy", str(policy)) as program:
        talk.once()
        next_mark(program, talk.port)
        assert talk.once() == (1 << 2, 1 << 2)
        policy.write_text('[[rule]]\nservice = "dns"\nclass = "streaming"\n')
        program.send_signal(signal.SIGHUP)
        record = next_mark(program, talk.port)
        assert (record["shaping"]["action"], record["shaping"]["class"]) == ("re-marked", "streaming")
        assert talk.once() == (26 << 2, 26 << 2)
        await_words(program, tmp_path, f"following {policy} as it is now")
        policy.write_text('[[rule]]\nservice = "dns"\nclass = "fast"\n')
        program.send_signal(signal.SIGHUP)
        await_words(program, tmp_path, "is not followed")
        assert talk.once() == (26 << 2, 26 << 2)
        policy.write_text("")
        program.send_signal(signal.SIGHUP)
        assert next_mark(program, talk.port)["shaping"]["rule"] == "class control"
        assert talk.once() == (CS2, CS2)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
        assert talk.once() == (0, 0)


@needs_root()
@needs_program("nft")
def test_a_flow_whose_label_changes_is_marked_anew(lab: World, tmp_path: Path) -> None:
    reply = Evidence(kind=EvidenceKind.REPLY, service="dns", confidence=Confidence.LIKELY)
    known = Verdict(service="dns", traffic_class=TrafficClass.CONTROL, confidence=Confidence.LIKELY, evidence=(reply,))
    store = Store(tmp_path / "v.db")
    store.learned(Endpoint(Transport.UDP, SERVER, 5300), known, time.time())
    store.close()
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only") as program:
        talk.query, talk.answer = sip("INVITE sip:b@b.test SIP/2.0", CLIENT, 9), sip("SIP/2.0 200 OK", SERVER, 9)
        assert talk.once()[0] == CS2
        while next_mark(program, talk.port)["shaping"]["class"] != "realtime":
            pass
        assert talk.once() == (40 << 2, 40 << 2)


@needs_root()
@needs_program("nft")
@needs_program("tc")
def test_an_interface_that_vanishes_ends_nothing(lab: World, tmp_path: Path) -> None:
    with (
        closing(Talk(lab, 4)) as talk,
        shaping(lab, tmp_path, "--up", "5mbit", "--down", "20mbit") as program,
    ):
        talk.once()
        next_mark(program, talk.port)
        assert "htb 1: root" in lab.run(lab.gateway, "tc", "qdisc", "show", "dev", "wan")
        lab.run(lab.gateway, "ip", "link", "del", "wan")
        await_words(program, tmp_path, "interface wan has gone")
        lab.run(lab.gateway, "ip", "link", "add", "wan", "type", "veth", "peer", "name", "eth", "netns", lab.server)
        await_words(program, tmp_path, "the queues were set up again")
        assert "htb 1: root" in lab.run(lab.gateway, "tc", "qdisc", "show", "dev", "wan")
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    assert "htb" not in lab.run(lab.gateway, "tc", "qdisc", "show")


@needs_root()
@needs_program("nft")
def test_a_table_that_somebody_flushes_is_put_back(lab: World, tmp_path: Path) -> None:
    with closing(Talk(lab, 4)) as talk, shaping(lab, tmp_path, "--mark-only") as program:
        talk.once()
        next_mark(program, talk.port)
        lab.nft("flush", "ruleset")
        with closing(Talk(lab, 6)) as other:
            other.once()
            next_mark(program, other.port)
            assert other.once() == (CS2, CS2)
        assert talk.once() == (CS2, CS2)
        await_words(program, tmp_path, "it was put back")
