"""Flows that other flows said would come: FTP data connections, later SDP and the like. Bounded, by time given in."""

from __future__ import annotations

from collections import OrderedDict

from flowsonar import limits
from flowsonar.model import Announcement, Evidence, FlowKey, Transport

__all__ = ["Announced"]

_Place = tuple[Transport, str, int]
"""Where a flow goes: transport, address and port of its responder."""

_SECOND_NS = 1_000_000_000


class Announced:
    """Announcements by the place they name, and which flow went to a place last.

    The latter is for announcements that come late: packets of two interfaces are not in one order.
    """

    def __init__(self) -> None:
        self._expected: OrderedDict[_Place, tuple[int, Announcement]] = OrderedDict()  # with the time it is void from
        # Two halves: the fuller one is let go as a whole, which costs a flow less than one by one.
        self._recent: dict[_Place, int] = {}
        self._recent_before: dict[_Place, int] = {}
        self.dropped = 0
        """Announcements that had to go before their time because there were too many."""

    def announce(self, announcement: Announcement, now_ns: int) -> int | None:
        """Expect a flow; gives the one that went there last, which may be the one that was meant."""
        place = (announcement.transport, announcement.responder_address, announcement.responder_port)
        self._expected[place] = (now_ns + limits.ANNOUNCEMENT_TTL_S * _SECOND_NS, announcement)
        self._expected.move_to_end(place)
        if len(self._expected) > limits.ANNOUNCEMENTS:
            self._expected.popitem(last=False)
            self.dropped += 1
        return self._recent.get(place, self._recent_before.get(place))

    def opened(self, key: FlowKey, flow: int, *, midstream: bool, now_ns: int) -> Evidence | None:
        """Take a new flow; gives the evidence when it was announced."""
        place = (key.transport, key.responder_address, key.responder_port)
        self._recent[place] = flow
        if len(self._recent) >= limits.RECENT_FLOWS:
            self._recent, self._recent_before = {}, self._recent
        if place in self._expected or (self._expected and (midstream or key.transport is Transport.UDP)):
            return self.find(key, midstream=midstream, now_ns=now_ns)
        return None

    def find(self, key: FlowKey, *, midstream: bool, now_ns: int) -> Evidence | None:
        """Evidence of the announcement that fits a flow; of one picked up in the middle, either side may serve."""
        place = (key.transport, key.responder_address, key.responder_port)
        found = self._expected.get(place)
        if found is not None and now_ns <= found[0] and found[1].initiator_address in (None, key.initiator_address):
            return found[1].evidence
        place = (key.transport, key.initiator_address, key.initiator_port)
        found = self._expected.get(place)
        if found is None or now_ns > found[0] or not (midstream or found[1].sends):
            return None
        return found[1].evidence if found[1].initiator_address in (None, key.responder_address) else None
