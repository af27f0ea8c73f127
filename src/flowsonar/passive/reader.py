"""What a flow shows by itself: its first bytes against all signatures, hellos, dialogues, sequences, names.

Each side's first bytes go through the matcher. What a client says alone is `likely` at most: it says what is asked
for, and an echo server or a silent port can stand on the other side. The server's answer makes it `confirmed`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Announcement, Confidence, Evidence, Side, Transport
from flowsonar.passive import dtls, evidence
from flowsonar.passive.counted import CountedFlow, counts, openvpn_streams
from flowsonar.passive.flow import NOTHING, Findings, PassiveFlow
from flowsonar.passive.ftp import FtpControl, could_be_control
from flowsonar.passive.held import Held
from flowsonar.passive.judge import Judge
from flowsonar.passive.late import Late
from flowsonar.passive.quic import QuicFlow, starts_like_quic
from flowsonar.passive.rtp import RtpFlow
from flowsonar.passive.sip import announced, could_announce
from flowsonar.passive.skype_tcp import SkypeServers, SkypeStream, known_endpoint, starts_like_login
from flowsonar.passive.skype_udp import SkypeDatagrams, SkypePorts, worth_reading
from flowsonar.passive.tls import TlsFlow, starts_like_tls
from flowsonar.passive.utp import UtpFlow
from flowsonar.protocols import dns, http2, rtp, skype, utp
from flowsonar.protocols.tls import is_sslv2_hello
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Match, Matcher

__all__ = ["PassiveReader"]

_TCP: Final = 6
_UDP: Final = 17
_WITH_PORTS: Final = frozenset({_TCP, _UDP})
_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_INITIATOR, _RESPONDER = _SIDES  # looking into an enumeration is slow, and these are for every flow
_OVER_TCP, _OVER_UDP = Transport.TCP, Transport.UDP
_CONFIRMED: Final = Confidence.CONFIRMED
_TRIES: Final = 3
"""Payloads per direction that are matched: a greeting may come in pieces, a flow may be picked up in a body."""
_PADDING: Final = 6
"""Zeros that fill an Ethernet frame around a TCP segment without payload; UDP's own length tells its payload."""
_ECHO_BYTES: Final = 8
"""Fewer equal bytes are a coincidence of small protocols."""
_LONG_ECHO: Final = 64
"""Shorter equal messages can be greetings (SSH, rsync, Ceph, JDWP) or keep-alives: the next ones decide."""
_MULTICAST_NAMES: Final = frozenset({5353, 5355, 137})
"""mDNS, LLMNR and NetBIOS names: DNS's format, other services."""
_LIKELY: Final = Confidence.LIKELY.rank
_PRELUDES: Final = frozenset({"stun", "turn"})
"""What calls begin with, before media comes in the same flow."""
_CALLS: Final = frozenset({"dtls", *_PRELUDES})
_NOT_CALLS: Final = 0x50
"""First bytes from here on are media's, or nothing that a call has (RFC 7983 section 7)."""
_STUN_BELOW: Final = 4
"""First bytes of STUN and TURN messages (the same section)."""
_CHANNELS: Final = 0x40
"""First bytes of what comes over TURN's channels (RFC 8656 section 12)."""
_STUN_TYPE: Final = 2
"""Bytes of a STUN message's type (RFC 8489 section 5), and of a channel's number."""
_MEDIA_WITHIN: Final = 64
"""Datagrams of a direction until media is no more waited for: agents test each way several times, then DTLS comes."""
_NO_MEDIA: Final = frozenset({4569, 5353, 5355, 9600, 30303})
"""Ports whose services look like RTP now and then (IAX2, mDNS, LLMNR, FINS, Ethereum)."""
_LEAST_MEDIA_PORT: Final = 1024
_DONE: Final = Findings(done=True)


