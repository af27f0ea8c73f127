"""What marking costs: each packet with and without the firewall's rules, each verdict, a hundred thousand elements.

`sudo .venv/bin/python -m bench.shaping`: three network namespaces in a row, packets of 100 bytes that the middle one
forwards, and bare acknowledgements of TCP, whose window is lowered. Sending over veth carries a packet through the
whole path within the call, so the sender's time is the path's. The settings take turns, and of each the fastest of many
short windows counts: other work disturbs that least.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flowsonar.model import Confidence, FlowKey, TrafficClass, Transport, Verdict
from flowsonar.shaping.firewall import Firewall
from flowsonar.shaping.marking import Marker
from flowsonar.shaping.nftmessages import Operation, Place, Put, flow_places
from flowsonar.shaping.nftrules import Rules, Treatment
from flowsonar.shaping.nftsocket import ElementSocket
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.windowrules import YOUNG, target_of, units
from flowsonar.shaping.windows import LEAST

NAME: Final = f"fsb{os.getpid()}"
CLIENT, GATEWAY, SERVER = (f"{NAME}-{part}" for part in ("c", "g", "s"))
WINDOW: Final = 500
WINDOWS: Final = 60
ROUNDS: Final = 5
ELEMENTS: Final = 100_000
FLOWS: Final = 10_000
NOBODY: Final = "10.83.2.9"
"""An address behind the gateway that takes packets and says nothing."""
TRACKING: Final = "table inet other {\nchain f { type filter hook forward priority 0; ct state invalid drop; }\n}\n"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _enter(namespace: str) -> None:
    with Path(f"/run/netns/{namespace}").open() as file:
        assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0


@contextmanager
def _network() -> Iterator[None]:
    names = (CLIENT, GATEWAY, SERVER)
    try:
        for name in names:
            _ip("netns", "add", name)
        for number, (end, peer) in enumerate(((CLIENT, "lan"), (SERVER, "wan")), 1):
            _ip("-n", end, "link", "add", "eth", "type", "veth", "peer", "name", peer, "netns", GATEWAY)
            for namespace, interface, host in ((end, "eth", 2), (GATEWAY, peer, 1)):
                _ip("-n", namespace, "address", "add", f"10.83.{number}.{host}/24", "dev", interface)
                _ip("-n", namespace, "link", "set", interface, "up")
            _ip("-n", end, "route", "add", "default", "via", f"10.83.{number}.1")
        shown = subprocess.run(["ip", "-n", SERVER, "-br", "link", "show", "eth"], check=True, capture_output=True)
        _ip("-n", GATEWAY, "neigh", "add", NOBODY, "lladdr", shown.stdout.split()[2].decode(), "dev", "wan")
        _ip("netns", "exec", GATEWAY, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def _acknowledgement() -> bytes:
    """A TCP header with ACK alone and a window of 60,000, its checksum right: tracking takes it for a connection's."""
    header = struct.pack("!HHIIBBHHH", 4000, 4000, 1, 1, 5 << 4, 0x10, 60_000, 0, 0)
    ends = socket.inet_aton("10.83.1.2") + socket.inet_aton(NOBODY)
    words = struct.unpack("!16H", ends + struct.pack("!HH", 6, len(header)) + header)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + header[18:]


def _send(sender: socket.socket, data: bytes) -> float:
    """Nanoseconds a packet, in the fastest window."""
    send = sender.send
    best = float("inf")
    for _ in range(WINDOWS):
        begun = time.perf_counter()
        for _ in range(WINDOW):
            send(data)
        best = min(best, time.perf_counter() - begun)
    return best / WINDOW * 1e9


def _flow(number: int) -> FlowKey:
    return FlowKey(Transport.TCP, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1024, "10.200.0.2", 443)


def _puts(keys: Sequence[FlowKey], treatment: Treatment) -> list[Operation]:
    return [Put(place, treatment.value, 600_000) for key in keys for place in flow_places(key) or ()]


