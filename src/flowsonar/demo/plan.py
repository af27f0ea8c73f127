"""What the demonstration runs and what is true of it: services, impostors, and the judgement of each label."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from flowsonar.demo.namespaces import SERVERS
from flowsonar.probes.scope import NEVER_PORTS

__all__ = [
    "FTP_PASSWORD",
    "FTP_USER",
    "OPTIONAL",
    "Judgement",
    "Plan",
    "Planned",
    "find_program",
    "judge",
    "label_of",
    "make_plan",
]


OPTIONAL = frozenset({"redis", "nginx"})
"""Programs of the machine: left out where they do not start."""
FTP_USER, FTP_PASSWORD = "demo", "demo"
"""Inside a namespace that nobody else sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One service and what a right label for its flows is."""

    key: str
    """Which server and client code runs it."""
    title: str
    """For people."""
    address: str
    port: int
    transport: str = "tcp"
    service: str | None = None
    """The truth; None for an impostor: nobody could say what it is."""
    over: str | None = None
    """The layer that it runs inside, where it does."""
    also: tuple[str, ...] = ()
    """Other right answers, where the truth has two names."""
    last_port: int = 0
    """End of a range of ports, for data connections; 0 for a single port."""

    @property
    def truth(self) -> str:
        """The truth as a label."""
        return _label(self.service, self.over)

    def covers(self, transport: str, address: str, port: int) -> bool:
        """Whether an endpoint is this service."""
        same = (self.transport, self.address) == (transport, address)
        return same and self.port <= port <= max(self.port, self.last_port)


class Judgement(StrEnum):
    """How a label stands to the truth."""

    RIGHT = "right"
    PARTLY = "partly"
    """The layer is right, what is inside it is not known yet: TLS for HTTPS."""
    MISSED = "missed"
    """A service that was not recognised."""
    WRONG = "wrong"
    """A label that is not true."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All services of one run."""

    planned: tuple[Planned, ...]

    def truth_of(self, record: Mapping[str, Any]) -> Planned | None:
        """The planned service that a flow record belongs to, by its responder or, for active FTP, its initiator."""
        transport = str(record.get("proto", "")).lower()
        for address, port in (("dest_ip", "dest_port"), ("src_ip", "src_port")):
            endpoint = (transport, str(record.get(address)), int(record.get(port) or 0))
            for planned in self.planned:
                if planned.covers(*endpoint):
                    return planned
        return self._active_data(transport, str(record.get("src_ip")))

    def _active_data(self, transport: str, source: str) -> Planned | None:
        """Connections that an FTP server opens are data connections, whatever their ports."""
        if transport != "tcp":
            return None
        data = (planned for planned in self.planned if planned.last_port and planned.address == source)
        return next(data, None)

    def without(self, keys: Set[str]) -> Plan:
        """The plan without the services that the code for `keys` runs."""
        return Plan(tuple(planned for planned in self.planned if planned.key not in keys))

    def find(self, key: str) -> list[Planned]:
        """The services that the code for `key` runs."""
        return [planned for planned in self.planned if planned.key == key]

    def to_json(self) -> list[dict[str, Any]]:
        """As plain values, for the worker processes."""
        return [asdict(planned) for planned in self.planned]

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> Plan:
        """The inverse of `to_json`."""
        return cls(tuple(Planned(**{**item, "also": tuple(item["also"])}) for item in items))


def find_program(name: str) -> str | None:
    """Path of a program of the machine; servers live in sbin, which users often do not have in their PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def _label(service: str | None, over: str | None) -> str:
    return f"{service or 'unknown'}/{over}" if over else service or "unknown"


def label_of(record: Mapping[str, Any]) -> str:
    """A record's label as text: `http/tls` for HTTP inside TLS."""
    ours = record.get("flowsonar") or {}
    return _label(ours.get("service"), ours.get("over"))


def judge(planned: Planned, record: Mapping[str, Any]) -> Judgement:
    """Compare a record's label with the truth. A guess is no label: it never shapes anything."""
    ours = record.get("flowsonar") or {}
    service = ours.get("service")
    if service is None or ours.get("confidence") in {"unknown", "guess"}:
        return Judgement.RIGHT if planned.service is None else Judgement.MISSED
    if planned.service is None:
        return Judgement.WRONG
    if service == planned.over:
        return Judgement.PARTLY
    if service in planned.also:
        return Judgement.RIGHT
    right = service == planned.service and planned.over in {None, ours.get("over")}
    return Judgement.RIGHT if right else Judgement.WRONG


def _askable(port: int) -> bool:
    """Whether no rule forbids to ask it: a control system's port would leave its service unknown."""
    return not any(never.first <= port <= never.last for never in NEVER_PORTS)


def make_plan(chance: random.Random, *, ipv6: bool = True) -> Plan:
    """Put every service on an address of its own and a random port; SSH takes 443, since ports prove nothing."""
    ports = iter(chance.sample([port for port in range(10_000, 30_000) if _askable(port)], 40))
    hosts = iter(range(10, 100))
    planned: list[Planned] = []

    def add(key: str, title: str, service: str | None, *, host: int | None = None, port: int = 0, **more: Any) -> None:
        number = next(hosts) if host is None else host
        address = SERVERS.address6(number) if more.pop("six", False) else SERVERS.address4(number)
        planned.append(
            Planned(key=key, title=title, service=service, address=address, port=port or next(ports), **more)
        )

    add("http", "HTTP: Python http.server", "http")
    if ipv6:
        add("http", "HTTP over IPv6", "http", six=True)
    add("https", "HTTPS: Python http.server", "http", over="tls")
    for six in (False, True) if ipv6 else (False,):
        host, first = next(hosts), 40_000 + 100 * chance.randrange(100)
        version = " over IPv6" if six else ""
        add("ftp", f"FTP: pyftpdlib{version}", "ftp", host=host, six=six)
        add("ftp", f"FTP data{version}", "ftp", host=host, six=six, port=first, last_port=first + 20,
            also=("ftp-data",))  # fmt: skip
    host = next(hosts)
    add("ftps", "FTP with AUTH TLS", "ftp", host=host)
    first = 52_000 + 100 * chance.randrange(80)
    add("ftps", "FTP data inside TLS", "tls", host=host, port=first, last_port=first + 20,
        also=("ftp", "ftp-data"))  # fmt: skip
    add("smtp", "SMTP: aiosmtpd", "smtp")
    add("ssh", "SSH on port 443: asyncssh", "ssh", port=443)
    host, port = next(hosts), next(ports)
    add("dns", "DNS over UDP: dnslib", "dns", host=host, port=port, transport="udp")
    add("dns", "DNS over TCP: dnslib", "dns", host=host, port=port)
    add("echo", "Echo", "echo")
    host, port = next(hosts), next(ports)
    add("skype", "Skype stand-in over UDP", "skype", host=host, port=port, transport="udp")
    add("skype", "Skype stand-in over TCP", "skype", host=host, port=port)
    if find_program("redis-server"):
        add("redis", "Redis: redis-server", "redis")
    if find_program("nginx"):
        add("nginx", "HTTP: nginx", "http")
    add("silent", "Impostor: silent", None)
    add("random", "Impostor: random bytes", None)
    add("silent-udp", "Impostor: silent, UDP", None, transport="udp")
    add("random-udp", "Impostor: random bytes, UDP", None, transport="udp")
    return Plan(tuple(planned))