class PassiveReader:
    """Reads flows' own bytes. Keeps what several flows show together (Skype's ports), in bounded memory."""

    def __init__(self, matcher: Matcher, signatures: SignatureSet) -> None:
        self._matcher = matcher
        self._signatures = signatures
        self._skype = SkypePorts()
        self._servers = SkypeServers()
        self._judge = Judge(signatures)
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
            return self._datagram(flow, event, count)
        return self._segment(flow, event, count)

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
                found = self._segment(flow, event, flow.count(event.direction, event.data))
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
            found += self._by_endpoint(flow)
        for one in found:
            flow.note(one)
        if not flow.services:
            port = self.port_guess(flow)
            if port is not None:
                flow.note(port)
                found.append(port)
        flow.finish()
        return Findings(tuple(found), done=True) if found else _DONE

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
            return count >= _TRIES or (flow.likely and count > 0)
        if not count or (count == 1 and not flow.services) or flow.mirrored:
            return False
        return count >= _TRIES or flow.confirmed or (flow.likely and self._judge.has_told(flow, direction))

    @property
    def doubts(self) -> bool:
        """Whether hosts are known that run Skype: what nobody explains may then be theirs."""
        return self._skype.proven or bool(self._servers)

    # -- TCP ----------------------------------------------------------------------------------------------------

    def _segment(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
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
                return self._known(flow)
        if count and (count >= _TRIES or flow.confirmed or (flow.likely and self._judge.has_told(flow, direction))):
            return self._end_of_segments(flow)
        if count and not flow.opened.midstream:
            data = flow.firsts[direction] + data  # a message in pieces; what is inside another protocol is not meant
        found = self._match(flow, direction, data)
        if found is None:
            return self._unmatched(flow, direction, data, count)
        if could_be_control(data) and not (flow.confirmed and data is not event.data):
            flow.ftp = FtpControl(flow.opened)
            dialogue = self._control(flow, event)
            return Findings(found + dialogue.evidence, dialogue.announcements, follow=True)
        done = self._both_spoke(flow) and flow.likely and not flow.mirrored and not self._judge.waits(flow)
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
        if other and _is_echo(data, other):
            if len(other) >= _LONG_ECHO or 7 in _ports(flow.opened):
                return self._echo(flow, direction, data)
            flow.mirrored = True
        if 53 in _ports(flow.opened):
            message = dns.tcp_message(data)
            if message is not None:
                return self._dns(flow, direction, message)
        return None

    def _match(self, flow: PassiveFlow, direction: int, data: bytes) -> tuple[Evidence, ...] | None:
        """Match first bytes; None where no signature knows them."""
        side, ports = _SIDES[direction], _ports(flow.opened)
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

    def _unmatched(self, flow: PassiveFlow, direction: int, data: bytes, count: int) -> Findings:
        if not count and http2.is_preface(flow.firsts[1 - direction]) and http2.is_settings(data):
            found = evidence.http2_settings(_SIDES[direction], data)
            flow.note(found)
            flow.finish()
            return Findings((found,), done=True)
        if could_be_control(data):
            flow.ftp = FtpControl(flow.opened)
            return self._control(flow, Payload(0, 0, direction, 0, 0, data, len(data), 0))._replace(follow=True)
        if not count and is_sslv2_hello(data):
            found = evidence.SSLV2
            flow.note(found)
            return Findings((found,))
        if flow.opened.midstream and not flow.services and not count:
            tunnel = openvpn_streams(*flow.firsts)
            if tunnel is not None:
                flow.note(tunnel)
                return Findings((tunnel,))
        if not flow.services and count:
            return self._known(flow)
        granted = None if direction or count else self._judge.granted(flow)
        if granted is not None:
            flow.note(granted)
            flow.finish()
            return Findings((granted,), done=True)
        return self._end_of_segments(flow)

    def _known(self, flow: PassiveFlow) -> Findings:
        found = tuple(self._by_endpoint(flow))
        for one in found:
            flow.note(one)
        return Findings(found) if found else self._end_of_segments(flow)

    def _by_endpoint(self, flow: PassiveFlow) -> list[Evidence]:
        if not (self._skype.proven or self._servers or len(flow.firsts[1]) == skype.HANDSHAKE_LENGTH):
            return []
        if not (flow.firsts[0] or flow.firsts[1]):
            return []
        if flow.services and "skype" not in flow.services:
            return []
        found = known_endpoint(flow, self._skype, self._servers)
        if found is None or found.confidence.rank <= flow.services.get("skype", 0):
            return []
        return [found]

    def _end_of_segments(self, flow: PassiveFlow) -> Findings:
        if flow.counts[0] >= _TRIES and flow.counts[1] >= _TRIES:
            return _DONE  # told, but not finished: the end may still tell something
        if flow.likely and self._answered(flow) and "skype" not in flow.services and not self._judge.waits(flow):
            flow.finish()
            return _DONE
        return NOTHING

    @staticmethod
    def _answered(flow: PassiveFlow) -> bool:
        """Both spoke; an answer that proves nothing may come line by line, so its second piece is read too."""
        return bool(flow.counts[0] and flow.counts[1] > (not flow.confirmed))

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
        done = found.confidence is _CONFIRMED
        if done:
            flow.finish()
        return Findings((found,), done=done)

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

    # -- UDP ----------------------------------------------------------------------------------------------------

    def _datagram(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
        direction = event.direction
        data = event.data
        sequence = self._sequence(flow, event)
        if sequence is not None:
            return sequence
        if flow.datagrams is not None:
            known = self._sure(flow, direction, data) if direction and not count else None
            return known or self._skype_datagram(flow, event)
        if flow.quic is not None or (starts_like_quic(data) and not flow.confirmed):
            resumed = self._quic(flow, event)
            if resumed is not None:
                return resumed
        opened = flow.opened
        if len(data) >= 12 and not data[4] and _MULTICAST_NAMES.isdisjoint(_ports(opened)):
            found = self._dns(flow, direction, data)
            if found is not None:
                return found
        enough = self._enough(flow, event, count)
        if enough is not None:
            return enough
        other = flow.firsts[1 - direction]
        same = bool(other) and not count and _is_echo(data, other)
        if same and (len(other) >= _LONG_ECHO or 7 in _ports(opened)) and not isinstance(flow.sequence, RtpFlow):
            return self._echo(flow, direction, data)  # media that is sent back is media still: a test of one's voice
        matches = self._matcher.payload(_OVER_UDP, None, data, _ports(opened))
        if matches and matches[0].service == "dns":
            matches = [match for match in matches if match.service != "dns"]  # the codec has judged that
        if matches and count >= _TRIES:
            matches = [match for match in matches if match.service in _CALLS]  # media may look like anything
        if matches:
            return self._matched(flow, direction, data, matches)
        if not flow.counts[1 - direction] and not count and worth_reading(opened, data):
            flow.datagrams = SkypeDatagrams(opened, self._skype)
            return self._skype_datagram(flow, event)
        return NOTHING

    @staticmethod
    def _enough(flow: PassiveFlow, event: Payload, count: int) -> Findings | None:
        """Whether patterns have seen enough of a direction; None where they have not."""
        direction = event.direction
        if flow.media:
            if event.index < _MEDIA_WITHIN:
                return NOTHING if count >= _TRIES and _adds_nothing(flow, direction, event.data) else None
            flow.finish()
            return _DONE
        if count >= _TRIES or (flow.likely and count):
            return _DONE if count >= _TRIES and flow.counts[1 - direction] >= _TRIES else NOTHING
        return None

    def _sure(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings | None:
        """An answer that only another service gives, where the question looked like Skype's; None: there is none."""
        matches = [
            match
            for match in self._matcher.payload(_OVER_UDP, None, data, _ports(flow.opened))
            if match.confidence is _CONFIRMED and match.service not in ("skype", "dns")
        ]
        return self._matched(flow, direction, data, matches) if matches else None

    def _matched(self, flow: PassiveFlow, direction: int, data: bytes, matches: list[Match]) -> Findings:
        """Judge a datagram that patterns know; a call is followed until its media comes."""
        judged = self._judge(flow, _SIDES[direction], data, matches, asks=direction == 0)
        judged = (dtls.told(flow, judged[0], data), *judged[1:])
        follows, flow.media = flow.media, flow.media or bool(_PRELUDES & flow.services.keys())
        if flow.media:
            flow.messages |= {(direction, data[:_STUN_TYPE])}
        done = self._both_spoke(flow) and flow.likely and not flow.media
        if done:
            flow.finish()
        return Findings(judged, done=done, follow=flow.media and not follows)

    def _quic(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Read a datagram as QUIC; None where nothing of the flow is."""
        other = flow.firsts[1 - event.direction]
        if flow.counts[event.direction] == 1 and _is_echo(event.data, other):
            return self._echo(flow, event.direction, event.data)
        reading = flow.quic or QuicFlow()
        found = tuple(reading.feed(flow, event, self._signatures.by_alpn))
        if flow.quic is None and not found:
            return None
        flow.quic = reading
        for one in found:
            flow.note(one)
        done = reading.settled(flow)
        if done:
            flow.finish()
        return Findings(found, done=done) if found or done else NOTHING

    def _sequence(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Read datagrams that count, as media, tunnels and uTP do; None where they do not, or not yet."""
        if flow.sequence is None or (isinstance(flow.sequence, UtpFlow) and not flow.sequence.told.rank):
            ports = _ports(flow.opened)
            if rtp.is_like(event.data) and min(ports) >= _LEAST_MEDIA_PORT and _NO_MEDIA.isdisjoint(ports):
                flow.sequence = RtpFlow()
            elif counts(flow.opened, event.data):
                flow.sequence = CountedFlow(event.data)
            elif flow.sequence is None:
                if not utp.is_like(event.data):
                    return None
                flow.sequence = UtpFlow()
        if isinstance(flow.sequence, RtpFlow):
            found = flow.sequence.feed(event, after_stun=flow.media and flow.likely)
        else:
            found = flow.sequence.feed(event)
        if found is None:
            return None
        flow.note(found)
        done = found.confidence is _CONFIRMED
        if done:
            flow.finish()
        return Findings((found,), done=done)

    def _skype_datagram(self, flow: PassiveFlow, event: Payload) -> Findings:
        datagrams = flow.datagrams
        assert datagrams is not None
        found = datagrams.feed(event)
        if found is None:
            return NOTHING
        flow.note(found)
        return Findings((found,))

    def _dns(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings | None:
        """Read a DNS message; confirmed only when a response agrees with its query. None: not DNS."""
        side = _SIDES[direction]
        query = flow.query
        if query is not None and dns.agrees(query[0], data, query[1]):
            flow.note(evidence.DNS_AGREES[side])
            flow.finish()
            return Findings((evidence.DNS_AGREES[side],), done=True)
        end = dns.question_end(data)
        if not end:
            return None
        if query is None and not data[2] & 0x80:
            flow.query = (data[:end], end)
        found = evidence.DNS_SANE[side]
        if flow.services.get("dns", 0) >= _LIKELY:
            return NOTHING
        flow.note(found)
        return Findings((found,))

    def _mirrored(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings:
        """Decide after equal greetings: an echo goes on with equal bytes, two programs of one kind do not."""
        flow.second(direction, data)
        other = flow.seconds[1 - direction]
        if not other:
            return NOTHING
        if flow.seconds[direction] == other:
            return self._echo(flow, direction, data)
        flow.mirrored = False
        both = flow.said[1] or flow.said[0]
        if both is not None and both.confidence is _CONFIRMED:
            flow.note(both)
            flow.finish()
            return Findings((both,), done=True)
        answer = flow.firsts[1] + (data if direction else flow.seconds[1])
        found = self._match(flow, 1, answer) if self._judge.waits(flow) else None
        if found is None:
            return self._end_of_segments(flow)
        if flow.confirmed:
            flow.finish()
        return Findings(found, done=flow.confirmed)

    # -- both ---------------------------------------------------------------------------------------------------

    def _echo(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings:
        """Whatever the client spoke, it got its own bytes back."""
        found = evidence.ECHO._replace(side=_SIDES[direction], data=data[:64])
        flow.note(found)
        flow.finish()
        return Findings((found,), done=True)


def _guesser(signatures: SignatureSet) -> Callable[[int, Side, int], Evidence | None]:
    """Make the function that says what a port number suggests, by IP protocol, side and port."""
    transports = {_TCP: _OVER_TCP, _UDP: _OVER_UDP}

    @lru_cache(maxsize=8192)  # most flows go to ports of no service: that is remembered too
    def guess(protocol: int, side: Side, port: int) -> Evidence | None:
        transport = transports.get(protocol)
        services = signatures.by_port(transport, port) if transport is not None else ()
        return evidence.from_port(services[0], side, port) if services else None

    return guess


def _adds_nothing(flow: PassiveFlow, direction: int, data: bytes) -> bool:
    """Whether a datagram of a call is media's, or of a type or channel that was read before: agents test on and on."""
    if data[0] >= _NOT_CALLS:
        return True
    known = data[0] < _STUN_BELOW or data[0] >= _CHANNELS
    return known and (direction, data[:_STUN_TYPE]) in flow.messages


def _is_echo(data: bytes, other: bytes) -> bool:
    size = len(other)
    return size >= _ECHO_BYTES and data[:size] == other


def _ports(opened: Opened) -> tuple[int, int]:
    return opened.initiator_port, opened.responder_port
