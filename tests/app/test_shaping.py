"""The real program on a gateway in namespaces of the test's own, and what goes wrong with stand-ins."""

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

from flowsonar.app import shaping as module
from flowsonar.app.shaping import Shaping, alone, clear, plan_shaping
from flowsonar.errors import ShapingError
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, FlowKey, TrafficClass, Transport, Verdict
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.nftmessages import Operation
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Line
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
        shaping(lab, tmp_path, "--up", "5mbit", "--down", "20mbit", "--queue", "htb") as program,
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


@needs_root()
@needs_program("nft")
def test_only_one_at_a_time_and_foreign_tables_stay(lab: World) -> None:
    held = lab.within(lab.gateway, alone)
    assert held is not None
    with held:
        assert lab.within(lab.gateway, alone) is None
        with pytest.raises(ShapingError, match="going on"):
            lab.within(lab.gateway, clear)
        with pytest.raises(ShapingError, match="going on"):
            lab.within(lab.gateway, lambda: opened(lab))
    lab.nft("-f", "-", given="table inet flowsonar {\nchain mine { }\n}\n")
    before = lab.nft("list", "ruleset")
    for call in (clear, lambda: opened(lab)):
        with pytest.raises(ShapingError, match="did not make"):
            lab.within(lab.gateway, call)
    assert lab.nft("list", "ruleset") == before


def opened(_: World) -> Shaping:
    made = Shaping(plan_shaping(Policy(), [], kernel=None))
    made.open(None, cast("Any", None))
    return made


# -- with stand-ins ---------------------------------------------------------------------------------------------


class Table:
    """Stands in for the firewall."""

    def __init__(self) -> None:
        self.there = False
        self.others = False
        self.refuses = False

    def install(self, _: object) -> bool:
        if self.refuses:
            raise ShapingError("refused")
        self.there = True
        return False

    def remove(self) -> bool:
        self.there = False
        return True

    def others_track(self) -> bool:
        return self.others


