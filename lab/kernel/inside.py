"""What is tried on the booted kernel: CAKE both ways, the DSCP of downloads restored, each kind in its own tin.

A client, this gateway and a server in namespaces. The client's uploads and the server's answers are datagrams: those of
a call and those of bulk, told apart by the server's port alone, as a verdict would. The firewall's own table of
`flowsonar shape` marks them.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flowsonar.app.shapeplan import plan_shaping
from flowsonar.app.shaping import Shaping
from flowsonar.model import TrafficClass
from flowsonar.shaping.applier import Applier
from flowsonar.shaping.classes import DEFAULT_CLASSES, by_name
from flowsonar.shaping.counters import ClassCount, QueueCounters
from flowsonar.shaping.firewall import Firewall
from flowsonar.shaping.kernel import examine
from flowsonar.shaping.nftrules import Rules, Treatment
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Discipline, Line, QueuePlan, best, plan

if TYPE_CHECKING:
    from flowsonar.signatures import SignatureSet

CALL, BULK = 4000, 5000
"""The server's ports."""
_SERVER, _PACKETS, _BULK_BYTES = "198.18.60.2", 60, 1000
_CLONE_NEWNET = 0x40000000
_TRACKED = 400
"""Connections with which the table is made full."""
_LOOK_S = 1.1
"""`Shaping` looks after the machine once a second."""


def _run(command: str) -> str:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def _network() -> None:
    for name in ("client", "server"):
        _run(f"ip netns add {name}")
        _run(f"ip -n {name} link set lo up")
    for device, name, end in (("lan", "client", "c0"), ("wan", "server", "s0")):
        _run(f"ip link add name {device} type veth peer name {end} netns {name}")
        _run(f"ip link set {device} up")
        _run(f"ip -n {name} link set {end} up")
    _run("ip addr add 192.168.61.1/24 dev lan")
    _run("ip addr add 198.18.60.1/24 dev wan")
    _run("ip -n client addr add 192.168.61.2/24 dev c0")
    _run("ip -n client route add default via 192.168.61.1")
    _run(f"ip -n server addr add {_SERVER}/24 dev s0")
    _run("ip -n server route add default via 198.18.60.1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    nat = 'table ip home { chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }; }\n'
    subprocess.run(["nft", "-f", "-"], input=nat, text=True, check=True)


@contextmanager
def _in(name: str) -> Iterator[None]:
    """Sockets made inside belong to that namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        if library.setns(there.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            library.setns(home.fileno(), _CLONE_NEWNET)


def _answer(line: socket.socket) -> None:
    """Send each datagram back."""
    while True:
        data, peer = line.recvfrom(4096)
        line.sendto(data, peer)


def _serve() -> None:
    with _in("server"):
        for port in (CALL, BULK):
            line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            line.bind((_SERVER, port))
            threading.Thread(target=_answer, args=(line,), daemon=True).start()


def _traffic() -> dict[int, list[int]]:
    """Send both kinds there and back; the DSCP with which each answer came home, by the server's port."""
    came: dict[int, list[int]] = {CALL: [], BULK: []}
    clients = {}
    with _in("client"):
        for port in came:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            client.connect((_SERVER, port))
            client.settimeout(10)
            clients[port] = client
    for _ in range(_PACKETS):
        for port, client in clients.items():
            client.send(bytes(160 if port == CALL else _BULK_BYTES))
        for port, client in clients.items():
            _, ancillary, _, _ = client.recvmsg(2048, 64)
            came[port] += [data[0] >> 2 for level, kind, data in ancillary if (level, kind) == (0, socket.IP_TOS)]
        time.sleep(0.01)
    return came


def _label() -> None:
    """What `flowsonar shape` does on a verdict, for two endpoints of the server."""
    call, bulk = by_name(DEFAULT_CLASSES, TrafficClass.REALTIME), by_name(DEFAULT_CLASSES, TrafficClass.BULK)
    treatments = tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES)
    Firewall().install(Rules(treatments=treatments, outside=("wan",), inside=("lan",)))
    for port, one in ((CALL, call), (BULK, bulk)):
        value = f"{one.mark >> 16:x}:{one.minor:x}"
        element = f"{{ udp . {_SERVER} . {port} timeout 1h : {value} }}"
        done = subprocess.run(
            ["nft", "add", "element", "inet", "flowsonar", "endpoints4", element],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)


def _say(text: str) -> None:
    print(text, flush=True)


_failures: list[str] = []


def _check(what: str, holds: bool) -> None:
    _say(f"{'ok  ' if holds else 'FAIL'}  {what}")
    if not holds:
        _failures.append(what)


def _counts(chosen: QueuePlan) -> dict[tuple[str, str], ClassCount]:
    return {(one.direction, one.name): one for one in QueueCounters(chosen.places, DEFAULT_CLASSES).read()}


