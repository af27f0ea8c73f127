"""What the tests of the flow table share."""

from collections.abc import Sequence
from typing import TypeVar

from flowsonar.flows.events import FlowEvent
from flowsonar.flows.table import FlowTable
from tests.flows.frames import CLIENT, SERVER, START, Frame, block, ethernet, ipv4, udp


def feed(table: FlowTable, frames: Sequence[Frame]) -> list[FlowEvent]:
    return table.feed(block(frames))


T = TypeVar("T")


def of(kind: type[T], events: list[FlowEvent]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


STUN = b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(range(12))
"""A request without attributes (RFC 8489 section 5)."""


def datagram(payload: bytes = b"x", port: int = 1000, *, back: bool = False, time_ns: int = START) -> Frame:
    if back:
        return Frame(ethernet(ipv4(udp(payload, 53, port), 17, SERVER, CLIENT)), time_ns)
    return Frame(ethernet(ipv4(udp(payload, port, 53), 17)), time_ns)
