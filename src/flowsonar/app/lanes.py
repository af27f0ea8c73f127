"""The fast lane: most flows of a capture are followed in C, from first packet to JSON line.

What the table sees of a flow is a path of keys (`_native/classify.c`): which patterns hold, who spoke, what the codecs
found. Where it does not know what a path means it gives the flow's events to Python (`learning`), which tells it. The
Python side is made when it is needed first: a capture whose flows are all of known paths does without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from flowsonar import _native
from flowsonar.app.remembered import Remembered
from flowsonar.flows.events import FlowEvent
from flowsonar.flows.table import FlowTable
from flowsonar.model import Block, FlowRecord

if TYPE_CHECKING:
    from flowsonar.app.learning import Teacher
    from flowsonar.passive import PassiveReader
    from flowsonar.verdicts.tracker import Tracker

__all__ = ["FRAME_BYTES", "LaneTable", "Lanes", "interface_text", "lanes_wanted", "worth_keeping"]

FRAME_BYTES: Final = 24
_STEPS_WORTH_KEEPING: Final = 1000
"""They take about a millisecond, as writing the file does."""
_Taken = tuple[int, list[FlowEvent], list[int] | None, bytes, list[int], list[int]]


class LaneTable(FlowTable, Protocol):
    """A flow table with a fast lane (`_native/binding_lane.c`).

    `feed_lanes` and the like give: how far they came (for the others: whether they are done), events, beside each
    event the node whose meaning is to be told (or None where there are none), lines of flows that ended, where
    among them the record of each `Closed` belongs (-1: nowhere, the flow is another share's), and where flows are
    shared out the ordinal of each line and record.
    """

    def feed_lanes(self, data: Any, frames: bytes, done: int, /) -> _Taken:
        """Feed frames from number `done` on, until all are done or Python has to look at the events first."""
        ...

    def finish_lanes(self) -> _Taken:
        """Close flows; call again until done."""
        ...

    def expire_lanes(self, now_ns: int, /) -> _Taken:
        """Close what is idle at this time; call again until done."""
        ...

    def live(self, clock_ns: int, life_s: int, /) -> None:
        """From now on flows begin with what is known of their endpoints and are told of before their end.

        By this clock, until the next call; `life_s` is how long is believed what a responder proved.
        """
        ...

    def add_known(self, mark: bytes, responder: int, midstream: int, initiator: int, /) -> int:
        """A kind of knowledge, by 16 bytes that stand for it, and the verdicts that are told by it; its number."""
        ...

    def know(self, address: bytes, port: int, protocol: int, number: int, until_s: int, renew_s: int, /) -> None:
        """What is known of an endpoint until a time, 0 for nothing; before `renew_s` nothing equal is heard of it."""
        ...

    def teach(self, verdict: int, number: int, /) -> None:
        """Flows with this verdict prove what their responder is."""
        ...

    def ask(self, networks: bytes, /) -> None:
        """Endpoints in these networks may be asked: `_native/askable.h` says how each is written."""
        ...

    def leave(self, address: bytes, port: int, protocol: int, until_s: int, /) -> None:
        """An endpoint is not asked until a time, in seconds since the epoch, or until `know` is called."""
        ...

    def settle(self, verdict: int, /) -> None:
        """Flows with this verdict are not asked about."""
        ...

    def heard(self) -> list[tuple[bytes, int, int, int, bytes]]:
        """What responders proved since the last call: address, port, protocol, verdict, and perhaps their words."""
        ...

    def watch(self, address: bytes, /) -> _Taken:
        """Flows of a host take the slow lane, those of the last seconds too; call again until done."""
        ...

    def learn(self, node: int, flags: int, verdict: int, /) -> None:
        """What a node means, and the verdict of flows that end there."""
        ...

    def add_verdict(self, text: bytes, /) -> int:
        """Keep a verdict's text with holes (`outputs.eve.verdict_template`)."""
        ...

    def set_interfaces(self, texts: tuple[bytes, ...], /) -> None:
        """What lines say of interfaces."""
        ...

    def write_whole(self) -> None:
        """Lines have all that a record is made of (`outputs.decode`)."""
        ...

    def doubt(self) -> None:
        """TCP flows whose bytes nobody knows need Python from now on."""
        ...

    def holding(self, udp: bool, data: bytes, low_port: int, high_port: int, names: bool, /) -> list[int] | None:
        """Numbers of the rules that hold, below zero (-1 is the first) those that may; None: nobody knows."""
        ...

    def keep(self) -> bytes:
        """What was learned, for another table with the same patterns."""
        ...

    def recall(self, kept: bytes, /) -> bool:
        """Take what another table kept, before the first packet; False where it is not well-formed."""
        ...

    def share(self, share: int, shares: int, slow: bool, /) -> None:
        """Take one of several shares of the flows only, before the first packet; `slow`: all in the slow lane."""
        ...

    def lane_counts(self) -> dict[str, int]:
        """Sums since the beginning."""
        ...


def lanes_wanted() -> bool:
    """Whether there can be a fast lane: the C core is there, and `FLOWSONAR_LANES=skip` is not set."""
    return _native.core is not None and os.environ.get("FLOWSONAR_LANES") != "skip"


class Lanes:
    """One capture's table, with its tracker."""

    def __init__(
        self, table: LaneTable, python: Callable[[], tuple[Tracker, PassiveReader]], interfaces: list[str]
    ) -> None:
        """`python` makes the Python side."""
        self.table = table
        self._python = python
        self._teacher: Teacher | None = None
        self._interfaces = interfaces
        self._told: list[str] | None = None  # the interfaces that the table knows of
        self.ordinals: list[int] = []
        """Where flows are shared out: of the records given, their places among those of all shares. For the caller."""

    @property
    def tracker(self) -> Tracker | None:
        """The Python side's, where it was needed."""
        return None if self._teacher is None else self._teacher.tracker

    def feed(self, block: Block) -> list[bytes | FlowRecord]:
        """Feed a block; the flows that ended, in order: lines of the fast lane, some at a time, and others' records."""
        if self._told != self._interfaces:
            self._told = list(self._interfaces)
            self.table.set_interfaces(tuple(interface_text(name) for name in self._told))
        data, frames = block
        count, done = len(frames) // FRAME_BYTES, 0
        ended: list[bytes | FlowRecord] = []
        while done < count:
            done, events, nodes, text, places, ordinals = self.table.feed_lanes(data, frames, done)
            if events:
                self._take(events, nodes)
            self.ordinals += ordinals
            ended += self._ended(text, places)
        return ended

    def finish(self) -> Iterator[list[bytes | FlowRecord]]:
        """Close everything, some at a time; gives what `feed` gives."""
        done = 0
        while not done:
            done, events, nodes, text, places, ordinals = self.table.finish_lanes()
            if events:
                self._take(events, nodes)
            self.ordinals += ordinals
            yield self._ended(text, places)

    def _ended(self, text: bytes, places: list[int]) -> list[bytes | FlowRecord]:
        """Put the tracker's records among the lines; it makes one of each `Closed`."""
        if not places:
            return [text] if text else []
        tracker = self._take([], None)
        records, tracker.records = tracker.records, []
        assert len(records) == len(places)
        found: list[bytes | FlowRecord] = []
        at = 0
        for place, record in zip(places, records, strict=True):
            if place < 0:
                continue
            if place > at:
                found.append(text[at:place])
                at = place
            found.append(record)
        if at < len(text):
            found.append(text[at:])
        return found

    def close(self) -> None:
        """Let go of the table at once: a run may be over many captures, and theirs are large."""
        if self._teacher is not None:
            self._teacher.close()

    def counts(self) -> dict[str, int]:
        """The tracker's counts, with the fast lane's."""
        counts = self.table.lane_counts()
        slow = {} if self._teacher is None else self._teacher.tracker.counts
        return {**slow, **counts, "flows": slow.get("flows", 0) + counts["lane_flows"] - counts["lane_lent"]}

    def remember(self, remembered: Remembered) -> None:
        """Keep what was learned, where anything was, or where it was much that the patterns met for the first time."""
        if worth_keeping(self.table):
            remembered.keep(self.table.keep())

    def _take(self, events: list[FlowEvent], nodes: list[int] | None) -> Tracker:
        if self._teacher is None:
            from flowsonar.app.learning import Teacher

            self._teacher = Teacher(self.table, *self._python())
        self._teacher.take(events, nodes)
        return self._teacher.tracker


def worth_keeping(table: LaneTable) -> bool:
    """Whether a table has learned anything, or its patterns have met much for the first time."""
    counts = table.lane_counts()
    return bool(counts["lane_learned"]) or counts["lane_steps"] > _STEPS_WORTH_KEEPING


def interface_text(name: str) -> bytes:
    """The member of a line that names an interface, as `outputs.eve` writes it; nothing where it has no name."""
    if not name:
        return b""
    from json.encoder import encode_basestring_ascii as quoted

    return f'"in_iface":{quoted(name)},'.encode("ascii")
