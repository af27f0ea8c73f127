"""What a flow shows by itself: its first bytes against all signatures, hellos, dialogues, sequences, names.

Each side's first bytes go through the matcher. What a client says alone is `likely` at most: it says what is asked
for, and an echo server or a silent port can stand on the other side. The server's answer makes it `confirmed`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side, Transport
from flowsonar.passive.flow import NOTHING, Findings, PassiveFlow
from flowsonar.passive.ftp import FtpControl, could_be_control
from flowsonar.passive.names import name_evidence
from flowsonar.passive.skype_tcp import SkypeServers, SkypeStream, known_endpoint, starts_like_login
from flowsonar.passive.skype_udp import SkypeDatagrams, SkypePorts, worth_reading
from flowsonar.passive.tls import TlsFlow, starts_like_tls
from flowsonar.protocols import dns, http2
from flowsonar.protocols.tls import is_sslv2_hello
from flowsonar.signatures.loader import SignatureSet
from flowsonar.signatures.matcher import Match, Matcher

__all__ = ["PassiveReader"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_TRIES: Final = 3
"""Payloads per direction that are matched: a greeting may come in pieces, a flow may be picked up in a body."""
_ECHO_BYTES: Final = 8
"""Fewer equal bytes are a coincidence of small protocols."""
_MIRRORED: Final = (b"JDWP-Handshake",)
"""Greetings that both sides say alike."""
_MULTICAST_NAMES: Final = frozenset({5353, 5355, 137})
"""mDNS, LLMNR and NetBIOS names: DNS's format, other services."""
_LIKELY: Final = Confidence.LIKELY.rank
_CONFIRMED: Final = Confidence.CONFIRMED.rank