def packets() -> list[str]:
    """The cost of each packet, as Markdown lines. In the gateway's namespace."""
    policy = Policy()
    rules = Rules(treatments=policy.treatments())
    bulk = policy.treatment(TrafficClass.BULK)
    firewall = Firewall()
    _enter(CLIENT)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("10.83.1.2", 4000))
    sender.connect(("10.83.2.2", 4000))
    acknowledging = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    acknowledging.connect((NOBODY, 0))
    _enter(SERVER)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.83.2.2", 4000))
    _enter(GATEWAY)
    elements = ElementSocket()
    mine = FlowKey(Transport.UDP, "10.83.1.2", 4000, "10.83.2.2", 4000)

    def ours(*, marked: bool, full: bool) -> None:
        firewall.install(rules)
        if full:
            elements.apply(_puts([_flow(number) for number in range(ELEMENTS // 2)], bulk))
        if marked:
            elements.apply(_puts([mine], bulk))

    def others() -> None:
        _nft(TRACKING)

    def both(*, marked: bool, full: bool) -> None:
        others()
        ours(marked=marked, full=full)

    def windows() -> None:
        """No label and no shift known: class 0, and 0 for a shift that was not announced."""
        others()
        firewall.install(lowering)
        assert elements.apply([Put(Place(YOUNG, bytes(4)), target_of(units(LEAST, 0)), 600_000)]) == 0

    lowering = Rules(treatments=policy.treatments(), outside=("wan",), inside=("lan",), windows=True)
    settings: dict[str, Callable[[], None]] = {
        "no rules, no connection tracking": lambda: None,
        "somebody else's rule that tracks connections": others,
        "the same and ours: a flow that nobody knows, empty maps": lambda: both(marked=False, full=False),
        "the same and ours: a flow that nobody knows, 100,000 elements": lambda: both(marked=False, full=True),
        "the same and ours: a marked flow, 100,000 elements": lambda: both(marked=True, full=True),
    }
    tcp: dict[str, Callable[[], None]] = {
        "TCP: somebody else's rule that tracks connections": others,
        "TCP: the same and ours, empty maps": lambda: both(marked=False, full=False),
        "TCP: the same, and the window is lowered": windows,
    }
    lines = ["| rules | ns a packet | over tracking alone |", "|---|---|---|"]
    data = _acknowledgement()
    for some, base, send in (
        (settings, "somebody else's rule that tracks connections", lambda: _send(sender, bytes(72))),
        (tcp, "TCP: somebody else's rule that tracks connections", lambda: _send(acknowledging, data)),
    ):
        best = dict.fromkeys(some, float("inf"))
        for _ in range(ROUNDS):
            for name, prepare in some.items():
                _nft("flush ruleset\n")
                prepare()
                best[name] = min(best[name], send())
        lines += [f"| {name} | {value:.0f} | {value - best[base]:+.0f} |" for name, value in best.items()]
    _nft("flush ruleset\n")
    return lines


def verdicts() -> list[str]:
    """The cost of each verdict, as Markdown lines. In the gateway's namespace."""
    policy = Policy()
    firewall = Firewall()
    firewall.install(Rules(treatments=policy.treatments()))
    elements = ElementSocket()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    elements.apply(_puts([_flow(number) for number in range(ELEMENTS // 2)], policy.treatment(TrafficClass.BULK)))
    filled, filled_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    marker = Marker(policy, elements.apply)
    verdict = Verdict(service="rtp", traffic_class=TrafficClass.REALTIME, confidence=Confidence.CONFIRMED)
    took = []
    begun_cpu = time.process_time()
    for number in range(FLOWS):
        key = _flow(ELEMENTS + number)
        begun = time.perf_counter()
        marker.decided(number, key, verdict, now_ns=0, first_ns=0)
        marker.flush(0)
        took.append(time.perf_counter() - begun)
    cpu = time.process_time() - begun_cpu
    took.sort()
    firewall.remove()
    assert marker.counts["marks_refused"] == 0
    median, late = (took[int(FLOWS * part)] * 1e3 for part in (0.5, 0.99))
    return [
        "| what | figure |",
        "|---|---|",
        f"| 100,000 elements put into a map | {filled:.2f} s, of it {filled_cpu:.2f} s CPU |",
        f"| from verdict to mark beside them, each alone: median | {median:.3f} ms |",
        f"| the same, 99th percentile | {late:.3f} ms |",
        f"| 10,000 flows marked one by one | {cpu:.2f} s CPU |",
    ]


def main() -> None:
    """Print both tables."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with _network():
        _enter(GATEWAY)
        print("\n".join([*packets(), "", *verdicts()]))


if __name__ == "__main__":
    sys.exit(main())
