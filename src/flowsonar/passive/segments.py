"""TCP: the first segments of a flow, against all patterns and by those codecs that know better.

What a client says alone is `likely` at most; the server's answer makes it `confirmed`. Equal first words of both sides
are an echo, or two programs of one kind: what comes next decides.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, Side, Transport
from flowsonar.passive import dns, evidence
from flowsonar.passive.counted import openvpn_streams
from flowsonar.passive.echo import FULL_SEGMENT, LONG_ECHO, echoed, is_echo
from flowsonar.passive.flow import NOTHING, SIDES, TOLD, TRIES, Findings, PassiveFlow
from flowsonar.passive.ftp import FtpControl, could_be_control
from flowsonar.passive.judge import Judge
from flowsonar.passive.requests import Requests, like_requests
from flowsonar.passive.skype_tcp import SkypeServers, SkypeStream, known_endpoint, starts_like_login
from flowsonar.passive.skype_udp import SkypePorts
from flowsonar.passive.tls import TlsFlow, starts_like_tls
from flowsonar.protocols import dns as messages
from flowsonar.protocols import http2, skype
from flowsonar.protocols.tls import is_sslv2_hello
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher

__all__ = ["Segments"]

_OVER_TCP: Final = Transport.TCP
_RESPONDER: Final = Side.RESPONDER
_CONFIRMED: Final = Confidence.CONFIRMED


class Segments:
    """Reads TCP flows, of which it knows the hosts that run Skype."""

    def __init__(self, matcher: Matcher, signatures: SignatureSet, judge: Judge, ports: SkypePorts) -> None:
        self._matcher = matcher
        self._signatures = signatures
        self._judge = judge
        self._skype = ports
        self._servers = SkypeServers()
        self._nobody = SkypePorts(), SkypeServers()

    def read(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
        """Take a segment; `count` of its direction were read before."""
        resumed = self._resumed(flow, event)
        if resumed is not None:
            return resumed
        direction = event.direction
        data = event.data
        if not count:
            special = self._first_segment(flow, event)
            if special is not None:
                return special
        elif flow.mirrored:
            return self._mirrored(flow, direction, data)
        elif count == 1 and (not flow.services or "skype" in flow.services):
            flow.second(direction, data)
            if flow.services:
                return self._known(flow, event.time_ns)
        if count and (count >= TRIES or flow.confirmed or (flow.likely and self._judge.has_told(flow, direction))):
            return self._end_of_segments(flow)
        if count and not flow.opened.midstream:
            data = flow.firsts[direction] + data  # a message in pieces; what is inside another protocol is not meant
        found = self._match(flow, direction, data)
        if found is None:
            return self._unmatched(flow, event, data, count)
        if could_be_control(data) and not (flow.confirmed and data is not event.data):
            flow.ftp = FtpControl(flow.opened)
            dialogue = self._control(flow, event)
            return Findings(found + dialogue.evidence, dialogue.announcements, follow=True)
        done = flow.both_spoke and flow.likely and not flow.mirrored and not self._judge.waits(flow)
        if done:
            flow.finish()
        return Findings(found, done=done)

    def _resumed(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Go on with what an earlier segment began; None: nothing was begun."""
        if flow.tls is not None:
            return self._tls(flow, event)
        if flow.ftp is not None:
            return self._control(flow, event)
        if flow.stream is not None:
            return self._skype_stream(flow, event)
        return None

    def _first_segment(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Read what codecs know better than patterns do; None: nothing of it."""
        direction = event.direction
        data = event.data
        if starts_like_login(data):
            return self._skype_stream(flow, event)
        if starts_like_tls(data):
            return self._tls(flow, event)
        other = flow.firsts[1 - direction]
        if other and is_echo(data, other):
            # In the middle, one long message may be a handshake's: RTMP's sides give back what the other made up.
            if (len(other) >= LONG_ECHO and not flow.opened.midstream) or 7 in flow.ports:
                return echoed(flow, direction, data)
            flow.mirrored = True
        if 53 in flow.ports:
            message = messages.tcp_message(data)
            if message is not None:
                return dns.read(flow, direction, message)
        return None

    def _match(self, flow: PassiveFlow, direction: int, data: bytes) -> tuple[Evidence, ...] | None:
        """Match first bytes; None where no signature knows them."""
        side, ports = SIDES[direction], flow.ports
        if flow.opened.midstream:
            # Who sent the first packet seen says nothing: what servers say counts, or clients where that is more.
            either = self._matcher.payload(_OVER_TCP, None, data, ports)
            matches = either and self._matcher.payload(_OVER_TCP, _RESPONDER, data, ports)
            asks = not matches or either[0].specificity > matches[0].specificity
            if asks:
                matches = either
        else:
            matches = self._matcher.payload(_OVER_TCP, side, data, ports)
            asks = direction == 0
        if not matches:
            return None
        return self._judge(flow, side, data, matches, asks=asks)

    def _unmatched(self, flow: PassiveFlow, event: Payload, data: bytes, count: int) -> Findings:
        direction = event.direction
        if not count and http2.is_preface(flow.firsts[1 - direction]) and http2.is_settings(data):
            return flow.take(evidence.http2_settings(SIDES[direction], data), done=True)
        if could_be_control(data):
            flow.ftp = FtpControl(flow.opened)
            return self._control(flow, Payload(0, 0, direction, 0, 0, data, len(data), 0))._replace(follow=True)
        if not count and is_sslv2_hello(data):
            return flow.take(evidence.SSLV2)
        if flow.opened.midstream and not flow.services:
            counted = self._counted(flow, event, count)
            if counted is not None:
                return flow.take(counted)
        if not flow.services and count:
            return self._known(flow, event.time_ns)
        granted = None if direction or count else self._judge.granted(flow)
        if granted is not None:
            return flow.take(granted, done=True)
        return self._end_of_segments(flow)

    @staticmethod
    def _counted(flow: PassiveFlow, event: Payload, count: int) -> Evidence | None:
        """What several segments from the middle say together."""
        if not event.index and flow.requests is None and like_requests(event.wire_length):
            flow.requests = Requests(event.direction)
        if flow.requests is not None:
            asks = flow.requests.feed(event, flow.firsts[1 - event.direction])
            if asks is not None:
                return asks
        return None if count else openvpn_streams(*flow.firsts)

    def _known(self, flow: PassiveFlow, time_ns: int) -> Findings:
        found = self.by_endpoint(flow, time_ns)
        return flow.take(*found) if found else self._end_of_segments(flow)

    def by_endpoint(self, flow: PassiveFlow, time_ns: int | None = None) -> list[Evidence]:
        """What is known of its hosts: Skype's, where nobody knows its bytes. None: all that is known by now.

        A flow may come from the fast lane late, with what it said before anything was known.
        """
        since_ns = self._skype.since_ns
        known = since_ns is not None and (time_ns is None or time_ns >= since_ns)
        if not (known or len(flow.firsts[1]) == skype.HANDSHAKE_LENGTH):
            return []
        if not (flow.firsts[0] or flow.firsts[1]):
            return []
        if flow.services and "skype" not in flow.services:
            return []
        found = known_endpoint(flow, self._skype, self._servers) if known else known_endpoint(flow, *self._nobody)
        if found is None or found.confidence.rank <= flow.services.get("skype", 0):
            return []
        return [found]

    def _end_of_segments(self, flow: PassiveFlow) -> Findings:
        if flow.counts[0] >= TRIES and flow.counts[1] >= TRIES:
            return TOLD  # told, but not finished: the end may still tell something
        if flow.likely and self._answered(flow) and "skype" not in flow.services and not self._judge.waits(flow):
            flow.finish()
            return TOLD
        return NOTHING

    @staticmethod
    def _answered(flow: PassiveFlow) -> bool:
        """Both spoke; an answer that proves nothing may come line by line, so its second piece is read too."""
        return bool(flow.counts[0] and flow.counts[1] > (not flow.confirmed))

    def _tls(self, flow: PassiveFlow, event: Payload) -> Findings:
        if flow.tls is None:
            flow.tls = TlsFlow()
            other = flow.firsts[1 - event.direction]
            if other and is_echo(event.data, other):
                return echoed(flow, event.direction, event.data)
        elif not flow.counts[event.direction] - 1 and is_echo(event.data, flow.firsts[1 - event.direction]):
            return echoed(flow, event.direction, event.data)
        findings = flow.take(*flow.tls.feed(flow, event, self._signatures.by_alpn))
        if not flow.tls.settled(flow):
            return findings
        flow.finish()
        return findings._replace(done=True)

    def _skype_stream(self, flow: PassiveFlow, event: Payload) -> Findings:
        if flow.stream is None:
            flow.stream = SkypeStream()
        found = flow.stream.feed(event, self._servers, flow.opened)
        if found is None:
            return NOTHING
        if found.confidence is _CONFIRMED:
            self._skype.proven(event.time_ns)
        return flow.take(found, done=found.confidence is _CONFIRMED)

    def _control(self, flow: PassiveFlow, event: Payload) -> Findings:
        control = flow.ftp
        assert control is not None
        found, announcements = control.feed(event)
        for one in found:
            flow.note(one)
        done = control.ended or control.over_tls
        if done:
            flow.ftp = None
            others: tuple[Evidence, ...] = ()
            if not control.proven:  # SMTP's EHLO ends it, and fits the greeting
                others = self._match(flow, event.direction, event.data) or ()
            ended = control.proven or flow.confirmed  # the answer to EHLO is still to come
            if ended:
                flow.finish()
            return Findings((*found, *others), tuple(announcements), done=ended)
        return Findings(tuple(found), tuple(announcements)) if found or announcements else NOTHING

    def _mirrored(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings:
        """Decide after equal greetings: an echo goes on with equal bytes, two programs of one kind do not."""
        flow.second(direction, data)
        other = flow.seconds[1 - direction]
        if not other:
            return NOTHING
        in_pieces = flow.opened.midstream and len(flow.firsts[0]) >= FULL_SEGMENT
        if flow.seconds[direction] == other and not in_pieces:
            return echoed(flow, direction, data)
        flow.mirrored = False
        both = flow.said[1] or flow.said[0]
        if both is not None and both.confidence is _CONFIRMED:
            return flow.take(both, done=True)
        answer = flow.firsts[1] + (data if direction else flow.seconds[1])
        found = self._match(flow, 1, answer) if self._judge.waits(flow) else None
        if found is None:
            return self._end_of_segments(flow)
        if flow.confirmed:
            flow.finish()
        return Findings(found, done=flow.confirmed)