class PassiveReader:
    """Reads flows' own bytes. Keeps what several flows show together (Skype's ports), in bounded memory."""

    def __init__(self, matcher: Matcher, signatures: SignatureSet) -> None:
        self._matcher = matcher
        self._signatures = signatures
        self._skype = SkypePorts()
        self._servers = SkypeServers()

    def open(self, opened: Opened) -> PassiveFlow:
        """Begin a flow."""
        return PassiveFlow(opened)

    def payload(self, flow: PassiveFlow, event: Payload) -> Findings:
        """Take one payload of the flow."""
        if flow.done:
            return NOTHING
        data = event.data
        if not data:
            return NOTHING
        direction = event.direction
        count = flow.counts[direction]
        flow.counts[direction] = count + 1
        if not count:
            if flow.first_speaker < 0:
                flow.first_speaker = direction
            flow.firsts[direction] = data[:256]
        if flow.transport is Transport.UDP:
            return self._datagram(flow, event, count)
        return self._segment(flow, event, count)

    def close(self, flow: PassiveFlow) -> Findings:
        """Conclude what needs the whole flow, or what other flows have shown meanwhile."""
        found: list[Evidence] = []
        if flow.tls is not None:
            found += flow.tls.close(flow, self._signatures.by_alpn)
        if flow.datagrams is not None and (not flow.likely or "skype" in flow.services):
            sequence = flow.datagrams.conclude()
            if sequence is not None:
                found.append(sequence)
        if flow.transport is Transport.ICMP:
            found.append(_ICMP)
        elif flow.transport is Transport.TCP and not flow.likely and not found:
            found += self._by_endpoint(flow)
        for evidence in found:
            flow.note(evidence)
        if not flow.services:
            port = self.port_guess(flow)
            if port is not None:
                flow.note(port)
                found.append(port)
        flow.finish()
        return Findings(tuple(found), done=True)

    def port_guess(self, flow: PassiveFlow) -> Evidence | None:
        """What the port numbers alone suggest: never more than a guess."""
        opened = flow.opened
        ends = [(Side.RESPONDER, opened.responder_port)]
        if opened.midstream or flow.transport is Transport.UDP:
            ends.append((Side.INITIATOR, opened.initiator_port))
        for side, port in ends:
            services = self._signatures.by_port(flow.transport, port)
            if services:
                return Evidence(
                    kind=EvidenceKind.PORT,
                    service=services[0],
                    confidence=Confidence.GUESS,
                    side=side,
                    detail=f"port {port}",
                )
        return None

    # -- TCP ----------------------------------------------------------------------------------------------------

    def _segment(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
        if flow.ftp is not None:
            return self._control(flow, event)
        direction = event.direction
        data = event.data
        if flow.stream is not None or (not count and starts_like_login(data)):
            return self._skype_stream(flow, event)
        if flow.tls is not None or (not count and starts_like_tls(data)):
            return self._tls(flow, event)
        if not count:
            other = flow.firsts[1 - direction]
            if other and _is_echo(data, other):
                return self._echo(flow, direction, data)
            if flow.opened.responder_port == 53 or flow.opened.initiator_port == 53:
                message = dns.tcp_message(data)
                if message is not None:
                    answer = self._dns(flow, direction, message)
                    if answer is not None:
                        return answer
        if count >= _TRIES or (count and flow.likely):
            return self._end_of_segments(flow)
        found = self._match(flow, direction, data)
        if found is None:
            return self._unmatched(flow, direction, data, count)
        if could_be_control(data) and flow.ftp is None:
            flow.ftp = FtpControl(flow.opened)
            dialogue = self._control(flow, event)
            return Findings(found + dialogue.evidence, dialogue.announcements, follow=True)
        done = self._both_spoke(flow) and flow.likely
        if done:
            flow.finish()
        return Findings(found, done=done)

    def _match(self, flow: PassiveFlow, direction: int, data: bytes) -> tuple[Evidence, ...] | None:
        """Match first bytes; None where no signature knows them."""
        side = _SIDES[direction]
        if flow.opened.midstream:
            # Who sent the first packet seen says nothing: try what servers say, then what clients say.
            matches = self._matcher.payload(Transport.TCP, Side.RESPONDER, data)
            asks = not matches
            if asks:
                matches = self._matcher.payload(Transport.TCP, Side.INITIATOR, data)
        else:
            matches = self._matcher.payload(Transport.TCP, side, data)
            asks = direction == 0
        if not matches:
            return None
        return self._judge(flow, side, data, matches, asks=asks)

    def _judge(
        self, flow: PassiveFlow, side: Side, data: bytes, matches: list[Match], *, asks: bool
    ) -> tuple[Evidence, ...]:
        found = [_evidence(match, side, data) for match in _winners(matches)]
        best = found[0]
        if best.service == "http":
            named = name_evidence(flow, data, side)
            if named is not None:
                flow.note(named)
                flow.finish()  # whatever the server answers, it is Skype's own request
                return (named,)
        if asks:
            if flow.client is None:
                flow.client = best
            found = [_at_most_likely(one) for one in found]
        elif flow.client is not None and flow.client.service == best.service:
            agreed = Confidence.CONFIRMED in {flow.client.confidence, best.confidence}
            if agreed and best.confidence is not Confidence.CONFIRMED:
                found[0] = replace(best, confidence=Confidence.CONFIRMED, detail=_joined(best.detail, "both sides fit"))
        for one in found:
            flow.note(one)
        return tuple(found)

    def _unmatched(self, flow: PassiveFlow, direction: int, data: bytes, count: int) -> Findings:
        client = flow.client
        if (
            client is not None
            and not count
            and direction == 1
            and http2.is_preface(flow.firsts[0])
            and http2.is_settings(data)
        ):
            found = _settings(_SIDES[direction], data)
            flow.note(found)
            flow.finish()
            return Findings((found,), done=True)
        if could_be_control(data):
            flow.ftp = FtpControl(flow.opened)
            return self._control(flow, Payload(0, 0, direction, 0, 0, data, len(data), 0))._replace(follow=True)
        if not count and is_sslv2_hello(data):
            found = _SSLV2
            flow.note(found)
            return Findings((found,))
        if not flow.services and count:
            return self._known(flow)
        return self._end_of_segments(flow)

    def _known(self, flow: PassiveFlow) -> Findings:
        found = tuple(self._by_endpoint(flow))
        for one in found:
            flow.note(one)
        return Findings(found) if found else self._end_of_segments(flow)

    def _by_endpoint(self, flow: PassiveFlow) -> list[Evidence]:
        if not (len(self._skype) or self._servers) or not (flow.firsts[0] or flow.firsts[1]) or flow.services:
            return []
        found = known_endpoint(flow.opened, flow.firsts, self._skype, self._servers)
        return [] if found is None else [found]

    def _end_of_segments(self, flow: PassiveFlow) -> Findings:
        if flow.counts[0] >= _TRIES and flow.counts[1] >= _TRIES:
            return _DONE
        if flow.likely and self._both_spoke(flow):
            flow.finish()
            return _DONE
        return NOTHING

    @staticmethod
    def _both_spoke(flow: PassiveFlow) -> bool:
        return bool(flow.counts[0] and flow.counts[1])

    def _tls(self, flow: PassiveFlow, event: Payload) -> Findings:
        if flow.tls is None:
            flow.tls = TlsFlow()
            other = flow.firsts[1 - event.direction]
            if other and _is_echo(event.data, other):
                return self._echo(flow, event.direction, event.data)
        elif not flow.counts[event.direction] - 1 and _is_echo(event.data, flow.firsts[1 - event.direction]):
            return self._echo(flow, event.direction, event.data)
        found = tuple(flow.tls.feed(flow, event, self._signatures.by_alpn))
        for one in found:
            flow.note(one)
        done = flow.tls.settled(flow)
        if done:
            flow.finish()
        return Findings(found, done=done) if found or done else NOTHING

    def _skype_stream(self, flow: PassiveFlow, event: Payload) -> Findings:
        if flow.stream is None:
            flow.stream = SkypeStream()
        found = flow.stream.feed(event, self._servers, flow.opened)
        if found is None:
            return NOTHING
        flow.note(found)
        done = found.confidence is Confidence.CONFIRMED
        if done:
            flow.finish()
        return Findings((found,), done=done)

    def _control(self, flow: PassiveFlow, event: Payload) -> Findings:
        control = flow.ftp
        assert control is not None
        evidence, announcements = control.feed(event)
        for one in evidence:
            flow.note(one)
        done = control.ended or control.over_tls
        if done:
            flow.ftp = None
            if control.proven or flow.likely:
                flow.finish()
                return Findings(tuple(evidence), tuple(announcements), done=True)
            found = self._match(flow, event.direction, event.data) or ()
            return Findings((*evidence, *found), tuple(announcements))
        return Findings(tuple(evidence), tuple(announcements)) if evidence or announcements else NOTHING

    # -- UDP ----------------------------------------------------------------------------------------------------

    def _datagram(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
        direction = event.direction
        data = event.data
        if flow.datagrams is not None:
            return self._skype_datagram(flow, event)
        opened = flow.opened
        if len(data) >= 12 and not data[4]:
            ports = (opened.responder_port, opened.initiator_port)
            if _MULTICAST_NAMES.isdisjoint(ports):
                found = self._dns(flow, direction, data)
                if found is not None:
                    return found
        if count >= _TRIES or flow.likely:
            return _DONE if count >= _TRIES and flow.counts[1 - direction] >= _TRIES else NOTHING
        other = flow.firsts[1 - direction]
        if other and not count and _is_echo(data, other):
            return self._echo(flow, direction, data)
        matches = self._matcher.payload(Transport.UDP, None, data)
        if matches:
            evidence = self._judge(flow, _SIDES[direction], data, matches, asks=direction == 0)
            done = self._both_spoke(flow) and flow.likely
            if done:
                flow.finish()
            return Findings(evidence, done=done)
        if not flow.counts[1 - direction] and not count and worth_reading(opened, data):
            flow.datagrams = SkypeDatagrams(opened, self._skype)
            return self._skype_datagram(flow, event)
        return NOTHING

    def _skype_datagram(self, flow: PassiveFlow, event: Payload) -> Findings:
        datagrams = flow.datagrams
        assert datagrams is not None
        found = datagrams.feed(event, self._skype)
        if found is None:
            return NOTHING
        flow.note(found)
        done = found.confidence is Confidence.CONFIRMED
        flow.done = done
        return Findings((found,), done=done)

    def _dns(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings | None:
        """Read a DNS message; confirmed only when a response agrees with its query. None: not DNS."""
        side = _SIDES[direction]
        query = flow.query
        if query is not None and dns.agrees(query[0], data, query[1]):
            flow.note(_DNS_AGREES[side])
            flow.finish()
            return Findings((_DNS_AGREES[side],), done=True)
        end = dns.question_end(data)
        if not end:
            return None
        if query is None and not data[2] & 0x80:
            flow.query = (data[:end], end)
        found = _DNS_SANE[side]
        if flow.services.get("dns", 0) >= _LIKELY:
            return NOTHING
        flow.note(found)
        return Findings((found,))

    # -- both ---------------------------------------------------------------------------------------------------

    def _echo(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings:
        """Whatever the client spoke, it got its own bytes back."""
        found = replace(_ECHO, side=_SIDES[direction], data=data[:64])
        flow.note(found)
        flow.finish()
        return Findings((found,), done=True)


def _is_echo(data: bytes, other: bytes) -> bool:
    size = len(other)
    return size >= _ECHO_BYTES and data[:size] == other and other not in _MIRRORED


def _winners(matches: list[Match]) -> list[Match]:
    """Give the most specific match, and those of other services that are as sure and as specific."""
    best = matches[0]
    rank = (best.soft, best.confidence.rank, best.specificity)
    kept = [best]
    services = {best.service}
    for match in matches[1:]:
        if match.service not in services and (match.soft, match.confidence.rank, match.specificity) == rank:
            services.add(match.service)
            kept.append(match)
    return kept


def _evidence(match: Match, side: Side, data: bytes) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service=match.service,
        confidence=match.confidence,
        side=side,
        over=match.over,
        product=match.product,
        version=match.version,
        cpe=match.cpe,
        signature=match.pattern,
        detail=match.detail,
        data=data[:256],
        specificity=match.specificity,
    )


def _at_most_likely(evidence: Evidence) -> Evidence:
    return replace(evidence, confidence=Confidence.LIKELY) if evidence.confidence.rank > _LIKELY else evidence


def _joined(detail: str, more: str) -> str:
    return f"{detail}; {more}" if detail else more


def _settings(side: Side, data: bytes) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="http",
        confidence=Confidence.CONFIRMED,
        side=side,
        version="2",
        signature="http/h2-settings",
        detail="HTTP/2 SETTINGS frame in answer to the connection preface",
        data=data[:64],
        specificity=60,
    )


def _dns_evidence(side: Side, confidence: Confidence, detail: str) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="dns",
        confidence=confidence,
        side=side,
        signature="dns/message",
        detail=detail,
        specificity=40,
    )


_DONE: Final = Findings(done=True)
_ECHO: Final = Evidence(
    kind=EvidenceKind.PAYLOAD,
    service="echo",
    confidence=Confidence.LIKELY,
    signature="echo/same-bytes",
    detail="the answer is the other side's own bytes",
    specificity=80,
)
_ICMP: Final = Evidence(
    kind=EvidenceKind.PAYLOAD, service="icmp", confidence=Confidence.CONFIRMED, detail="IP protocol number"
)
_SSLV2: Final = Evidence(
    kind=EvidenceKind.PAYLOAD,
    service="tls",
    confidence=Confidence.LIKELY,
    side=Side.INITIATOR,
    signature="tls/sslv2-hello",
    detail="ClientHello in SSL 2 framing",
    specificity=40,
)
_DNS_SANE: Final = {side: _dns_evidence(side, Confidence.LIKELY, "one message that is sane") for side in Side}
_DNS_AGREES: Final = {
    side: _dns_evidence(side, Confidence.CONFIRMED, "identifier and question of query and response agree")
    for side in Side
}
