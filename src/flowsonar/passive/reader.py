"""What a flow shows by itself: its first bytes against all signatures, hellos, dialogues, sequences, names.

Each side's first bytes go through the matcher. What a client says alone is `likely` at most: it says what is asked
for, and an echo server or a silent port can stand on the other side. The server's answer makes it `confirmed`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Announcement, Evidence, Side, Transport
from flowsonar.passive import evidence
from flowsonar.passive.datagrams import Datagrams
from flowsonar.passive.flow import NOTHING, SIDES, TOLD, TRIES, Findings, PassiveFlow
from flowsonar.passive.held import Held
from flowsonar.passive.judge import Judge
from flowsonar.passive.late import Late
from flowsonar.passive.segments import Segments
from flowsonar.passive.sip import announced, could_announce
from flowsonar.passive.skype_udp import SkypePorts
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher

__all__ = ["PassiveReader"]

_TCP: Final = 6
_UDP: Final = 17
_WITH_PORTS: Final = frozenset({_TCP, _UDP})
_INITIATOR, _RESPONDER = SIDES  # looking into an enumeration is slow, and these are for every flow
_OVER_TCP, _OVER_UDP = Transport.TCP, Transport.UDP
_PADDING: Final = 6
"""Zeros that fill an Ethernet frame around a TCP segment without payload; UDP's own length tells its payload."""


class PassiveReader:
    """Reads flows' own bytes. Keeps what several flows show together (Skype's ports), in bounded memory."""

    def __init__(self, matcher: Matcher, signatures: SignatureSet) -> None:
        self._signatures = signatures
        self._skype = SkypePorts()
        self._judge = Judge(signatures)
        self._segments = Segments(matcher, signatures, self._judge, self._skype)
        self._datagrams = Datagrams(matcher, signatures, self._judge, self._skype)
        self.held = Held()
        self._guess = _guesser(signatures)

    def open(self, opened: Opened) -> PassiveFlow:
        """Begin a flow."""
        return PassiveFlow(opened)

    def payload(self, flow: PassiveFlow, event: Payload) -> Findings:
        """Take one payload of the flow."""
        findings = NOTHING if flow.done else self._read(flow, event)
        if flow.tls is not None or flow.late is not None or flow.quic is not None:
            flow.hold = self.held.keep(flow.hold, flow.kept)
            if flow.hold is None:
                findings = self._let_go(flow, findings)
        if could_announce(event.data, rtsp="rtsp" in flow.services):
            # The flow goes on being read: its next message may name media as well.
            more = (*findings.announcements, *announced(flow.opened, event))
            findings = findings._replace(announcements=more, done=False, follow=flow.protocol == _TCP)
        return findings

    def _read(self, flow: PassiveFlow, event: Payload) -> Findings:
        data = event.data
        if flow.protocol == _TCP and len(data) <= _PADDING and data.count(0) == len(data):
            return NOTHING  # a keep-alive, or the padding of a short frame that the sender counted as payload
        if flow.late is not None or (event.offset and not event.index and flow.protocol == _TCP):
            return self._late(flow, event)
        count = flow.count(event.direction, data)
        if flow.protocol == _UDP:
            return self._datagrams.read(flow, event, count)
        return self._segments.read(flow, event, count)

    def _late(self, flow: PassiveFlow, event: Payload) -> Findings:
        """Put the first segments of a direction in order where its beginning is missing."""
        if flow.late is None:
            flow.late = Late()
        begun = flow.counts[event.direction] or not event.offset
        if begun and not flow.late.waits(event.direction):
            return self._in_turn(flow, [event])
        return self._in_turn(flow, flow.late.hold(event))

    def _in_turn(self, flow: PassiveFlow, events: list[Payload]) -> Findings:
        evidence: tuple[Evidence, ...] = ()
        announcements: tuple[Announcement, ...] = ()
        follow = False
        for event in events:
            if not flow.done:
                found = self._segments.read(flow, event, flow.count(event.direction, event.data))
                evidence += found.evidence
                announcements += found.announcements
                follow = follow or found.follow
        return Findings(evidence, announcements, done=flow.done, follow=follow)

    def _let_go(self, flow: PassiveFlow, findings: Findings) -> Findings:
        """Read what is there of a flow that may keep nothing more."""
        found = self._last(flow)
        if flow.tls is not None:
            found += flow.tls.close(flow, self._signatures.by_alpn)
        for one in found:
            flow.note(one)
        flow.finish()
        return findings._replace(evidence=(*findings.evidence, *found), done=True)

    def close(self, flow: PassiveFlow) -> Findings:
        """Conclude what needs the whole flow, or what other flows have shown meanwhile."""
        if flow.done:
            return NOTHING
        found = self._last(flow)
        if flow.done:
            return Findings(tuple(found), done=True)
        if flow.tls is not None:
            found += flow.tls.close(flow, self._signatures.by_alpn)
        if flow.datagrams is not None and (not flow.likely or "skype" in flow.services):
            sequence = flow.datagrams.conclude(last=True)
            if sequence is not None:
                found.append(sequence)
        if flow.protocol not in _WITH_PORTS:
            service = self._signatures.by_ip_protocol(flow.protocol)
            if service is not None:
                found.append(evidence.ip_protocol(service))
        elif flow.protocol == _TCP and not flow.likely and not found:
            found += self._segments.by_endpoint(flow)
        for one in found:
            flow.note(one)
        if not flow.services:
            port = self.port_guess(flow)
            if port is not None:
                flow.note(port)
                found.append(port)
        flow.finish()
        return Findings(tuple(found), done=True) if found else TOLD

    def _last(self, flow: PassiveFlow) -> list[Evidence]:
        """Read what was held back for a beginning that never came."""
        late = flow.late  # a flow that is finished lets go of it
        if late is None:
            return []
        return [one for direction in (0, 1) for one in self._in_turn(flow, late.rest(direction)).evidence]

    def port_guess(self, flow: PassiveFlow) -> Evidence | None:
        """What the port numbers alone suggest: never more than a guess."""
        opened = flow.opened
        found = self._guess(flow.protocol, _RESPONDER, opened.responder_port)
        if found is None and (opened.midstream or flow.protocol == _UDP):
            found = self._guess(flow.protocol, _INITIATOR, opened.initiator_port)
        return found

    def ignores_next(self, flow: PassiveFlow, direction: int) -> bool:
        """Whether patterns do not look at what the flow says next in a direction. Over UDP codecs still do.

        For flows of which no codec keeps anything.
        """
        count = flow.counts[direction]
        if flow.media:
            return False
        if flow.protocol == _UDP:
            return count >= TRIES or (flow.likely and count > 0)
        if not count or (count == 1 and not flow.services) or flow.mirrored:
            return False
        return count >= TRIES or flow.confirmed or (flow.likely and self._judge.has_told(flow, direction))

    @property
    def doubts(self) -> bool:
        """Whether hosts are known that run Skype: what nobody explains may then be theirs."""
        return self._skype.since_ns is not None


def _guesser(signatures: SignatureSet) -> Callable[[int, Side, int], Evidence | None]:
    """Make the function that says what a port number suggests, by IP protocol, side and port."""
    transports = {_TCP: _OVER_TCP, _UDP: _OVER_UDP}

    @lru_cache(maxsize=8192)  # most flows go to ports of no service: that is remembered too
    def guess(protocol: int, side: Side, port: int) -> Evidence | None:
        transport = transports.get(protocol)
        services = signatures.by_port(transport, port) if transport is not None else ()
        return evidence.from_port(services[0], side, port) if services else None

    return guess