def _tried(chosen: QueuePlan, call: str, bulk: str) -> None:
    """Set up, send, count, take back."""
    before = _run("tc qdisc show") + _run("ip -o link show")
    for reason in chosen.reasons:
        _say(f"      {reason}")
    applier = Applier(Path("/run/queues.json"))
    applier.apply(chosen)
    came = _traffic()
    counts = _counts(chosen)
    for (direction, name), count in sorted(counts.items()):
        _say(f"      {direction:5} {name:12} {count.packets:5} packets {count.bytes:7} bytes {count.drops} dropped")
    for direction in ("up", "down"):
        _check(f"{direction}: the call is in `{call}`", counts[direction, call].packets >= _PACKETS)
        _check(f"{direction}: bulk is in `{bulk}`", counts[direction, bulk].bytes >= _PACKETS * _BULK_BYTES)
        _check(f"{direction}: nothing else is in the call's", counts[direction, call].packets <= _PACKETS + 2)
    _check("downloads come home with the DSCP of the call (EF)", set(came[CALL]) == {46})
    _check("downloads come home with the DSCP of bulk (LE)", set(came[BULK]) == {1})
    applier.undo()
    _check("undo leaves what was there", _run("tc qdisc show") + _run("ip -o link show") == before)


def _talks() -> bool:
    """Whether a fresh connection from the client gets through and back."""
    with _in("client"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((_SERVER, CALL))
        client.send(b"there?")
        try:
            return client.recv(64) == b"there?"
        except OSError:
            return False


def _crowd(connections: int) -> None:
    """Have so many connections tracked."""
    with _in("client"):
        for _ in range(connections):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"", (_SERVER, BULK))


def _turned(shaping: Shaping) -> list[str]:
    """What the next look at the machine has to tell."""
    time.sleep(_LOOK_S)
    shaping.turn([], time.time_ns())
    told, shaping.problems = shaping.problems, []
    return told


def _odd_machine() -> None:
    """A table of connections that is really full, and a clock that is really set: marks go, traffic stays."""
    most = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    usual = most.read_text()
    shaping = Shaping(plan_shaping(Policy(), [], kernel=None))
    shaping.open(None, cast("SignatureSet", None))  # it is asked for services that are marked, and none is
    _crowd(_TRACKED)
    most.write_text(str(_TRACKED // 2))
    told = _turned(shaping)
    _check("with somebody's NAT beside us a full table of connections is told", "may be dropped" in "".join(told))
    _check("and our rules stay", Firewall().present())
    _run("nft delete table ip home")
    told = _turned(shaping)
    _check("where only our rules track, they go", "nothing is marked" in "".join(told) and not Firewall().present())
    _check("and new connections get through", _talks())
    most.write_text(usual)
    _turned(shaping)
    _check("with room again the rules are back", Firewall().present())
    now_s = time.time()
    for jump_s in (86_400.0, -30 * 86_400.0):
        time.clock_settime(time.CLOCK_REALTIME, now_s + jump_s)
        told = _turned(shaping)
        alive = _run("nft list set inet flowsonar alive")
        _check(f"the clock set by {jump_s:+.0f} s: the rules stay, nothing to tell", "ipv4" in alive and not told)
        _check("and connections get through", _talks())
    time.clock_settime(time.CLOCK_REALTIME, now_s)
    shaping.close()
    _check("the end takes the rules away", not Firewall().present())


def main() -> int:
    """Try all; 0 when all held."""
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    _say(f"      kernel {os.uname().release}")
    kernel = examine()
    _say(f"      queues: {', '.join(sorted(kernel.qdiscs))}")
    _say(f"      classifiers: {', '.join(sorted(kernel.filters))}; actions: {', '.join(sorted(kernel.actions))}")
    for choice in best(kernel):
        _say(f"      {choice.what}: {choice.detail}")
    wanted = {"cake", "fq_codel", "netem"}
    _check("this kernel has CAKE, fq_codel, netem, ifb and ctinfo", wanted <= kernel.qdiscs and kernel.restores)
    _network()
    _serve()
    _label()
    gateway = Line(wan="wan", up_kbit=5000, down_kbit=20000, lan=("lan",))
    _say("CAKE, as `flowsonar shape` chooses it here")
    _tried(plan(kernel, [gateway]), "voice", "bulk")
    _say("HTB with fq_codel")
    _tried(plan(kernel, [replace(gateway, discipline=Discipline.HTB)]), "realtime", "bulk")
    _say("HTB on an ifb, the class by the connection's mark")
    _tried(plan(kernel, [replace(gateway, lan=(), discipline=Discipline.HTB)]), "realtime", "bulk")
    _say("a full table of connections, and a clock that jumps")
    _odd_machine()
    _say(f"{len(_failures)} failures" if _failures else "passed")
    return 1 if _failures else 0


if __name__ == "__main__":
    sys.exit(main())
