"""What a tool says of one endpoint, in the words of flowsonar, and whether it is true."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowsonar.signatures import load_signatures
from lab.services.base import Service
from lab.truth import Judgement, Kind, judge

__all__ = ["NOTHING", "Names", "Said", "judged", "product_right", "version_right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One tool's word on one endpoint."""

    service: str | None = None
    over: str | None = None
    product: str | None = None
    version: str | None = None
    confidence: str = ""
    ms: float | None = None
    """How long it took; None where that is not known."""
    tries: int = 0
    """Connections and datagrams."""
    bytes_sent: int = 0
    certificate: str = ""
    """What it says of the certificate, and whether TLS began in the middle of the conversation (`STARTTLS`)."""
    text: str = ""
    """As the tool says it, where that differs."""

    def __str__(self) -> str:
        """As it is printed: the tool's own words where there are any."""
        if self.text:
            return self.text
        if self.service is None:
            return "unknown"
        return f"{self.service} over {self.over}" if self.over else self.service


NOTHING = Said()

_OTHERS: Mapping[str, tuple[str | None, str | None]] = {
    "https": ("http", "tls"),
    "imaps": ("imap", "tls"),
    "pops": ("pop3", "tls"),
    "pop3s": ("pop3", "tls"),
    "smtps": ("smtp", "tls"),
    "ftps": ("ftp", "tls"),
    "ldaps": ("ldap", "tls"),
    "ircs": ("irc", "tls"),
    "ssl": ("tls", None),
    "ssl/tls": ("tls", None),
    "domain": ("dns", None),
    "ftp_control": ("ftp", None),
    "http_proxy": ("http", None),
    "http-proxy": ("http", None),
    "unknown": (None, None),
    "tcpwrapped": (None, None),
    "": (None, None),
}
"""Names of nmap and nDPI that say two things at once, or nothing; the rest are the signatures' aliases."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


class Names:
    """Other tools' names of services as ours: by service name and alias, whatever their case and dashes."""

    def __init__(self, services: Mapping[str, tuple[str, ...]], parents: Mapping[str, str] | None = None) -> None:
        self.parents = dict(parents or {})
        """Service to the service whose protocol it speaks."""
        self._ours = {_plain(service): service for service in services}
        for service, aliases in services.items():
            for alias in aliases:
                self._ours.setdefault(_plain(alias), service)

    @classmethod
    def load(cls) -> Names:
        """The names of flowsonar's own signatures."""
        loaded = load_signatures().services
        parents = {name: parent for name, one in loaded.items() if (parent := getattr(one, "parent", None))}
        return cls({name: one.aliases for name, one in loaded.items()}, parents)

    def ours(self, name: str) -> tuple[str | None, str | None]:
        """Service and `over` of another tool's name; a name that is not known stays as it is."""
        lower = name.lower()
        if lower in _OTHERS:
            return _OTHERS[lower]
        return self._ours.get(_plain(name), lower), None


def judged(service: Service, said: Said, parents: Mapping[str, str]) -> Judgement:
    """Compare what was said with the truth; the parent's name (`http` of Elasticsearch) is true but not all of it."""
    if service.truth.kind in {Kind.IMPOSTOR, Kind.BANNER} and said.confidence in {"guess", "unknown"}:
        return Judgement.RIGHT
    found = judge(service.truth, said.service, said.over)
    if found is not Judgement.WRONG or said.service is None:
        return found
    if said.over is None and said.service in service.truth.over:
        return Judgement.OUTSIDE  # `quic` of what runs inside
    parent = parents.get(service.truth.service or "")
    if said.service == parent and (said.over in service.truth.over or said.over is None):
        return Judgement.OUTSIDE
    if said.service == service.truth.service and said.over is None and None not in service.truth.over:
        return Judgement.OUTSIDE  # what runs inside is right, and the layer is not told
    return Judgement.WRONG


def product_right(service: Service, said: Said) -> bool:
    """Whether the product is named as it names itself (`|` between several names), or a name that contains it."""
    if service.product is None or not said.product:
        return False
    theirs = _plain(said.product)
    return any((ours := _plain(one)) in theirs or theirs in ours for one in service.product.split("|"))


def version_right(service: Service, said: Said) -> bool:
    """Whether the version is the true one, or its beginning, or the true one with more behind it."""
    if service.version is None or not said.version:
        return False
    return any(_begins_alike(_numbers(one), _numbers(said.version)) for one in service.version.split("|"))


def _begins_alike(ours: list[str], theirs: list[str]) -> bool:
    shorter = min(len(ours), len(theirs))
    return shorter > 0 and ours[:shorter] == theirs[:shorter]


def _numbers(text: str) -> list[str]:
    return re.findall(r"[0-9]+", text)
