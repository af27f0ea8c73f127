"""Which endpoints may be asked at all: networks, never-ports, exclusions. Asked in the one place that opens sockets."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from flowsonar.config import ScopeSettings
from flowsonar.errors import ConfigError
from flowsonar.model import Endpoint, Transport

__all__ = ["DEFAULT_NETWORKS", "NEVER_PORTS", "NeverPorts", "Scope"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_NETWORKS: Final = (
    "127.0.0.0/8",  # loopback, RFC 1122 section 3.2.1.3
    "169.254.0.0/16",  # link-local, RFC 3927
    "10.0.0.0/8",  # private use, RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # shared address space, RFC 6598
    "::1/128",  # loopback, RFC 4291 section 2.5.3
    "fe80::/10",  # link-local, RFC 4291 section 2.5.6
    "fc00::/7",  # unique local, RFC 4193
)
"""What may be asked without being told so: networks that end at their owner's door."""


@dataclass(frozen=True, slots=True)
class NeverPorts:
    """A range of ports that no setting opens, and why."""

    transports: tuple[Transport, ...]
    first: int
    last: int
    why: str


_TCP = (Transport.TCP,)
_UDP = (Transport.UDP,)
_BOTH = (Transport.TCP, Transport.UDP)
_PRINTS = "prints what it is sent"
_PLANT = "controls machines"

NEVER_PORTS: Final = (
    NeverPorts(_TCP, 9100, 9107, f"JetDirect {_PRINTS}"),
    NeverPorts(_TCP, 515, 515, f"LPD {_PRINTS}"),
    NeverPorts(_TCP, 35, 35, f"a private print server {_PRINTS}"),
    NeverPorts(_TCP, 9220, 9220, "a JetDirect scanner port starts the device"),
    NeverPorts(_BOTH, 1720, 1720, "H.323 call signalling rings"),
    NeverPorts(_UDP, 67, 68, "DHCP keeps state for who asks"),
    NeverPorts(_UDP, 546, 547, "DHCPv6 keeps state for who asks"),
    NeverPorts(_UDP, 162, 162, "an SNMP trap receiver records what it is sent"),
    NeverPorts(_UDP, 514, 514, "syslog records what it is sent"),
    NeverPorts(_TCP, 3632, 3632, "distcc compiles what it is sent"),
    NeverPorts(_BOTH, 102, 102, f"S7 {_PLANT}"),
    NeverPorts(_BOTH, 502, 502, f"Modbus {_PLANT}"),
    NeverPorts(_BOTH, 802, 802, f"Modbus over TLS {_PLANT}"),
    NeverPorts(_BOTH, 1217, 1217, f"CODESYS {_PLANT}"),
    NeverPorts(_BOTH, 2455, 2455, f"CODESYS {_PLANT}"),
    NeverPorts(_BOTH, 1911, 1911, f"Niagara Fox {_PLANT}"),
    NeverPorts(_BOTH, 4911, 4911, f"Niagara Fox {_PLANT}"),
    NeverPorts(_BOTH, 1962, 1962, f"PCWorx {_PLANT}"),
    NeverPorts(_UDP, 2222, 2222, f"EtherNet/IP input and output {_PLANT}"),
    NeverPorts(_TCP, 2404, 2404, f"IEC 60870-5-104 {_PLANT}"),
    NeverPorts(_BOTH, 5094, 5094, f"HART-IP {_PLANT}"),
    NeverPorts(_BOTH, 9600, 9600, f"FINS {_PLANT}"),
    NeverPorts(_TCP, 18245, 18246, f"GE SRTP {_PLANT}"),
    NeverPorts(_BOTH, 20000, 20000, f"DNP3 {_PLANT}"),
    NeverPorts(_TCP, 20547, 20547, f"ProConOS {_PLANT}"),
    NeverPorts(_BOTH, 34962, 34964, f"PROFINET {_PLANT}"),
    NeverPorts(_BOTH, 34980, 34980, f"EtherCAT {_PLANT}"),
    NeverPorts(_BOTH, 44818, 44818, f"EtherNet/IP {_PLANT}"),
    NeverPorts(_UDP, 47808, 47823, f"BACnet {_PLANT}"),
)
"""From the facts about protocols (rows 29, 107, 112 to 119) and their siblings in the same families."""

_REMEMBERED: Final = 4096
"""Decisions kept: every packet asks, and the same endpoint again and again."""

_NEVER: Final = {
    (transport, port): entry.why
    for entry in NEVER_PORTS
    for transport in entry.transports
    for port in range(entry.first, entry.last + 1)
}


@dataclass(frozen=True, slots=True)
class _Excluded:
    """One entry of the exclude list; a part that is None matches anything."""

    text: str
    network: _Network | None
    port: int | None
    transport: Transport | None

    def covers(self, address: _Address, endpoint: Endpoint) -> bool:
        return (
            (self.network is None or (address.version == self.network.version and address in self.network))
            and (self.port is None or endpoint.port == self.port)
            and (self.transport is None or endpoint.transport is self.transport)
        )