class Elements:
    """Stands in for the socket."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def apply(self, operations: list[Operation]) -> int:
        if not self.table.there:
            raise ShapingError("the table is gone")
        return 0

    def close(self) -> None:
        pass


class Queues:
    """Stands in for the applier."""

    def __init__(self) -> None:
        self.applied = 0
        self.undone = 0

    def apply(self, _: object) -> None:
        self.applied += 1

    def undo(self) -> None:
        self.undone += 1


class Brakes:
    """Stands in for the brake of a queue."""

    def __init__(self) -> None:
        self.holding: list[str] = []

    def __call__(self, place: Any) -> Any:
        self.place = place
        return self

    def start(self) -> None:
        self.holding.append(self.place.device)

    def stop(self) -> None:
        self.holding.clear()


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, queues: bool = False) -> None:
        self.table, self.queues = Table(), Queues()
        self.brakes = Brakes()
        monkeypatch.setattr(module, "Braking", self.brakes)
        self.full: float | None = None
        self.indexes: dict[str, int | None] = {"wan": 3, "lan": 4}
        self.now_s = 100.0
        monkeypatch.setattr(module, "Firewall", lambda: self.table)
        monkeypatch.setattr(module, "ElementSocket", lambda: Elements(self.table))
        monkeypatch.setattr(module, "Applier", lambda: self.queues)
        monkeypatch.setattr(module, "_tracked", lambda: self.full)
        monkeypatch.setattr(module, "_index", self.indexes.get)
        monkeypatch.setattr(module, "alone", socket.socket)
        monkeypatch.setattr(module, "clear_marks", int)
        kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"})) if queues else None
        lines = [Line(wan="wan", up_kbit=5000, down_kbit=9000, lan=("lan",))] if queues else []
        self.shaping = Shaping(plan_shaping(Policy(), lines, kernel=kernel))
        self.shaping._clock = lambda: self.now_s
        self.shaping.open(None, cast("Any", None))
        self.shaping.attach(cast("Any", self))

    def flow(self, _: int) -> Any:
        class Followed:
            hops = ()
            first_ns = 0

        return Followed()

    def later(self, seconds: float = 2.0) -> list[str]:
        """Time goes by; what was told."""
        self.now_s += seconds
        self.shaping.turn([], 0)
        told, self.shaping.problems = self.shaping.problems, []
        return told

    def mark(self, number: int) -> None:
        key = FlowKey(Transport.UDP, "10.0.0.1", number, "10.0.0.2", 5004)
        verdict = Verdict(service="rtp", traffic_class=TrafficClass.REALTIME, confidence=Confidence.LIKELY)
        self.shaping.decided(number, key, verdict)


def test_a_full_table_of_connections_takes_our_rules_away_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    stage.full = 0.99
    assert "nothing is marked until there is room" in stage.later()[0]
    assert not stage.table.there
    stage.mark(1)
    assert stage.later() == []
    stage.full = 0.9
    assert stage.later() == []
    assert not stage.table.there
    stage.full = 0.5
    stage.later()
    assert stage.table.there
    stage.shaping.close()


def test_where_others_track_connections_too_our_rules_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.table.others, stage.full = True, 0.99
    assert "new connections may be dropped" in stage.later()[0]
    assert stage.table.there
    told = "connection tracking is nearly full: new connections may be dropped"
    assert stage.later() == [f"{told}; raise net.netfilter.nf_conntrack_max (sysctl)"]
    stage.shaping.close()


def test_a_table_that_cannot_be_put_back_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.table.there, stage.table.refuses = False, True
    stage.mark(1)
    (told,) = stage.later(0.1)
    assert "traffic goes on unmarked" in told
    stage.table.refuses = False
    assert stage.later(5) == []
    assert "it was put back" in stage.later(6)[0]
    assert stage.shaping.flows() == {"realtime": 1}
    assert stage.shaping.by_rule() == {"class realtime": 1}
    stage.shaping.close()
    assert not stage.table.there


def test_an_interface_that_goes_and_comes_back_gets_its_queue_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, queues=True)
    assert stage.queues.applied == 1
    stage.indexes["wan"] = None
    assert "interface wan has gone" in stage.later()[0]
    assert stage.later() == []
    stage.indexes["wan"] = 9
    assert "set up again" in stage.later()[0]
    assert stage.queues.applied == 2
    stage.shaping.close()
    assert stage.queues.undone == 1


def test_verdicts_go_to_the_kernel_at_once_until_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    flushed: list[int] = []
    marker = stage.shaping._marker
    assert marker is not None
    monkeypatch.setattr(marker, "flush", flushed.append)
    for number in range(1, 101):
        stage.mark(number)
    assert len(flushed) == 32
    stage.later(0.02)
    assert len(flushed) == 33
    stage.mark(101)
    assert len(flushed) == 34
    stage.shaping.close()


def test_a_clock_that_jumps_changes_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    for number, wall_s in enumerate((1_800_000_000, 1_900_000_000, 5, 1_800_000_000), 1):
        wall_ns = wall_s * 1_000_000_000
        monkeypatch.setattr(module.time, "time_ns", lambda wall_ns=wall_ns: wall_ns)
        stage.mark(number)
        stage.shaping.turn([], wall_ns)
        assert stage.shaping.flows() == {"realtime": number}
    assert all(record.waited_ms < 1000 for record in stage.shaping.records)
    stage.shaping.close()


def test_what_fails_at_the_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Queues):
        def apply(self, _: object) -> None:
            raise ShapingError("no such interface")

    table = Table()
    monkeypatch.setattr(module, "Firewall", lambda: table)
    monkeypatch.setattr(module, "ElementSocket", lambda: Elements(table))
    monkeypatch.setattr(module, "Applier", Refusing)
    monkeypatch.setattr(module, "alone", socket.socket)
    kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"}))
    made = Shaping(plan_shaping(Policy(), [Line(wan="wan", up_kbit=5000)], kernel=kernel))
    with pytest.raises(ShapingError, match="no such interface"):
        made.open(None, cast("Any", None))
    assert not table.there


def test_a_plan_is_text() -> None:
    text = plan_shaping(Policy(unknown=TrafficClass.BULK), [], kernel=None).text()
    assert "table inet flowsonar {" in text
    assert "ct mark & 0x01000000 == 0 jump serve_bulk_le" in text
    assert "marks only" in text


def test_downloads_have_a_brake_as_long_as_their_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, queues=True)
    assert stage.brakes.holding == ["lan"]
    stage.shaping.close()
    assert stage.brakes.holding == []
    marking = Stage(monkeypatch)
    assert marking.brakes.holding == []
    marking.shaping.close()


def test_clear_takes_the_queues_away_though_the_table_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[str] = []

    class Foreign:
        def remove(self) -> bool:
            raise ShapingError("there is a table that flowsonar did not make")

    class Queued:
        @staticmethod
        def clear() -> None:
            cleared.append("queues")

    monkeypatch.setattr(module, "Firewall", Foreign)
    monkeypatch.setattr(module, "Applier", Queued)
    monkeypatch.setattr(module, "alone", socket.socket)
    monkeypatch.setattr(module, "clear_peers", lambda: False)
    monkeypatch.setattr(module, "clear_marks", lambda: cleared.append("marks"))
    with pytest.raises(ShapingError, match="did not make"):
        module.clear()
    assert cleared == ["queues"]
