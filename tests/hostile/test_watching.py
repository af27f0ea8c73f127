"""What can happen to `watch` while it runs: packets, floods, interfaces, signals, disks, a second one of its kind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from flowsonar.app.asking import FLOW_UNANSWERED
from flowsonar.config import BudgetSettings
from tests.hostile import packets, servers
from tests.hostile.conftest import ip
from tests.hostile.running import Running, flowsonar, one_line, until
from tests.hostile.servers import farm
from tests.needs import needs_root

pytestmark = needs_root()

MEMORY_MIB = 400
"""Half of it is the flow table (64 MiB), the ring (32 MiB) and the libraries."""
SYN, PUSH_ACK, ACK = 0x02, 0x18, 0x10


class Wire:
    """The far end of the wire."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((name, 0x0003))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self.socket.setblocking(True)
        self.sent = 0

    def send(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            try:
                self.socket.send(frame)
                self.sent += 1
            except OSError:  # the interface is down, or the frame is too short for the kernel
                continue


@pytest.fixture
def far(wire: tuple[str, str]) -> Iterator[Wire]:
    end = Wire(wire[1])
    yield end
    end.socket.close()


def marker(port: int) -> bytes:
    """A datagram that only DNS sends: its record tells that all before it was seen."""
    question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
    return packets.udp(("10.9.9.1", port), ("10.9.9.2", 53), question)


def seen(running: Running, far: Wire, port: int) -> None:
    far.send([marker(port)])
    running.await_line(rb'"src_port":%d\b.*"dest_port":53\b' % port)


def ends_well(running: Running, number: int = signal.SIGINT) -> None:
    assert running.peak_mib() < MEMORY_MIB
    assert running.end(number) == 0


def test_mangled_frames(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    chance = random.Random(7)
    seeds = [
        packets.tcp(("10.0.0.1", 1), ("10.0.0.2", 80), flags=PUSH_ACK, data=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        packets.tcp(
            ("10.0.0.1", 2), ("10.0.0.2", 443), flags=PUSH_ACK, data=b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"
        ),
        packets.udp(("10.0.0.1", 3), ("10.0.0.2", 53), marker(9)[42:]),
        packets.udp(
            ("10.0.0.1", 4), ("10.0.0.2", 33033), bytes.fromhex("52340201020304050607080910111213141516171819")
        ),
        packets.ipv4("10.0.0.1", "10.0.0.2", 41, bytes.fromhex("6000000000083a40") + bytes(40)),
        packets.MACS + bytes.fromhex("81000001 88470000 11ff 86dd") + bytes(60),
        packets.MACS + bytes.fromhex("8864 1100 0001 0040 0021 4500") + bytes(60),
    ]
    with Running(tmp_path, "watch", "-i", wire[0], "--json", "--passive") as running:
        running.await_capture()
        far.send(packets.mangled(chance.choice(seeds), chance) for _ in range(20_000))
        far.send(chance.randbytes(chance.randrange(14, 1500)) for _ in range(2000))
        seen(running, far, 4000)
        ends_well(running)


def test_ten_thousand_flows_at_once(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    def flows() -> Iterator[bytes]:
        for number in range(10_000):
            client, server = (f"10.1.{number >> 8}.{number & 255}", 1024 + number), ("10.2.0.1", 8000)
            server = (f"10.2.{number % 250}.1", 1000 + number % 60)
            yield packets.tcp(client, server, flags=SYN)
            yield packets.tcp(server, client, flags=SYN | ACK)
            yield packets.tcp(client, server, flags=PUSH_ACK, sequence=2, data=b"\x01\x02 what is this? \x00" * 3)

    with Running(tmp_path, "watch", "-i", wire[0], "--json") as running:
        running.await_capture()
        far.send(flows())
        seen(running, far, 4001)
        ends_well(running)
        ended = [record for record in running.records() if record["event_type"] == "flow"]
    assert len(ended) >= 10_000


def test_a_syn_flood(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    chance = random.Random(1)

    def flood() -> Iterator[bytes]:
        frame = bytearray(packets.tcp(("10.3.0.1", 1), ("10.3.0.2", 80), flags=SYN))
        for _ in range(30_000):
            frame[26:30] = chance.randbytes(4)
            frame[34:36] = chance.randbytes(2)
            yield bytes(frame)

    with Running(tmp_path, "watch", "-i", wire[0], "--json") as running:
        running.await_capture()
        far.send(flood())
        seen(running, far, 4002)
        ends_well(running)


def test_an_interface_goes_down_up_and_away_and_comes_back(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    ip("link", "add", "fsQ8", "type", "veth", "peer", "name", "fsQ9")
    ip("link", "set", "fsQ9", "up")
    ip("link", "set", "fsQ8", "up")
    with Running(tmp_path, "watch", "-i", "fsQ8", "-i", wire[0], "--json", "--passive") as running:
        running.await_capture(2)
        seen(running, far, 4100)
        ip("link", "set", "fsQ8", "down")
        running.await_line(b"fsQ8 is down", "err")
        seen(running, far, 4101)
        ip("link", "set", "fsQ8", "up")
        ip("link", "set", wire[0], "down")
        running.await_line(b"fsQ0 is down", "err")
        ip("link", "set", wire[0], "up")
        ip("link", "del", "fsQ8")
        running.await_line(b"fsQ8 has vanished", "err")
        seen_again = Wire(wire[1])
        seen(running, seen_again, 4102)
        seen_again.socket.close()
        ip("link", "del", wire[0])
        running.await_line(b"fsQ0 has vanished", "err")
        ends_well(running)


def test_a_missing_interface(tmp_path: Path, wire: tuple[str, str]) -> None:
    result = flowsonar(tmp_path, "watch", "-i", wire[0], "-i", "no\x1bsuch0")
    assert result.process.returncode == 1
    one_line(result.errors, b"no interface", b"fsQ0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_all_flows_recorded(
    tmp_path: Path, wire: tuple[str, str], far: Wire, number: signal.Signals
) -> None:
    with Running(tmp_path, "watch", "-i", wire[0], "--json", "--passive") as running:
        running.await_capture()
        seen(running, far, 4200)
        ends_well(running, number)
        assert any(r["event_type"] == "flow" and r["src_port"] == 4200 for r in running.records())


def test_a_signal_while_it_starts(tmp_path: Path, network: None) -> None:
    """From the moment at which the program itself decides; Python's own start is not ours."""
    flowsonar(tmp_path, "watch", "-i", "lo", "--duration", "0")  # fills the cache
    pause = threading.Event()
    for delay_s in (0, 0.1, 0.25, 0.5):
        with Running(tmp_path, "watch", "-i", "lo", "--json") as running:
            until(lambda: catches_interrupts(running), "Python's handler", every_s=0.001)
            until(lambda: not catches_interrupts(running) or running.captures(), "the program's", every_s=0.001)
            pause.wait(delay_s)
            assert running.end(signal.SIGINT) in (0, 130, -signal.SIGINT)
            assert not running.errors


def catches_interrupts(running: Running) -> bool:
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1 << (signal.SIGINT - 1))


def test_two_signals_end_it_at_once(tmp_path: Path, network: None) -> None:
    with Running(tmp_path, "watch", "-i", "lo", "--json") as running:
        running.await_capture()
        running.signal(signal.SIGTERM)
        assert running.end(signal.SIGTERM) in (0, -signal.SIGTERM)


def web_server(made: servers.Farm) -> int:
    return made.tcp(servers.answering(b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\n\r\n"))


def talk(port: int) -> None:
    """A client that says something no one understands, so that the server must be asked."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"\x01\x02\x03\x04\x05")
        connection.recv(10)


def test_killed_it_leaves_a_store_that_explains(tmp_path: Path, network: None) -> None:
    with farm() as made, Running(tmp_path, "watch", "-i", "lo", "--json") as running:
        port = web_server(made)
        running.await_capture()
        talk(port)
        running.await_line(rb'"dest_port":%d\b.*"confidence":"confirmed"' % port)
        store = tmp_path / "state" / "flowsonar" / "verdicts.db"

        def kept() -> bool:
            with contextlib.closing(sqlite3.connect(store)) as opened:
                return bool(opened.execute("SELECT count(*) FROM endpoint").fetchone()[0])

        until(kept, "the verdict in the store")
        running.kill()
        explained = flowsonar(tmp_path, "explain", f"127.0.0.1:{port}")
        assert explained.process.returncode == 0
        assert b"http" in explained.output
        with Running(tmp_path, "watch", "-i", "lo", "--json") as again:
            again.await_capture()
            before = made.asked[port]
            talk(port)
            again.await_line(rb'"dest_port":%d\b.*"app_proto":"http"' % port)
            ends_well(again)
        assert made.asked[port] == before + 1  # the client alone: the verdict was kept


def test_two_instances_share_a_store(tmp_path: Path, network: None) -> None:
    arguments = ("watch", "-i", "lo", "--json")
    with farm() as made, Running(tmp_path, *arguments) as one, Running(tmp_path, *arguments) as two:
        ports = [web_server(made) for _ in range(5)]
        for running in (one, two):
            running.await_capture()
        for port in ports:
            talk(port)
        for running in (one, two):
            for port in ports:
                running.await_line(rb'"dest_port":%d\b.*"app_proto":"http"' % port)
        for running in (one, two):
            ends_well(running)
            assert not running.errors
    assert b"http" in flowsonar(tmp_path, "explain", f"127.0.0.1:{ports[0]}").output


CORRUPT = {
    "text": b"this is no database\n" * 100,
    "empty pages": b"SQLite format 3\0\x10\0\x02\x02\0\x40\x20\x20" + bytes(4096 * 3),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_a_corrupt_store_is_told_and_done_without(tmp_path: Path, wire: tuple[str, str], far: Wire, kind: str) -> None:
    store = tmp_path / "verdicts.db"
    store.write_bytes(CORRUPT[kind])
    explained = flowsonar(tmp_path, "explain", "127.0.0.1", "--store", store)
    assert explained.process.returncode == 1
    one_line(explained.errors, b"verdicts.db")
    with Running(tmp_path, "watch", "-i", wire[0], "--json", "--store", store) as running:
        running.await_line(b"going on without it", "err")
        seen(running, far, 4300)
        ends_well(running)
    assert store.read_bytes() == CORRUPT[kind]


_MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
assert libc.mount(b"tmpfs", sys.argv[1].encode(), b"tmpfs", 0, b"size=" + sys.argv[2].encode()) == 0, ctypes.get_errno()
os.execv(sys.executable, [sys.executable, "-m", "flowsonar", *sys.argv[3:]])
"""


def test_a_full_disk_under_store_and_packets(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["watch", "-i", wire[0], "--json", "--store", f"{disk}/v.db", "--write", f"{disk}/p.pcapng"]
    with Running(tmp_path, *command, program=["-c", _MOUNT, str(disk), "256k"]) as running:
        running.await_capture()
        far.send(packets.udp(("10.4.0.1", 7), ("10.4.0.2", 7), os.urandom(1200)) for _ in range(1500))
        running.await_line(b"p.pcapng.*going on without writing packets", "err")
        seen(running, far, 4400)
        for number in range(300):
            far.send([packets.tcp(("10.4.0.9", 9), ("10.4.1.2", 1000 + number), flags=SYN)])
        seen(running, far, 4401)
        assert running.peak_mib() < MEMORY_MIB
        assert running.end(signal.SIGINT) in (0, 1)
        assert running.errors.count(b"p.pcapng") == 1
        assert any(record.get("src_port") == 4401 for record in running.records())


def test_hostile_servers_while_watching(tmp_path: Path, network: None) -> None:
    from tests.hostile.test_servers import TCP

    names = [name for name in TCP if "ten" not in name and "deaf" not in name]
    with farm() as made, Running(tmp_path, "watch", "-i", "lo", "--json") as running:
        ports = {name: made.tcp(TCP[name]) for name in names}
        running.await_capture()
        for port in ports.values():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(0.05)
                connection.sendall(b"\x01\x02\x03\x04\x05")
                connection.recv(100)
        good = web_server(made)
        talk(good)
        running.await_line(rb'"dest_port":%d\b.*"confidence":"confirmed"' % good)
        ends_well(running)
        most = 1 + BudgetSettings().max_probes + FLOW_UNANSWERED  # the client's, and ours
        assert all(made.asked[port] <= most for port in ports.values())
        wrong = {
            (name, record["app_proto"])
            for record in running.records()
            for name, port in ports.items()
            if record.get("dest_port") == port and record["flowsonar"]["confidence"] == "confirmed"
            if record["app_proto"] not in ({"tls"} if "tls" in name else {"http", "echo", "ssh"})
        }
        assert not wrong


def test_a_reader_that_has_enough_ends_it(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    kept, given = os.pipe()
    with Running(tmp_path, "watch", "-i", wire[0], "--json", "--passive", stdout=given) as running:
        os.close(given)
        running.await_capture()
        os.close(kept)
        far.send([marker(4500)])
        assert running.end() == 0
        assert not running.errors


def test_a_reader_that_sleeps_does_not_keep_it_from_ending(tmp_path: Path, wire: tuple[str, str], far: Wire) -> None:
    kept, given = os.pipe()
    pause = threading.Event()
    with Running(tmp_path, "watch", "-i", wire[0], "--json", "--passive", stdout=given) as running:
        os.close(given)
        running.await_capture()
        far.send(marker(5000 + number) for number in range(3000))
        until(lambda: stuck(running), "a full pipe")
        for _ in range(20):
            running.signal(signal.SIGTERM)
            if running.process.poll() is not None or pause.wait(0.2):
                break
        assert running.end() == -signal.SIGTERM
    os.close(kept)


def stuck(running: Running) -> bool:
    """Whether it waits in write(1, ...)."""
    call = Path(f"/proc/{running.process.pid}/syscall").read_text(encoding="ascii").split()
    return call[:2] == ["1", "0x1"]