class Scope:
    """The answer to "may this endpoint be asked?". Raises `ConfigError` for a setting that cannot be read."""

    def __init__(self, settings: ScopeSettings) -> None:
        self._default = tuple(ipaddress.ip_network(text) for text in DEFAULT_NETWORKS)
        named = tuple(_network(text, "scope.only") for text in settings.only)
        allowed = tuple(_network(text, "scope.allow") for text in settings.allow)
        self._networks: tuple[_Network, ...] = (*(named or self._default), *allowed)
        self._named: tuple[_Network, ...] = (*named, *allowed)
        self._excluded = tuple(_excluded(text) for text in settings.exclude)
        self._known = lru_cache(maxsize=_REMEMBERED)(self._decide)

    @property
    def networks(self) -> tuple[_Network, ...]:
        """Outside them no endpoint may be asked; inside not all."""
        return self._networks

    def permits(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """None when `endpoint` may be asked, else the reason why not, as one phrase.

        `amplifies`: the answer may be much larger than the question; only the default networks are asked such.
        """
        return self._known(endpoint, amplifies)

    def _decide(self, endpoint: Endpoint, amplifies: bool) -> str | None:
        try:
            address = _address(endpoint.address)
        except ValueError:
            return f"{endpoint.address!r} is not an address"
        return (
            self._never_address(address)
            or self._never_port(endpoint)
            or self._excludes(address, endpoint)
            or self._outside(address, amplifies=amplifies)
        )

    def in_default(self, address: str) -> bool:
        """Whether `address` is in the default scope, whatever the settings say."""
        try:
            parsed = _address(address)
        except ValueError:
            return False
        return _within(parsed, self._default)

    def _never_address(self, address: _Address) -> str | None:
        if address.is_multicast:
            return "a multicast address is never asked"
        if address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK):
            return "an unspecified address is never asked"
        if address.version == 4 and address in _RESERVED:
            return "a broadcast or reserved address is never asked"
        if any(network.num_addresses == 1 and address == network.network_address for network in self._named):
            return None  # the operator named this very address: it is a host
        return self._edge(address)

    def _edge(self, address: _Address) -> str | None:
        """Network and broadcast addresses, of the settings' networks and of the usual subnets.

        Where a remote subnet ends cannot be seen from here, and a datagram to its broadcast address reaches all
        of its hosts (RFC 2644): the last octets 0 and 255 are left alone unless the settings name that address.
        """
        for network in self._named:
            if network.num_addresses <= 2 or address.version != network.version:
                continue  # RFC 3021 and RFC 6164: a pair of hosts has neither
            if address == network.network_address:
                return f"the network address of {network} is never asked"
            if network.version == 4 and address == network.broadcast_address:
                return f"the broadcast address of {network} is never asked"
        if address.version == 4:
            if address.is_loopback and address != _LOOPBACK_BROADCAST:
                return None
            if int(address) & 0xFF in (0, 0xFF):
                return "an address that ends in .0 or .255 may reach a whole subnet; name it with /32 if it is a host"
        elif int(address) & 0xFFFF_FFFF_FFFF_FFFF == 0:
            return "the subnet-router anycast address is never asked"  # RFC 4291 section 2.6.1
        return None

    @staticmethod
    def _never_port(endpoint: Endpoint) -> str | None:
        if not 0 < endpoint.port < 65536:
            return f"port {endpoint.port} cannot be asked"
        why = _NEVER.get((endpoint.transport, endpoint.port))
        return None if why is None else f"port {endpoint.port}/{endpoint.transport} is never asked: {why}"

    def _excludes(self, address: _Address, endpoint: Endpoint) -> str | None:
        for entry in self._excluded:
            if entry.covers(address, endpoint):
                return f"excluded by {entry.text!r}"
        return None

    def _outside(self, address: _Address, *, amplifies: bool) -> str | None:
        if not _within(address, self._networks):
            return f"{address} is outside the scope; --scope CIDR lets it in"
        if amplifies and not _within(address, self._default):
            return "a question with a large answer is asked on private networks only"
        return None


_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")  # RFC 1122 section 3.2.1.3
_RESERVED: Final = ipaddress.ip_network("240.0.0.0/4")  # RFC 1112 section 4, with 255.255.255.255
_LOOPBACK_BROADCAST: Final = ipaddress.ip_address("127.255.255.255")


def _address(text: str) -> _Address:
    """The address that packets would go to: an IPv4-mapped one (RFC 4291 section 2.5.5.2) is its IPv4 address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return ipaddress.IPv6Address(int(address))
    return address


def _within(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _network(text: str, key: str) -> _Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as problem:
        raise ConfigError(f"{key}: {text!r} is no network: write it like 192.0.2.0/24 or 2001:db8::/64") from problem
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def _excluded(text: str) -> _Excluded:
    """Read one entry: a network, an address, `address:port`, `[v6]:port` or `:port`, each with `/tcp` or `/udp`."""
    rest, transport = text.strip(), None
    for candidate in _BOTH:
        if rest.endswith(f"/{candidate}"):
            rest, transport = rest.removesuffix(f"/{candidate}"), candidate
    host, port = rest, None
    if rest.startswith(":") and not rest.startswith("::"):
        host, port = "", _port(rest[1:], text)
    elif rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or not tail.startswith(":"):
            raise ConfigError(f"scope.exclude: {text!r} cannot be read: write it like [2001:db8::1]:80")
        port = _port(tail[1:], text)
    elif rest.count(":") == 1:
        host, _, digits = rest.partition(":")
        port = _port(digits, text)
    return _Excluded(text, _network(host, "scope.exclude") if host else None, port, transport)


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536):
        raise ConfigError(f"scope.exclude: {text!r} has no port from 1 to 65535 after the colon")
    return int(digits)
