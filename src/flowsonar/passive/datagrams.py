"""UDP: a flow's first datagrams against all patterns; QUIC, media, tunnels and Skype by what follows each other."""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Transport
from flowsonar.passive import dns, dtls
from flowsonar.passive.counted import CountedFlow, counts
from flowsonar.passive.echo import LONG_ECHO, echoed, is_echo
from flowsonar.passive.flow import NOTHING, SIDES, TOLD, TRIES, Findings, PassiveFlow
from flowsonar.passive.judge import Judge
from flowsonar.passive.quic import QuicFlow, starts_like_quic
from flowsonar.passive.rtp import RtpFlow
from flowsonar.passive.skype_udp import SkypeDatagrams, SkypePorts, worth_reading
from flowsonar.passive.srt import SrtFlow
from flowsonar.passive.utp import UtpFlow
from flowsonar.protocols import rtp, srt, utp
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Match, Matcher

__all__ = ["Datagrams", "message_type"]

_OVER_UDP: Final = Transport.UDP
_CONFIRMED: Final = Confidence.CONFIRMED
_MULTICAST_NAMES: Final = frozenset({5353, 5355, 137})
"""mDNS, LLMNR and NetBIOS names: DNS's format, other services."""
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
_HANDSHAKE: Final = 22
"""First byte of a DTLS record of the handshake; its epoch and its message's type (RFC 6347 sections 4.1 and 4.2.2)."""
_EPOCH: Final = slice(3, 5)
_MESSAGE: Final = slice(13, 14)
_HELLOS: Final = (b"\x01", b"\x02", b"\x03")
"""Types of DTLS's hellos: a client's, a server's, HelloVerifyRequest. No pattern looks for other messages of these."""
_RECORDS: Final = frozenset({21, _HANDSHAKE, 23})
"""First bytes of the records of DTLS that patterns look for: alerts, the handshake, what is enciphered."""
_MEDIA_WITHIN: Final = 64
"""Datagrams of a direction until media is no more waited for: agents test each way several times, then DTLS comes."""
_NO_MEDIA: Final = frozenset({4500, 4569, 5353, 5355, 9600, 30303})
"""Ports whose services look like RTP now and then (ESP, IAX2, mDNS, LLMNR, FINS, Ethereum)."""
_LEAST_MEDIA_PORT: Final = 1024


class Datagrams:
    """Reads UDP flows, of which it knows the ports that Skype uses."""

    def __init__(self, matcher: Matcher, signatures: SignatureSet, judge: Judge, ports: SkypePorts) -> None:
        self._matcher = matcher
        self._signatures = signatures
        self._judge = judge
        self._skype = ports

    def read(self, flow: PassiveFlow, event: Payload, count: int) -> Findings:
        """Take a datagram's payload; `count` of its direction were read before."""
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
        if len(data) >= 12 and not data[4] and _MULTICAST_NAMES.isdisjoint(flow.ports):
            found = dns.read(flow, direction, data)
            if found is not None:
                return found
        enough = self._enough(flow, event, count)
        if enough is not None:
            return enough
        other = flow.firsts[1 - direction]
        same = bool(other) and not count and is_echo(data, other)
        if same and (len(other) >= LONG_ECHO or 7 in flow.ports) and not isinstance(flow.sequence, RtpFlow):
            return echoed(flow, direction, data)  # media that is sent back is media still: a test of one's voice
        matches = self._matcher.payload(_OVER_UDP, None, data, flow.ports)
        if matches and matches[0].service == "dns":
            matches = [match for match in matches if match.service != "dns"]  # the codec has judged that
        if matches and count >= TRIES:
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
                return NOTHING if count >= TRIES and _adds_nothing(flow, direction, event.data) else None
            flow.finish()
            return TOLD
        if count >= TRIES or (flow.likely and count):
            return TOLD if count >= TRIES and flow.counts[1 - direction] >= TRIES else NOTHING
        return None

    def _sure(self, flow: PassiveFlow, direction: int, data: bytes) -> Findings | None:
        """An answer that only another service gives, where the question looked like Skype's; None: there is none."""
        matches = [
            match
            for match in self._matcher.payload(_OVER_UDP, None, data, flow.ports)
            if match.confidence is _CONFIRMED and match.service not in ("skype", "dns")
        ]
        return self._matched(flow, direction, data, matches) if matches else None

    def _matched(self, flow: PassiveFlow, direction: int, data: bytes, matches: list[Match]) -> Findings:
        """Judge a datagram that patterns know; a call is followed until its media comes."""
        judged = self._judge(flow, SIDES[direction], data, matches, asks=direction == 0)
        judged = (dtls.told(flow, judged[0], data), *judged[1:])
        follows, flow.media = flow.media, flow.media or bool(_PRELUDES & flow.services.keys())
        if flow.media:
            flow.messages |= {(direction, message_type(data))}
        done = flow.both_spoke and flow.likely and not flow.media
        if done:
            flow.finish()
        return Findings(judged, done=done, follow=flow.media and not follows)

    def _quic(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Read a datagram as QUIC; None where nothing of the flow is."""
        other = flow.firsts[1 - event.direction]
        if flow.counts[event.direction] == 1 and is_echo(event.data, other):
            return echoed(flow, event.direction, event.data)
        reading = flow.quic or QuicFlow()
        found = reading.feed(flow, event, self._signatures.by_alpn)
        if flow.quic is None and not found:
            return None
        flow.quic = reading
        return flow.take(*found, done=reading.settled(flow))

    def _sequence(self, flow: PassiveFlow, event: Payload) -> Findings | None:
        """Read datagrams that count, as media, tunnels, SRT and uTP do; None where they do not, or not yet."""
        if flow.sequence is None or (isinstance(flow.sequence, UtpFlow) and not flow.sequence.told.rank):
            ports = flow.ports
            if srt.is_like(event.data):
                flow.sequence = SrtFlow()
            elif rtp.is_like(event.data) and min(ports) >= _LEAST_MEDIA_PORT and _NO_MEDIA.isdisjoint(ports):
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
        return flow.take(found, done=found.confidence is _CONFIRMED)

    def _skype_datagram(self, flow: PassiveFlow, event: Payload) -> Findings:
        datagrams = flow.datagrams
        assert datagrams is not None
        found = datagrams.feed(event)
        return NOTHING if found is None else flow.take(found)


def message_type(data: bytes) -> bytes:
    """What tells messages of a call apart: STUN's type, a channel's number, DTLS's kinds of record and message."""
    first = data[0]
    if first not in _RECORDS:
        return data[:_STUN_TYPE]
    return data[:1] + data[_MESSAGE] if first == _HANDSHAKE else data[:1]


def _adds_nothing(flow: PassiveFlow, direction: int, data: bytes) -> bool:
    """Whether a datagram of a call is media's, or of a type or channel that was read before: agents test on and on.

    So are the records of DTLS that nothing looks for.
    """
    first = data[0]
    if first >= _NOT_CALLS or (_STUN_BELOW <= first < _CHANNELS and first not in _RECORDS):
        return True
    if first == _HANDSHAKE and (any(data[_EPOCH]) or data[_MESSAGE] not in _HELLOS):
        return True
    return (direction, message_type(data)) in flow.messages
