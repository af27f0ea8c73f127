"""Servers that play one recorded reply of a service, whoever asks what: as a greeting, or as the answer to everything.

`Player` is the other side of a conversation without sockets. What it plays may be changed (`CHANGES`): other digits, an
end at a random place, one bit.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import NamedTuple

from flowsonar.model import Answer, Confidence, Endpoint, Outcome, Question, Transport
from flowsonar.probes.dialogue import (
    Attend,
    Attended,
    Begun,
    Beside,
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Part,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
    Wait,
)
from flowsonar.probes.session import Session
from tests.hostile.fuzzed import MOST_COMMANDS, SETTINGS, matcher, planner, services
from tests.hostile.servers import Behaviour

__all__ = ["CHANGES", "WAYS", "Played", "Player", "claims", "plays", "recorded", "sounded"]

WAYS = ("greets", "greets and ends", "answers", "answers and ends")
"""When a player says its reply: before anything is asked, or to every question."""
_RTT_S = 0.0005


def _digits(pick: random.Random, data: bytes) -> bytes:
    return bytes(pick.choice(b"0123456789") if byte in b"0123456789" else byte for byte in data)


def _cut(pick: random.Random, data: bytes) -> bytes:
    return data[: pick.randrange(1, len(data) + 1)]


def _bit(pick: random.Random, data: bytes) -> bytes:
    at = pick.randrange(len(data) * 8)
    return data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]


CHANGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "as recorded": lambda _, data: data, "other digits": _digits, "cut": _cut, "one bit": _bit,
}  # fmt: skip


class Played(NamedTuple):
    """One reply that is played."""

    service: str
    data: bytes
    source: str


def recorded() -> list[Played]:
    """Every reply over TCP of every signature's examples, once."""
    found = {}
    for name, one in services().services.items():
        for example in one.examples:
            if example.to is None or not example.matches or example.transport is not Transport.TCP:
                continue
            for data in example.replies or (example.data,):
                if data:
                    found.setdefault((name, data), Played(name, data, example.source or ""))
    return list(found.values())


class Player:
    """Every connection is the same."""

    def __init__(self, data: bytes, way: str) -> None:
        self.now_s = 100.0
        self.commands = 0
        self._data = data
        self._way = way
        self._opened = 0
        self._waiting = b""
        self._ended = False
        self._beside: list[Talk[object]] = []

    def do(self, command: Command) -> Event:
        """Do one command; what comes of it."""
        self.commands += 1
        match command:
            case Connect():
                self._opened += 1
                self.now_s += _RTT_S
                self._ended = False
                self._waiting = self._data if self._way.startswith("greets") else b""
                return Connected(self.now_s, _RTT_S, "10.0.0.1", 1024 + self._opened)
            case Send():
                if self._way.startswith("answers"):
                    self._waiting += self._data
                return Sent(self.now_s)
            case Wait(seconds=seconds):
                if self._waiting:
                    self.now_s += min(seconds, _RTT_S)
                    data, self._waiting = self._waiting, b""
                    self._ended = self._way.endswith("ends")
                    return Received(self.now_s, data)
                if self._ended:
                    return Ended(self.now_s, Outcome.CLOSED)
                self.now_s += seconds
                return TimedOut(self.now_s)
            case Beside(talk=talk):
                self._beside.append(talk)
                return Begun(self.now_s)
            case Attend(seconds=seconds):
                return self._attend(seconds)
            case Part():
                for talk in self._beside:
                    talk.close()
                self._beside.clear()
                return Closed(self.now_s)
            case Close():
                return Closed(self.now_s)

    def _attend(self, seconds: float) -> Event:
        if not self._beside:
            self.now_s += seconds
            return Attended(self.now_s)
        talk, standing = self._beside.pop(0), (self._waiting, self._ended)
        try:
            command = next(talk)
            while self.commands < MOST_COMMANDS:
                command = talk.send(self.do(command))
        except StopIteration:
            self._waiting, self._ended = standing
        return Attended(self.now_s)


def sounded(data: bytes, way: str, port: int = 23457) -> Answer:
    """The answer about an endpoint that plays `data`."""
    player = Player(data, way)
    session = Session(
        Question(endpoint=Endpoint(Transport.TCP, "10.0.0.9", port)), signatures=services(), matcher=matcher(),
        settings=SETTINGS, planner=planner(), now_s=player.now_s, pick=random.Random(1),
    )  # fmt: skip
    talk = session.talk()
    try:
        command = next(talk)
        while player.commands < MOST_COMMANDS:
            command = talk.send(player.do(command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    raise AssertionError(f"a conversation without end: {data[:60]!r}")


def claims(answer: Answer, least: Confidence) -> frozenset[str]:
    """Services that the answer claims at this confidence or above."""
    return frozenset(one.service for one in answer.evidence if one.service and one.confidence.rank >= least.rank)


def plays(data: bytes, way: str) -> Behaviour:
    """The same on a real socket, for `servers.Farm`."""

    def behave(connection: socket.socket) -> None:
        connection.settimeout(4.0)
        if way.startswith("greets"):
            connection.sendall(data)
            if way.endswith("ends"):
                return
        for _ in range(50):
            if not connection.recv(65536):
                return
            if way.startswith("answers"):
                connection.sendall(data)
                if way.endswith("ends"):
                    return

    return behave
