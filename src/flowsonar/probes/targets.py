"""What `flowsonar probe` is pointed at: target expressions, and bare flow records of other tools.

    192.0.2.7:8080          one TCP port               192.0.2.7:53/udp     one UDP port
    [2001:db8::7]:443       IPv6                       files.example:20-25  a range, ports with commas too
    10.0.0.0/28:22,80       every address of a network

Standard input and files hold such expressions, one a line (`#` begins a comment), or flow records: Zeek `conn.log`
(TSV or JSON) and Suricata `eve.json`; their responders are the targets, each once.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowsonar import limits
from flowsonar.errors import ConfigError
from flowsonar.model import Transport

__all__ = ["Target", "TargetLines", "parse_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A host (name or address) and a port to ask."""

    host: str
    port: int
    transport: Transport = Transport.TCP


def parse_target(text: str) -> Iterator[Target]:
    """The targets that one expression names. Raises ConfigError with what is wrong."""
    expression, _, suffix = text.strip().rpartition("/")
    transport = Transport.TCP
    if expression and suffix.lower() in ("tcp", "udp"):
        transport = Transport(suffix.lower())
    else:
        expression = text.strip()
    host, ports = _split(expression, text)
    hosts = _hosts(host, text)
    numbers = _ports(ports, text)
    return (Target(one, port, transport) for one in hosts for port in numbers)


def _split(expression: str, text: str) -> tuple[str, str]:
    if expression.startswith("["):
        host, bracket, ports = expression[1:].partition("]:")
        if not bracket:
            raise ConfigError(f"target {text!r}: write an IPv6 target as [address]:port")
        return host, ports
    if expression.count(":") > 1:
        raise ConfigError(f"target {text!r}: write an IPv6 target as [address]:port")
    host, colon, ports = expression.partition(":")
    if not colon or not host or not ports:
        raise ConfigError(f"target {text!r}: write it as host:port, host:port/udp or [address]:port")
    return host, ports


def _hosts(host: str, text: str) -> Iterable[str]:
    if "/" not in host:
        if not host or any(character.isspace() for character in host):
            raise ConfigError(f"target {text!r}: {host!r} is not a host name or address")
        return (host,)
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError as error:
        raise ConfigError(f"target {text!r}: {error}") from None
    if network.num_addresses > limits.TARGET_ADDRESSES:
        raise ConfigError(
            f"target {text!r}: {network.num_addresses} addresses are more than {limits.TARGET_ADDRESSES} at a time;"
            " name smaller networks"
        )
    return (str(address) for address in network.hosts())


def _ports(text: str, target: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ConfigError(f"target {target!r}: {part!r} is not a port or a range of ports")
        first, last = int(low), int(high) if dash else int(low)
        if not 1 <= first <= last <= 65535:
            raise ConfigError(f"target {target!r}: ports go from 1 to 65535, and a range upwards")
        numbers.extend(range(first, last + 1))
    return tuple(dict.fromkeys(numbers))


class TargetLines:
    """Targets from lines of text: expressions or flow records, told apart line by line.

    `skipped` counts records that name no port to ask (ICMP, other transports) and lines that are not understood
    inside a stream of records; a line that is not understood outside of one raises ConfigError with its number.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._fields: list[str] = []  # column names of a Zeek TSV log, from its #fields line
        self._number = 0
        self.skipped = 0

    def parse(self, lines: Iterable[str]) -> Iterator[Target]:
        """Yield the targets of `lines`."""
        for line in lines:
            self._number += 1
            text = line.strip()
            if text.startswith("#fields\t"):
                self._fields = text.split("\t")[1:]
            elif text and not text.startswith("#"):
                yield from self._line(text)

    def _line(self, text: str) -> Iterable[Target]:
        if text.startswith("{"):
            return self._json(text)
        if self._fields:
            return self._record(dict(zip(self._fields, text.split("\t"), strict=False)))
        try:
            return parse_target(text)
        except ConfigError as error:
            raise ConfigError(f"{self._name}:{self._number}: {error}") from None

    def _json(self, text: str) -> Iterable[Target]:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            self.skipped += 1
            return ()
        return self._record(record) if isinstance(record, dict) else ()

    def _record(self, record: dict[str, object]) -> Iterable[Target]:
        host = record.get("id.resp_h", record.get("dest_ip"))
        port = record.get("id.resp_p", record.get("dest_port"))
        transport = str(record.get("proto", "")).lower()
        try:
            number = int(str(port))
            ipaddress.ip_address(str(host))
        except ValueError:
            number = 0
        if transport not in ("tcp", "udp") or not 1 <= number <= 65535:
            self.skipped += 1
            return ()
        return (Target(str(host), number, Transport(transport)),)
