"""Conversations side by side against servers made of a few lines, in simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from flowsonar.model import Outcome
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
    Nudge,
    Part,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
)

__all__ = ["Said", "Server", "Simulation"]

Said = tuple[float, bytes | None]
"""After how many seconds: bytes, or None for the end of the connection."""


class Server:
    """What one connection does; `others` of the same address stand already."""

    def __init__(self, others: int = 0) -> None:
        self.heard, self.others = b"", others

    def takes(self, data: bytes) -> list[Said]:
        self.heard += data
        return self.does(data)

    def does(self, data: bytes) -> list[Said]:
        return []


class Channel:
    """One conversation of the simulation."""

    def __init__(self, talk: Talk[object], parent: Channel | None) -> None:
        self.talk, self.parent = talk, parent
        self.children: list[Channel] = []
        self.server: Server | None = None
        self.coming: list[tuple[float, int, bytes | None]] = []
        self.said_s = 0.0
        self.ended = self.over = self.news = False
        self.wake: tuple[float, type] | None = None


class Simulation:
    """Runs conversations side by side against servers that `make` makes, one a connection, a round trip away."""

    def __init__(self, make: Callable[[int], Server], *, trip_s: float = 0.0001) -> None:
        self._make, self._trip_s, self._now_s, self._serial = make, trip_s, 0.0, count()
        self._channels: list[Channel] = []
        self.connections = 0

    def run(self, talk: Talk[object]) -> None:
        main = self._begin(talk, None)
        for _ in range(100_000):
            if main.over:
                return
            channel, when_s = min(
                ((one, self._due(one)) for one in self._channels if not one.over and one.wake), key=lambda item: item[1]
            )
            self._now_s = max(self._now_s, when_s)
            self._go_on(channel, self._event(channel))
        raise AssertionError("a conversation without end")

    def _begin(self, talk: Talk[object], parent: Channel | None) -> Channel:
        channel = Channel(talk, parent)
        self._channels.append(channel)
        self._go_on(channel, None)
        return channel

    def _due(self, channel: Channel) -> float:
        assert channel.wake is not None
        due_s, _ = channel.wake
        if channel.news and channel.wake[1] is Attend:
            return self._now_s
        if channel.coming or channel.ended:
            due_s = min(due_s, channel.coming[0][0] if channel.coming else self._now_s)
        return due_s

    def _event(self, channel: Channel) -> Event:
        assert channel.wake is not None
        waits, channel.wake = channel.wake[1], None
        readable = channel.ended or bool(channel.coming and channel.coming[0][0] <= self._now_s)
        if waits is Connect:
            return Connected(self._now_s, self._trip_s, "10.0.0.1", 40000)
        if waits is Attend:
            channel.news = False
            return Attended(self._now_s, readable)
        if channel.coming and readable and not channel.ended:
            data = heapq.heappop(channel.coming)[2]
            if data is not None:
                return Received(self._now_s, data)
            channel.ended = True
        if channel.ended:
            under_way = self._now_s < channel.said_s + self._trip_s
            return Ended(self._now_s, Outcome.CLOSED, unacknowledged=under_way)
        return TimedOut(self._now_s)

    def _go_on(self, channel: Channel, event: Event | None) -> None:
        try:
            command = next(channel.talk) if event is None else channel.talk.send(event)
            while (answer := self._do(channel, command)) is not None:
                command = channel.talk.send(answer)
        except StopIteration:
            self._end(channel)

    def _end(self, channel: Channel) -> None:
        for child in channel.children:
            if not child.over:
                child.talk.close()
                self._end(child)
        channel.over, channel.server = True, None
        if channel.parent is not None:
            channel.parent.news = True

    def _do(self, channel: Channel, command: Command) -> Event | None:
        self._now_s += 1e-5
        match command:
            case Connect():
                others = sum(one.server is not None for one in self._channels if one is not channel)
                channel.server, channel.coming, channel.ended = self._make(others), [], False
                self.connections += 1
                channel.wake = (self._now_s + self._trip_s, Connect)
                return None
            case Send(data=data):
                assert channel.server is not None
                channel.said_s = self._now_s
                for after_s, said in channel.server.takes(data):
                    heapq.heappush(channel.coming, (self._now_s + self._trip_s + after_s, next(self._serial), said))
                return Sent(self._now_s)
            case Close():
                channel.server, channel.coming, channel.ended = None, [], False
                return Closed(self._now_s)
            case Beside(talk=talk):
                channel.children.append(self._begin(talk, channel))
                return Begun(self._now_s)
            case Nudge():
                for one in (*channel.children, channel.parent):
                    if one is not None and not one.over:
                        one.news = True
                        if one.wake is not None and one.wake[1] is Attend:
                            self._go_on(one, self._event(one))
                return Begun(self._now_s)
            case Part():
                for child in channel.children:
                    if not child.over:
                        child.talk.close()
                        self._end(child)
                return Closed(self._now_s)
        channel.wake = (self._now_s + command.seconds, type(command))
        return None
