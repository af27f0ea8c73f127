"""`python -m lab.shaping.behind_nat`: endpoints behind NAT that lets only their peer in, asked in the peer's name.

    inner ── nat (Linux, masquerade, nothing forwarded) ── gateway (flowsonar --ask-as-peer) ── peer

libtorrent and the Skype stand-in run on the inner host and speak to a peer who understands neither and says nothing
telling; the gateway reads no payload at all (`--source conntrack`), so that only an answer can give a label. Captures
at the inner host and at the peer show what each has seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowsonar.shaping.datagram import parse
from lab.frame import perform
from lab.namespaces import FORWARD, NO_IPV6, Namespaces, inside, run
from lab.packages import VENV, install, install_python
from lab.programs import LabError, Program, Programs, in_namespace

__all__ = ["Seen", "datagrams", "telling"]

PREFIX = "fsP"
INNER, NAT, GATEWAY, PEER = (f"{PREFIX}-{name}" for name in ("inner", "nat", "gw", "peer"))
_GATEWAY = "198.18.46.1"
_INNER, _OUTSIDE, _PEER = "192.168.45.2", "198.18.45.2", "198.18.46.2"
_PORTS = {"bittorrent": 41_001, "skype": 41_002}
_ASK_S = 25.0
_NANO = 0xA1B23C4D
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """One datagram of a capture."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


def datagrams(file: Path) -> list[Seen]:
    """The UDP datagrams of a pcap file with nanoseconds, Ethernet, whole packets."""
    data = file.read_bytes()
    found: list[Seen] = []
    if len(data) < 24 or int.from_bytes(data[:4], "little") != _NANO:
        return found
    at = 24
    while at + 16 <= len(data):
        kept = int.from_bytes(data[at + 8 : at + 12], "little")
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        datagram = parse(frame[14:]) if frame[12:14] == b"\x08\x00" else None
        if datagram is not None:
            source, destination = datagram.source[1:], datagram.destination[1:]
            found.append(Seen(source, destination, datagram.payload))
    return found


def telling(payload: bytes) -> bool:
    """An answer to a question of ours: a DHT node's reply, or a Skype node's NACK."""
    return payload.startswith((b"d1:rd2:id20:", b"d2:ip6:", b"d1:eli")) or (
        len(payload) == 11 and payload[2] & 0x8F in {5, 7}
    )


class _Network(Namespaces):
    def __init__(self) -> None:
        super().__init__((INNER, NAT, GATEWAY, PEER))

    def _build(self) -> None:
        for name in self.names:
            self._namespace(name, (*NO_IPV6, *FORWARD[:1]))
        links = (
            (INNER, "e0", f"{_INNER}/24", NAT, "in", "192.168.45.1/24"),
            (NAT, "out", f"{_OUTSIDE}/24", GATEWAY, "left", "198.18.45.1/24"),
            (PEER, "e0", f"{_PEER}/24", GATEWAY, "right", "198.18.46.1/24"),
        )
        for one, end, address, other, other_end, other_address in links:
            self._veth(one, end, other, other_end)
            for name, device, own in ((one, end, address), (other, other_end, other_address)):
                inside(name, f"addr add {own} dev {device}", f"link set {device} up")
        for name, router in ((INNER, "192.168.45.1"), (NAT, "198.18.45.1"), (PEER, "198.18.46.1")):
            inside(name, f"route add default via {router}")
        nat = 'table ip home {\nchain out { type nat hook postrouting priority srcnat; oifname "out" masquerade; }\n'
        closed = 'chain in { type filter hook forward priority 0; iifname "out" ct state new drop; }\n'
        own = 'chain own { type filter hook input priority 0; iifname "out" ct state new drop; }\n}\n'
        run(in_namespace(NAT, ["nft", "-f", "-"]), nat + closed + own)
        tracks = "table inet tracks {\nchain every {\ntype filter hook forward priority 0; ct state new accept\n}\n}\n"
        run(in_namespace(GATEWAY, ["nft", "-f", "-"]), tracks)


def _capture(programs: Programs, namespace: str, file: Path) -> Program:
    words = ["tcpdump", "-i", "e0", "-n", "-p", "-U", "--immediate-mode", "-Z", "root"]
    words += ["--time-stamp-precision=nano", "-w", str(file)]
    program = programs.start(namespace, words, name=f"tcpdump-{namespace}")
    deadline_s = time.monotonic() + 10
    while "listening on" not in program.tail():
        if time.monotonic() > deadline_s or not program.running:
            raise LabError(f"tcpdump does not start: {program.tail()}")
        time.sleep(0.05)
    return program


