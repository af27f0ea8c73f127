"""What `flowsonar probe` is pointed at: target expressions.

    192.0.2.7:8080          one TCP port               192.0.2.7:53/udp     one UDP port
    [2001:db8::7]:443       IPv6                       files.example:20-25  a range, ports with commas too
    10.0.0.0/28:22,80       every address of a network [2001:db8::/120]:22  of an IPv6 network

Targets are generated, not listed: a /16 with a thousand ports takes no more memory than one address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from flowsonar import limits
from flowsonar.errors import ConfigError
from flowsonar.model import Hints, Transport

__all__ = ["Expression", "Target", "parse_target"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Target:
    """A host (name or address) and a port to ask."""

    host: str
    port: int
    transport: Transport = Transport.TCP
    hints: Hints | None = None
    """What a flow record told of it."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The targets of one expression; iterate as often as you like."""

    host: str
    """A name or an address, where `network` is None."""
    network: _Network | None
    ports: tuple[tuple[int, int], ...]
    """Ranges, first and last, none overlapping."""
    transport: Transport

    def __len__(self) -> int:
        """How many targets there are."""
        return self._hosts() * sum(last - first + 1 for first, last in self.ports)

    def __iter__(self) -> Iterator[Target]:
        """Port by port, so that one host's questions are spread over the run."""
        for first, last in self.ports:
            for port in range(first, last + 1):
                if self.network is None:
                    yield Target(self.host, port, self.transport)
                else:
                    for address in self.network.hosts():
                        yield Target(str(address), port, self.transport)

    def _hosts(self) -> int:
        if self.network is None:
            return 1
        size = self.network.num_addresses
        if self.network.max_prefixlen - self.network.prefixlen <= 1:
            return size
        return size - 2 if self.network.version == 4 else size - 1  # as `hosts` leaves out


def parse_target(text: str) -> Expression:
    """The targets that one expression names. Raises ConfigError with what is wrong."""
    expression, _, suffix = text.strip().rpartition("/")
    transport = Transport.TCP
    if expression and suffix.lower() in ("tcp", "udp"):
        transport = Transport(suffix.lower())
    else:
        expression = text.strip()
    host, ports = _split(expression, text)
    return Expression(*_host(host, text), _ports(ports, text), transport)


def _split(expression: str, text: str) -> tuple[str, str]:
    if "://" in expression:
        raise ConfigError(f"target {_shown(text)}: this is a URL, write host:port or [address]:port")
    if expression.startswith(("/", "./", "../")):
        raise ConfigError(f"target {_shown(text)}: there is no such file, and it is no host:port")
    if expression.startswith("["):
        host, bracket, ports = expression[1:].partition("]:")
        if not bracket:
            raise ConfigError(f"target {_shown(text)}: write an IPv6 target as [address]:port")
        return host, ports
    if expression.count(":") > 1:
        raise ConfigError(f"target {_shown(text)}: write an IPv6 target as [address]:port")
    host, colon, ports = expression.partition(":")
    if not colon or not host or not ports:
        raise ConfigError(f"target {_shown(text)}: write it as host:port, host:port/udp or [address]:port")
    return host, ports


def _host(host: str, text: str) -> tuple[str, _Network | None]:
    if "/" not in host:
        if not host or len(host) > 253 or not host.isprintable() or any(one.isspace() for one in host):
            raise ConfigError(f"target {_shown(text)}: {_shown(host)} is not a host name or address")
        if ":" in host:
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                raise ConfigError(f"target {_shown(text)}: {_shown(host)} is no IPv6 address") from None
        return host, None
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        why = f"{_shown(host)} is no network: write it like 192.0.2.0/24 or 2001:db8::/64"
        raise ConfigError(f"target {_shown(text)}: {why}") from None
    if network.num_addresses > limits.TARGET_ADDRESSES:
        raise ConfigError(
            f"target {_shown(text)}: {network.num_addresses} addresses are more than {limits.TARGET_ADDRESSES} at a"
            " time; name smaller networks"
        )
    return host, network


def _ports(text: str, target: str) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not _is_number(low) or (dash and not _is_number(high)):
            raise ConfigError(f"target {_shown(target)}: {_shown(part)} is not a port or a range of ports")
        first, last = int(low), int(high) if dash else int(low)
        if not 1 <= first <= last <= 65535:
            raise ConfigError(f"target {_shown(target)}: ports go from 1 to 65535, and a range upwards")
        ranges.append((first, last))
    if len(ranges) == 1:
        return tuple(ranges)
    ports = dict.fromkeys(port for first, last in ranges for port in range(first, last + 1))
    return tuple(_joined(ports))


def _joined(ports: dict[int, None]) -> Iterator[tuple[int, int]]:
    """Ranges of ports in the order they were named."""
    first = last = 0
    for port in ports:
        if port == last + 1 and first:
            last = port
            continue
        if first:
            yield first, last
        first = last = port
    yield first, last


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
