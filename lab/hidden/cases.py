"""Who shares with whom, and how: pairs of clients in their modes, and the phases in which they are watched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["PAIRS", "PHASES", "Client", "Encryption", "Pair", "Phase", "Seen", "Transports"]


class Encryption(StrEnum):
    """How a client takes message stream encryption."""

    OFF = "off"
    """transmission cannot refuse it: it prefers clear."""
    PREFERRED = "preferred"
    REQUIRED = "required"


class Transports(StrEnum):
    """What a client connects by, and is reached by."""

    BOTH = "both"
    TCP = "tcp"
    UTP = "utp"


@dataclass(frozen=True, slots=True)
class Client:
    """A program in one mode."""

    kind: str
    encryption: Encryption = Encryption.REQUIRED
    transport: Transports = Transports.TCP
    dht: bool = False

    def __str__(self) -> str:
        """As it is printed."""
        words = [self.kind, str(self.encryption), str(self.transport)]
        return " ".join(words + ["dht"] * self.dht)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A client that has the files and one that fetches them."""

    seed: Client
    leech: Client
    torrents: int = 1
    nat: bool = False
    """The seed is behind NAT, with a forwarded port."""
    quick: bool = False
    """Part of `--quick`."""

    @property
    def name(self) -> str:
        """As it is printed."""
        more = (", NAT" if self.nat else "") + (f", {self.torrents} torrents" if self.torrents > 1 else "")
        return f"{self.leech} - {self.seed}{more}"


_OFF, _PREFERRED, _REQUIRED = Encryption
_BOTH, _TCP, _UTP = Transports

PAIRS: tuple[Pair, ...] = (
    Pair(leech=Client("libtorrent"), seed=Client("libtorrent"), quick=True),
    Pair(leech=Client("libtorrent", _REQUIRED, _UTP), seed=Client("libtorrent", _REQUIRED, _UTP), quick=True),
    Pair(leech=Client("transmission"), seed=Client("libtorrent"), quick=True),
    Pair(leech=Client("aria2"), seed=Client("transmission"), quick=True),
    Pair(leech=Client("qbittorrent"), seed=Client("libtorrent"), torrents=3),
    Pair(leech=Client("rtorrent"), seed=Client("rtorrent"), quick=True),
    Pair(leech=Client("libtorrent"), seed=Client("aria2")),
    Pair(leech=Client("deluge", _REQUIRED, _BOTH), seed=Client("qbittorrent", _REQUIRED, _UTP)),
    Pair(leech=Client("transmission", _REQUIRED, _BOTH), seed=Client("transmission", _REQUIRED, _BOTH)),
    Pair(leech=Client("libtorrent"), seed=Client("libtorrent"), torrents=3),
    Pair(leech=Client("libtorrent"), seed=Client("transmission"), nat=True, quick=True),
    Pair(leech=Client("transmission", _REQUIRED, _BOTH), seed=Client("libtorrent", _REQUIRED, _UTP), nat=True),
    Pair(
        leech=Client("libtorrent", _REQUIRED, _BOTH, dht=True), seed=Client("transmission", _REQUIRED, _BOTH, dht=True)
    ),
    Pair(leech=Client("aria2", _REQUIRED, _TCP, dht=True), seed=Client("libtorrent", _REQUIRED, _TCP, dht=True)),
    Pair(leech=Client("deluge", _PREFERRED, _BOTH, dht=True), seed=Client("rtorrent", _PREFERRED, _TCP, dht=True)),
    Pair(leech=Client("qbittorrent", _PREFERRED, _BOTH), seed=Client("deluge", _PREFERRED, _BOTH)),
    Pair(leech=Client("rtorrent", _PREFERRED), seed=Client("aria2", _PREFERRED)),
    Pair(leech=Client("qbittorrent", _OFF, _TCP), seed=Client("libtorrent", _OFF, _TCP), quick=True),
    Pair(leech=Client("libtorrent", _OFF, _UTP), seed=Client("qbittorrent", _OFF, _UTP)),
    Pair(leech=Client("rtorrent", _OFF), seed=Client("transmission", _OFF, _BOTH, dht=True)),
    Pair(leech=Client("aria2", _OFF), seed=Client("deluge", _OFF, _BOTH)),
)


class Seen(StrEnum):
    """Which directions flowsonar sees."""

    BOTH = "both directions"
    TO_SEED = "to the seed only"
    FROM_SEED = "from the seed only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One run of flowsonar beside all pairs, with nothing known from before."""

    name: str
    title: str
    begins: bool = False
    """The transfers begin under its eyes; else they have long begun."""
    seen: Seen = Seen.BOTH
    quick: bool = False
    """Part of `--quick`."""


PHASES: tuple[Phase, ...] = (
    Phase(name="start", title="from the first packet", begins=True, quick=True),
    Phase(name="middle", title="picked up mid-transfer", quick=True),
    Phase(name="middle-to", title="mid-transfer, only what goes to the left seen", seen=Seen.TO_SEED),
    Phase(name="middle-from", title="mid-transfer, only what comes from the left seen", seen=Seen.FROM_SEED),
    Phase(name="start-one-way", title="from the first packet, one direction only", begins=True, seen=Seen.TO_SEED),
)
