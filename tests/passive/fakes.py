"""A handful of signatures and packets, so that the reader's rules are tested apart from the real signatures."""

import re
from types import MappingProxyType

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Side, Transport
from flowsonar.signatures.matcher import Match

CLIENT = bytes([192, 0, 2, 1])
SERVER = bytes([198, 51, 100, 9])

_LIKELY, _CONFIRMED = Confidence.LIKELY, Confidence.CONFIRMED
_PATTERNS = (
    ("http", Side.INITIATOR, Transport.TCP, rb"^(?:GET|POST) [^\r\n]* HTTP/1\.[01]\r\n", _LIKELY),
    ("http", Side.INITIATOR, Transport.TCP, rb"^PRI \* HTTP/2\.0\r\n", _LIKELY),
    ("http", Side.RESPONDER, Transport.TCP, rb"^HTTP/1\.[01] \d{3} ?", _LIKELY),
    ("ssh", None, Transport.TCP, rb"^SSH-2\.0-(?P<product>[^ \r\n]+)", _CONFIRMED),
    ("ftp", Side.RESPONDER, Transport.TCP, rb"^220[ -].*FTP", _LIKELY),
    ("smtp", Side.RESPONDER, Transport.TCP, rb"^220[ -].*SMTP", _LIKELY),
    ("smtp", Side.INITIATOR, Transport.TCP, rb"^EHLO ", _LIKELY),
    ("greets", None, Transport.TCP, rb"^GREETS ", _LIKELY),
    ("proof", Side.RESPONDER, Transport.TCP, rb"^(?:GREETS [^\n]*\n)?PROOF", _CONFIRMED),
    ("weak", None, Transport.TCP, rb"^weak ", _LIKELY),
    ("sip", None, Transport.UDP, rb"^(?:OPTIONS sip:[^\r\n]*|)SIP/2\.0", _CONFIRMED),
)

GET = b"GET / HTTP/1.1\r\nHost: files.example\r\nUser-Agent: curl/8.1 (something long enough to be no greeting)\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000") + b"\x07example\x03org\x00\x00\x01\x00\x01"
ANSWER = QUERY[:2] + b"\x81\x80" + QUERY[4:]


class FakeMatcher:
    def __init__(self):
        self.calls = 0
        self._patterns = [(*rest[:3], re.compile(rest[3]), rest[4]) for rest in _PATTERNS]

    def payload(self, transport, side, data, ports=()):
        self.calls += 1
        found = []
        for service, from_side, over, pattern, confidence in self._patterns:
            if over is not transport or (None not in (side, from_side) and side is not from_side):
                continue
            match = pattern.search(data)
            if match:
                product = match.groupdict().get("product")
                found.append(
                    Match(
                        service="greets" if service == "proof" else service,
                        pattern=f"{service}/fake",
                        confidence=confidence,
                        product=product.decode() if product else None,
                        specificity=35 if service == "proof" else 10,
                    )
                )
        return sorted(found, key=lambda match: -match.specificity)


class FakeSignatures:
    on_port = frozenset({"weak/fake"})
    greetings = frozenset({"greets/fake"})
    one_sided = MappingProxyType({"request/fake": Side.INITIATOR, "answer/fake": Side.RESPONDER})

    def is_slight(self, pattern):
        return pattern == "slight/fake"

    def by_alpn(self, name):
        return ("http",) if name in {"h2", "http/1.1"} else ()

    def by_port(self, transport, port):
        return {(Transport.TCP, 80): ("http",), (Transport.UDP, 53): ("dns",)}.get((transport, port), ())

    def by_ip_protocol(self, number):
        return {1: "icmp", 58: "icmp", 50: "ipsec"}.get(number)


def opened(*, protocol=6, client=CLIENT, client_port=40000, server=SERVER, server_port=8080, midstream=False, flow=1):
    return Opened(flow, 0, protocol, client, client_port, server, server_port, 0, 0, midstream)


class Conversation:
    """Feeds a reader one flow and keeps what it finds."""

    def __init__(self, reader, start=None, **where):
        self.reader = reader
        self.flow = reader.open(start or opened(**where))
        self.evidence = []
        self.announcements = []
        self.done = False
        self.followed = False
        self._index = [0, 0]
        self._offset = [0, 0]

    def _take(self, findings):
        self.evidence += findings.evidence
        self.announcements += findings.announcements
        self.done = self.done or findings.done
        self.followed = self.followed or findings.follow
        return self

    def send(self, data, direction=0):
        event = Payload(1, 0, direction, self._index[direction], self._offset[direction], data[:2048], len(data), 0)
        self._index[direction] += 1
        self._offset[direction] += len(data)
        return self._take(self.reader.payload(self.flow, event))

    def answer(self, data):
        return self.send(data, 1)

    def close(self):
        return self._take(self.reader.close(self.flow))

    @property
    def best(self):
        """Service and confidence of the surest evidence."""
        named = [one for one in self.evidence if one.service]
        if not named:
            return None
        best = max(named, key=lambda one: (one.confidence.rank, one.specificity))
        return best.service, best.confidence.value
