"""Tunnels around a flow: how events carry them, and what people read."""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop

from flowsonar.flows._reference_tunnels import Hop, Tunnel

__all__ = ["HOP_BYTES", "hop_names", "pack_hop"]

_PACKED = struct.Struct("<16s16sIBBxx")
HOP_BYTES = _PACKED.size
"""Two addresses (IPv4 in the first four of 16 bytes), identifier, kind, IP version, two bytes of 0."""

_NAMES = {
    Tunnel.GRE: "gre",
    Tunnel.PPTP: "pptp",
    Tunnel.VXLAN: "vxlan",
    Tunnel.GENEVE: "geneve",
    Tunnel.GTP: "gtp-u",
    Tunnel.TEREDO: "teredo",
    Tunnel.L2TP: "l2tp",
    Tunnel.ETHERIP: "etherip",
    Tunnel.MPLS: "mpls-in-ip",
}
_IN_IP = {
    (4, Tunnel.IPV4): "ipip",
    (4, Tunnel.IPV6): "6in4",
    (6, Tunnel.IPV4): "4in6",
    (6, Tunnel.IPV6): "6in6",
}


def pack_hop(hop: Hop) -> bytes:
    """Pack one as the flow table's events carry it."""
    return _PACKED.pack(hop.source, hop.destination, hop.id, hop.kind, 4 if len(hop.source) == 4 else 6)


@lru_cache(maxsize=1024)
def hop_names(outer: bytes) -> tuple[str, ...]:
    """Name each tunnel, its two ends as its first packet had them, and its identifier where it has one."""
    return tuple(_name(*values) for values in _PACKED.iter_unpack(outer))


def _name(source: bytes, destination: bytes, identifier: int, kind: int, version: int) -> str:
    tunnel = Tunnel(kind)
    name = _IN_IP.get((version, tunnel)) or _NAMES[tunnel]
    ends = [inet_ntop(AF_INET, one[:4]) if version == 4 else inet_ntop(AF_INET6, one) for one in (source, destination)]
    return f"{name} {ends[0]} > {ends[1]}" + (f" {identifier}" if identifier else "")
