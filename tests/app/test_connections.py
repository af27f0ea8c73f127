"""Connections of the kernel as flows: each message by itself, and the real thing in a namespace of the test's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flowsonar.app.connections import ConnectionSource
from flowsonar.config import FlowSettings
from flowsonar.flows.events import Closed, CloseReason, Established, Opened
from flowsonar.protocols.conntrack import Change, Tracked
from tests.needs import needs_program, needs_root

FIRST = Tracked(Change.NEW, 5, 6, b"\x0a\0\0\1", 40000, b"\x0a\0\0\2", 80, False, 1, 0, 0, 0, 0)


def taken(source: ConnectionSource, *messages: Tracked) -> list[object]:
    found: list[object] = []
    for time_ns, tracked in enumerate(messages, 1):
        source.take(tracked, time_ns, found)  # type: ignore[arg-type]
    return found


def test_a_connection_from_begin_to_end() -> None:
    established = FIRST._replace(change=Change.UPDATE, tcp_state=3, replied=True)
    closing = established._replace(tcp_state=7)
    end = FIRST._replace(change=Change.DESTROY, packets_toserver=6, packets_toclient=4, bytes_toclient=900)
    events = taken(ConnectionSource(FlowSettings()), FIRST, established, closing, end)
    assert [type(event) for event in events] == [Opened, Established, Closed]
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.packets_toserver, closed.bytes_toclient) == (CloseReason.FIN, 6, 900)


def test_a_change_of_state_after_the_counters_keeps_them() -> None:
    source = ConnectionSource(FlowSettings())
    counted = FIRST._replace(change=Change.UPDATE, tcp_state=3, packets_toserver=6, bytes_toclient=900)
    taken(source, FIRST, counted, FIRST._replace(change=Change.UPDATE, tcp_state=7))
    (closed,) = source.finish()
    assert isinstance(closed, Closed)
    assert (closed.packets_toserver, closed.bytes_toclient) == (6, 900)


def test_datagrams_need_no_handshake() -> None:
    events = taken(ConnectionSource(FlowSettings()), FIRST._replace(protocol=17, tcp_state=0))
    assert [type(event) for event in events] == [Opened, Established]


def test_a_number_that_is_used_again_is_another_flow() -> None:
    events = taken(ConnectionSource(FlowSettings()), FIRST, FIRST._replace(initiator_port=40001))
    assert [type(event) for event in events] == [Opened, Closed, Opened]


def test_what_was_never_seen_does_not_end() -> None:
    assert taken(ConnectionSource(FlowSettings()), FIRST._replace(change=Change.DESTROY)) == []


def test_capacity_is_kept() -> None:
    source = ConnectionSource(FlowSettings(capacity=1))
    assert len(taken(source, FIRST, FIRST._replace(number=6, initiator_port=2))) == 1
    assert source.counters()["flows_untracked"] == 1


def test_all_that_is_open_ends() -> None:
    source = ConnectionSource(FlowSettings())
    taken(source, FIRST)
    (closed,) = source.finish()
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.END
    assert source.finish() == []
    assert source.close() == []


PROGRAM = """
import socket, subprocess, sys, time
sys.path.insert(0, {root!r})
from tests.app.servers import web

def run(*words):
    subprocess.run(words, check=True)

run("ip", "link", "set", "lo", "up")
run("nft", "add table inet watched; add chain inet watched in {{ type filter hook input priority 0; }}; "
    "add rule inet watched in ct state new counter")
open("/proc/sys/net/netfilter/nf_conntrack_acct", "w").write("1")
with web() as port:
    before = socket.create_connection(("127.0.0.1", port))  # it is there before we watch
    watch = subprocess.Popen([sys.executable, "-m", "flowsonar", "watch", "--source", "conntrack", "--json", "--store",
                              sys.argv[1] + "/v.db"], stdout=subprocess.PIPE)
    while not __import__("pathlib").Path(sys.argv[1], "v.db").exists():
        assert watch.poll() is None
    line = socket.create_connection(("127.0.0.1", port))
    record = watch.stdout.readline().decode()
    record += watch.stdout.readline().decode()
    line.close()
    before.close()
    watch.send_signal(2)
    print(port)
    print(record + watch.communicate(timeout=30)[0].decode())
"""


@needs_root()
@needs_program("nft")
@pytest.mark.usefixtures("tmp_path")
def test_endpoints_are_asked_without_reading_a_packet(tmp_path: Path) -> None:
    program = PROGRAM.format(root=str(Path(__file__).resolve().parents[2]))
    result = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, check=False, timeout=90,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    port, *lines = result.stdout.decode().split("\n")
    records = [json.loads(line) for line in lines if line]
    ours = [record for record in records if record.get("dest_port") == int(port)]
    ends = [record for record in ours if record["event_type"] == "flow"]
    assert len(ends) == 2
    assert {record["app_proto"] for record in ends} == {"http"}
    assert {record["flowsonar"]["confidence"] for record in ends} == {"confirmed"}
    assert all(record["flow"]["pkts_toserver"] for record in ends)
