"""What the peers of the comparison say of the same packets: ndpiReader, NFStream and tshark, flow by flow."""

from __future__ import annotations

import csv
import ipaddress
import json
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "TOOLS",
    "Key",
    "Talk",
    "count",
    "key",
    "labels",
    "parse_ndpi",
    "parse_nfstream",
    "parse_tshark",
    "right",
    "talks",
]

TOOLS = ("nDPI", "NFStream", "tshark")
_LIMIT_S = 180
_PCAP_HEADER, _PACKET_HEADER, _ETHERNET = 24, 16, 14

Key = tuple[str, frozenset[tuple[str, int]]]
"""Transport and both endpoints: the same for either direction."""


def key(transport: str, one: tuple[str, int], other: tuple[str, int]) -> Key:
    """The key of a flow."""
    return transport, frozenset((one, other))


@dataclass(slots=True)
class Talk:
    """A flow as the capture has it."""

    source: tuple[str, int]
    """Who sent the first packet."""
    payload: int = 0
    """Bytes of payload in both directions."""


def talks(capture: Path) -> dict[Key, Talk]:
    """Every flow of a capture with its payload: counted from the packets, whatever any tool says of them."""
    found: dict[Key, Talk] = {}
    data = capture.read_bytes()
    order = "<" if data[:4] in {b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"} else ">"
    position = _PCAP_HEADER
    while position + _PACKET_HEADER <= len(data):
        length = struct.unpack_from(order + "I", data, position + 8)[0]
        position += _PACKET_HEADER
        if position + length > len(data):
            break
        _packet(data[position + _ETHERNET : position + length], found)
        position += length
    return found


def _packet(packet: bytes, found: dict[Key, Talk]) -> None:
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] not in {6, 17}:
        return
    start, total = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0]
    if len(packet) < start + (20 if packet[9] == 6 else 8):
        return
    ports = struct.unpack_from("!HH", packet, start)
    source = str(ipaddress.IPv4Address(packet[12:16])), ports[0]
    target = str(ipaddress.IPv4Address(packet[16:20])), ports[1]
    header = 8 if packet[9] == 17 else (packet[start + 12] >> 4) * 4
    talk = found.setdefault(key("udp" if packet[9] == 17 else "tcp", source, target), Talk(source))
    talk.payload += max(0, (total or len(packet)) - start - header)


def labels(capture: Path, folder: Path, nfstream: str) -> dict[str, dict[Key, str]]:
    """What each tool calls each flow; a tool that fails says nothing. `nfstream`: a Python that has it."""
    table = folder / "ndpi.csv"
    _output(["ndpiReader", "-i", str(capture), "-C", str(table), "-q"])
    fields = ["ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "frame.protocols"]
    asked = [word for field in fields for word in ("-e", field)]
    return {
        "nDPI": parse_ndpi(table.read_text(errors="replace") if table.exists() else ""),
        "NFStream": parse_nfstream(_output([nfstream, "-c", _NFSTREAM, str(capture)])),
        "tshark": parse_tshark(_output(["tshark", "-n", "-r", str(capture), "-T", "fields", *asked])),
    }


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def parse_ndpi(text: str) -> dict[Key, str]:
    """Read ndpiReader's CSV."""
    found: dict[Key, str] = {}
    for row in csv.DictReader(text.splitlines()):
        try:
            ends = [(str(row[f"{side}_ip"]), int(row[f"{side}_port"])) for side in ("src", "dst")]
        except (KeyError, TypeError, ValueError):
            continue
        transport = {"6": "tcp", "17": "udp"}.get(row.get("protocol") or "")
        if transport:
            found[key(transport, ends[0], ends[1])] = row.get("ndpi_proto") or ""
    return found


_NFSTREAM = """
import json, sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1], n_meters=1):
    print(json.dumps([flow.protocol, flow.src_ip, flow.src_port, flow.dst_ip, flow.dst_port, flow.application_name,
                      flow.application_is_guessed]))
"""


def parse_nfstream(text: str) -> dict[Key, str]:
    """Read what the program above prints; of several records of a flow the first that names it counts."""
    found: dict[Key, str] = {}
    for line in text.splitlines():
        try:
            protocol, source, source_port, target, target_port, name, _ = json.loads(line)
        except ValueError:
            continue
        transport = {6: "tcp", 17: "udp"}.get(protocol)
        if transport:
            where = key(transport, (source, source_port), (target, target_port))
            if found.get(where, "Unknown") == "Unknown":
                found[where] = name
    return found


_OURS = ("bittorrent", "bt-dht", "bt-utp", "bt-tracker")


def parse_tshark(text: str) -> dict[Key, str]:
    """Read tshark's fields: a flow is what any of its packets is dissected as, BitTorrent before all others."""
    found: dict[Key, str] = {}
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) < 7:
            continue
        source, target, *ports, protocols = words[:7]
        transport, pair = ("tcp", ports[:2]) if ports[0] else ("udp", ports[2:])
        if not all(port.isdecimal() for port in pair) or "," in source:
            continue
        where = key(transport, (source, int(pair[0])), (target, int(pair[1])))
        layers = [name for name in protocols.split(":")[3:] if name not in {"tcp", "udp", "data", "ip", "ethertype"}]
        name = next((one for one in layers if one in _OURS), layers[-1] if layers else "")
        if found.get(where, "") not in _OURS:
            found[where] = name or found.get(where, "")
    return found


def right(name: str) -> bool | None:
    """Whether a tool's name of a flow means BitTorrent; None where it names nothing."""
    plain = name.lower()
    if plain in {"", "unknown", "data"}:
        return None
    return any(word in plain for word in ("bittorrent", "bt-dht", "bt-utp"))


def count(said: Mapping[Key, str], flows: Iterable[Key]) -> tuple[int, int, int]:
    """Right, wrong and unknown among these flows."""
    found = [right(said.get(flow, "")) for flow in flows]
    return found.count(True), found.count(False), found.count(None)
