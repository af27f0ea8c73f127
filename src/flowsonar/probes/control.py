"""Hosts where everything answers: middleboxes, SYN proxies, tarpits and redirected networks.

A control connection goes to a high port that nobody is known to listen on. Where two of them are taken, what the host
says on other ports proves as little as what it says there: answers that are the same are a guess at most, and
endpoints that took a connection and told nothing are named for what they are.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from flowsonar.model import Answer, Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Transport
from flowsonar.probes.thrift import winner

__all__ = ["CONTROLS", "Controls", "Host", "taken"]

CONTROLS: Final = 2
"""Control connections that must be taken: one may have met a server."""
FORGET_S: Final = 600.0
"""What a host did is believed for this long."""
HOSTS: Final = 8192
"""Hosts remembered; the one asked first is forgotten first."""
PORTS: Final = (61000, 65535)
"""Above the ports that Linux gives to programs that ask for any (ip_local_port_range)."""
_TRIES: Final = 4
_GUESS: Final = Confidence.GUESS.rank
_NOT_TAKEN: Final = frozenset({Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.NOT_PERMITTED, Outcome.CANCELLED})


class Host:
    """What the control connections to one host did."""

    __slots__ = ("known_s", "left", "ports", "said")

    def __init__(self) -> None:
        self.left = CONTROLS  # control connections still to be made; 0: all were taken
        self.known_s: float | None = None  # since when it is known; None while it is being found out
        self.said: set[tuple[str | None, ...]] = set()
        self.ports: list[int] = []

    @property
    def everything(self) -> bool:
        """Every control connection was taken."""
        return self.known_s is not None and self.left == 0


class Controls:
    """What is known of hosts; pure bookkeeping, the prober makes the connections."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def host(self, address: str, now_s: float) -> Host | None:
        """What is known, or being found out, of a host; None where a control connection is to be made."""
        host = self._hosts.get(address)
        if host is not None and host.known_s is not None and now_s - host.known_s > FORGET_S:
            del self._hosts[address]
            return None
        return host

    def begin(self, address: str) -> Host:
        """A host is being found out about."""
        host = self._hosts[address] = Host()
        if len(self._hosts) > HOSTS:
            self._hosts.popitem(last=False)
        return host

    @staticmethod
    def port(address: str, pick: random.Random, permits: Callable[[Endpoint], str | None]) -> Endpoint | None:
        """Where the next control connection goes, or None where none may."""
        for _ in range(_TRIES):
            endpoint = Endpoint(Transport.TCP, address, pick.randint(*PORTS))
            if permits(endpoint) is None:
                return endpoint
        return None

    @staticmethod
    def answered(host: Host, answer: Answer, now_s: float) -> bool:
        """A control connection ended; True when another one is to be made."""
        if not taken(answer):
            host.known_s = now_s
            return False
        host.left -= 1
        host.said.add(_said(answer))
        host.ports.append(answer.endpoint.port)
        if host.left:
            return True
        host.known_s = now_s
        return False

    @staticmethod
    def weighed(host: Host, answer: Answer) -> Answer:
        """The answer of an endpoint of that host for what it is worth."""
        if not host.everything or not taken(answer):
            return answer
        told = winner(answer.evidence) is not None
        same = _said(answer) in host.said
        if told and not same:
            return answer
        where = " and ".join(map(str, host.ports))
        detail = f"everything answers: control connections to ports {where} were taken"
        if told:
            detail += ", and said the same"
        mark = Evidence(
            kind=EvidenceKind.BEHAVIOUR,
            service=None,
            confidence=Confidence.UNKNOWN,
            probe="control",
            signature="everything-answers",
            detail=detail,
        )
        return replace(answer, evidence=(*(_guessed(piece) for piece in answer.evidence), mark))


def taken(answer: Answer) -> bool:
    """Whether the connection stood."""
    return answer.endpoint.transport is Transport.TCP and answer.rtt_ms is not None and answer.outcome not in _NOT_TAKEN


def _said(answer: Answer) -> tuple[str | None, ...]:
    """What two answers are compared by: what was identified, or how nothing was."""
    won = winner(answer.evidence)
    if won is not None:
        return (won.service, won.over, won.product)
    return ("", answer.outcome.value)


def _guessed(piece: Evidence) -> Evidence:
    return piece if piece.confidence.rank <= _GUESS else piece._replace(confidence=Confidence.GUESS)