def _work(folder: Path) -> int:
    records = folder / "watch.jsonl"
    with Programs(folder) as programs:
        captures = {name: folder / f"{name}.pcap" for name in (INNER, PEER)}
        tapping = [_capture(programs, name, file) for name, file in captures.items()]
        words = [sys.executable, "-m", "flowsonar", "watch", "--source", "conntrack", "--ask-as-peer", "--json"]
        words += ["--scope", "198.18.45.0/24", "--scope", "198.18.46.0/24", "--store", str(folder / "verdicts.db")]
        words += ["--output", str(records), "-v"]
        watching = programs.start(GATEWAY, words, name="flowsonar")
        deadline_s = time.monotonic() + 120
        while "flowsonar_peers" not in run(in_namespace(GATEWAY, ["nft", "list", "tables"])):
            if time.monotonic() > deadline_s or not watching.running:
                raise LabError(f"flowsonar watch does not start: {watching.tail()}")
            time.sleep(0.2)
        module = [sys.executable, "-m", "lab.shaping.behind_nat"]
        for service, port in _PORTS.items():
            programs.start(PEER, [*module, "--peer", str(port)], name=f"peer-{service}")
        library = [str(VENV / "bin" / "python"), "-m", "lab.shaping.dht_node"]
        inner = programs.start(INNER, [*library, _INNER, str(_PORTS["bittorrent"]), _PEER], name="libtorrent")
        skype = [sys.executable, "-m", "lab.shaping.skype_node", _INNER, str(_PORTS["skype"]), _PEER]
        spoken = [inner, programs.start(INNER, skype, name="skype")]
        deadline_s = time.monotonic() + _ASK_S
        while time.monotonic() < deadline_s and len(_labels(records)) < len(_PORTS):
            time.sleep(0.5)
        time.sleep(2.0)  # what comes late belongs to it
        programs.stop([watching])
        programs.stop(spoken)
        time.sleep(1.0)
        programs.stop(tapping)
    return _judge(_labels(records), *captures.values())


def _labels(records: Path) -> dict[int, tuple[str, str]]:
    """Service and confidence by the inner host's port."""
    found: dict[int, tuple[str, str]] = {}
    if records.exists():
        for line in records.read_text().splitlines():
            with contextlib.suppress(ValueError, KeyError):
                record = json.loads(line)
                said = record["flowsonar"]
                if record["event_type"] in {"verdict", "flow"} and said["service"] != "unknown":
                    for side in ("src", "dest"):
                        if record[f"{side}_ip"] == _OUTSIDE:
                            found[record[f"{side}_port"]] = (said["service"], said["confidence"])
    return found


def _judge(labels: dict[int, tuple[str, str]], inner: Path, peer: Path) -> int:
    failed = 0
    sent = [one for one in datagrams(inner) if one.source[0] == _INNER]
    came = [one for one in datagrams(peer) if one.destination[0] == _PEER]
    for service, port in _PORTS.items():
        label = labels.get(port)
        holds = label is not None and label[0] == service
        answers = sum(one.source[1] == port and telling(one.payload) for one in sent)
        saw = sum(one.source[1] == port and telling(one.payload) for one in came)
        own = sum(one.source[1] == port and not telling(one.payload) for one in sent)
        passed = sum(one.source[1] == port and not telling(one.payload) for one in came)
        holds = holds and saw == 0 and answers > 0 and passed == own
        failed += not holds
        print(
            f"{'ok  ' if holds else 'FAIL'}  {service}: labelled {label}; the endpoint answered {answers} questions, "
            f"of which its peer saw {saw}; of its own {own} datagrams the peer got {passed}"
        )
    strange = [one for one in came if one.source[0] not in {_OUTSIDE, _GATEWAY}]
    print(f"{'FAIL' if strange else 'ok  '}  datagrams at the peer from anybody else: {len(strange)}")
    asked = sum(one.source[0] == _GATEWAY for one in came)
    print(f"      (the gateway asked the peer too, openly, in its own name: {asked} datagrams)")
    return 1 if failed or strange else 0


def _dumb(port: int) -> int:
    """The peer: takes everything, now and then sends something that means nothing."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((_PEER, port))
    count = 0
    while True:
        _, other = line.recvfrom(4096)
        count += 1
        if count % 2:
            line.sendto(b"\0", other)


def main(words: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m lab.shaping.behind_nat", description=__doc__)
    parser.add_argument("--peer", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="leave logs and captures behind")
    chosen = parser.parse_args(words)
    if chosen.peer:
        return _dumb(chosen.peer)

    def work(folder: Path) -> int:
        install()
        install_python(["libtorrent"])
        with _Network():
            return _work(folder)

    return perform(work, name="nat", keep=chosen.keep, alone=True)


if __name__ == "__main__":
    sys.exit(main())
