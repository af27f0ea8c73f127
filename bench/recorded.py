"""Recorded banners as servers: recog's examples put back into their protocols, and asked by our own conversations.

A stand-in says the banner where its protocol has it, and answers questions as a plain server of that protocol would
(FTP: 500, SMTP: 250 to EHLO, POP3: -ERR, ...); time is simulated. What is counted is the label, and any confirmed
label of another service. SNMP and NTP variables are no answers to questions we put: they are read as a flow's payload.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from flowsonar.config import Settings
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Question, Side, Transport, Verdict
from flowsonar.probes.dialogue import (
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Received,
    Send,
    Sent,
    TimedOut,
    Wait,
)
from flowsonar.probes.session import Session
from flowsonar.signatures import Matcher, SignatureSet, load_signatures
from flowsonar.signatures.recog import read_recog
from flowsonar.verdicts.fusion import fuse

__all__ = ["Missed", "recorded", "run"]

Answer = Callable[[bytes], bytes | None]
"""What a stand-in says to a message; None: nothing."""
_ODD_PORT = 4444
_PORTS = {"sip_header.server": 5060, "sip_header.user_agent": 5060, "x11.vendor": 6000}
"""Who is asked on its own port: on others X11 is not asked, and SIP over TCP, silent to all else, late."""


class Server(NamedTuple):
    """A stand-in."""

    greeting: bytes = b""
    answer: Answer = lambda _message: None
    transport: Transport = Transport.TCP


class Missed(NamedTuple):
    """An example that was not labelled as its protocol."""

    key: str
    wanted: str
    verdict: Verdict
    example: bytes


# -- protocols --------------------------------------------------------------------------------------------------


def _lines(code: bytes, text: bytes) -> bytes:
    lines = [line.rstrip(b"\r") for line in text.split(b"\n")]
    last = len(lines) - 1
    return b"".join(code + (b"-" if at < last else b" ") + line + b"\r\n" for at, line in enumerate(lines))


def _line(text: bytes) -> bytes:
    return b" ".join(text.split(b"\n")).replace(b"\r", b"").strip()


def _ftp(text: bytes) -> Server:
    return Server(_lines(b"220", text), lambda _: b"500 Unknown command.\r\n")


def _smtp(text: bytes) -> Server:
    def answer(message: bytes) -> bytes:
        return b"250 mail.example\r\n" if message[:4].upper() in (b"EHLO", b"HELO") else b"500 What?\r\n"

    return Server(_lines(b"220", text), answer)


def _pop3(text: bytes) -> Server:
    return Server(b"+OK " + _line(text) + b"\r\n", lambda _: b"-ERR unknown command\r\n")


def _imap(text: bytes) -> Server:
    def answer(message: bytes) -> bytes:
        tag, _, command = message.strip().partition(b" ")
        if command.upper() == b"CAPABILITY":
            return b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n"
        return (tag or b"*") + b" BAD what?\r\n"

    return Server(b"* OK " + _line(text) + b"\r\n", answer)


def _nntp(text: bytes) -> Server:
    return Server(b"200 " + _line(text) + b"\r\n", lambda _: b"500 What?\r\n")


def _ssh(text: bytes) -> Server:
    return Server(b"SSH-2.0-" + text + b"\r\n")


def _telnet(text: bytes) -> Server:
    return Server(bytes.fromhex("fffd18 fffd1f fffb01 fffb03") + text)


def _http(head: Callable[[bytes], bytes]) -> Callable[[bytes], Server]:
    def server(text: bytes) -> Server:
        def answer(message: bytes) -> bytes:
            asks = message.startswith((b"GET ", b"OPTIONS ", b"HEAD ")) and b" HTTP/1." in message
            return head(text) if asks else b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"

        return Server(answer=answer)

    return server


def _field(name: bytes, status: bytes = b"200 OK") -> Callable[[bytes], bytes]:
    return lambda text: b"HTTP/1.1 " + status + b"\r\n" + name + b": " + _line(text) + b"\r\nContent-Length: 0\r\n\r\n"


def _page(text: bytes) -> bytes:
    body = b"<html><head><title>" + text + b"</title></head></html>"
    return b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + body


def _text(version: bytes, name: bytes) -> Callable[[bytes], Server]:
    """SIP and RTSP: the fields that a response repeats from the request."""
    repeated = (b"via", b"from", b"to", b"call-id", b"cseq")

    def server(text: bytes) -> Server:
        def answer(message: bytes) -> bytes | None:
            lines = message.split(b"\r\n")
            if version not in lines[0]:
                return b"RTSP/1.0 400 Bad Request\r\n\r\n" if version == b"RTSP/1.0" else None
            kept = [line for line in lines[1:] if line.partition(b":")[0].lower() in repeated]
            status = version + b" 200 OK"
            return b"\r\n".join([status, *kept, name + b": " + _line(text), b"Content-Length: 0", b"", b""])

        return Server(answer=answer)

    return server


def _packet(body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + b"\0" + body


def _mysql(text: bytes) -> Server:
    rest = bytes.fromhex("2a000000 4142434445464748 00 fff7 21 0200 ff81 15") + bytes(10) + b"ijklmnopqrst\0"
    return Server(_packet(b"\x0a" + text + b"\0" + rest + b"mysql_native_password\0"))


def _mysql_error(text: bytes) -> Server:
    return Server(_packet(b"\xff\x6a\x04" + text))


def _x11(text: bytes) -> Server:
    vendor = text + bytes(-len(text) % 4)
    fixed = b"\0" * 4 + bytes.fromhex("00000002 ffff1f00 00010000") + len(text).to_bytes(2, "little")
    body = fixed + bytes.fromhex("ffff 0100 0000 2020 08ff 00000000")[:14] + vendor + bytes(48)
    head = b"\x01\x00\x0b\x00\x00\x00" + (len(body) // 4).to_bytes(2, "little")
    return Server(answer=lambda message: head + body if message[:1] in (b"l", b"B") else None)


def _tlv(tag: int, body: bytes) -> bytes:
    return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body


def _snmp(text: bytes) -> bytes:
    value = _tlv(0x30, bytes.fromhex("06082b06010201010100") + _tlv(4, text))
    pdu = bytes.fromhex("020412345678 020100 020100") + _tlv(0x30, value)
    return _tlv(0x30, b"\x02\x01\x00\x04\x06public" + _tlv(0xA2, pdu))


def _ntp(text: bytes) -> bytes:
    return bytes.fromhex("16 82 0001 0615 0000 0000") + len(text).to_bytes(2, "big") + text


SERVERS: dict[str, tuple[str, Callable[[bytes], Server]]] = {
    "ftp.banner": ("ftp", _ftp),
    "http_header.cookie": ("http", _http(_field(b"Set-Cookie"))),
    "http_header.server": ("http", _http(_field(b"Server"))),
    "http_header.wwwauth": ("http", _http(_field(b"WWW-Authenticate", b"401 Unauthorized"))),
    "http_header.x-powered-by": ("http", _http(_field(b"X-Powered-By"))),
    "html_title": ("http", _http(_page)),
    "imap4.banner": ("imap", _imap),
    "mysql.banners": ("mysql", _mysql),
    "mysql.error": ("mysql", _mysql_error),
    "nntp.banner": ("nntp", _nntp),
    "pop3.banner": ("pop3", _pop3),
    "rtsp_header.server": ("rtsp", _text(b"RTSP/1.0", b"Server")),
    "sip_header.server": ("sip", _text(b"SIP/2.0", b"Server")),
    "sip_header.user_agent": ("sip", _text(b"SIP/2.0", b"User-Agent")),
    "smtp.banner": ("smtp", _smtp),
    "ssh.banner": ("ssh", _ssh),
    "telnet_banners": ("telnet", _telnet),
    "x11.vendor": ("x11", _x11),
}
PAYLOADS: dict[str, tuple[str, int, Callable[[bytes], bytes]]] = {
    "ntp.readvar": ("ntp", 123, _ntp),
    "snmp.sys_description": ("snmp", 161, _snmp),
}


# -- asking -----------------------------------------------------------------------------------------------------


class _Played:
    """Runs one conversation against a stand-in, in simulated time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._now_s = 100.0
        self._pending: list[bytes] = []

    def do(self, command: Command) -> Event:
        match command:
            case Connect():
                self._now_s += 0.001
                self._pending = [self._server.greeting] if self._server.greeting else []
                return Connected(self._now_s, 0.001, "10.0.0.1", 40000)
            case Send(data=data):
                said = self._server.answer(data)
                if said is not None:
                    self._pending.append(said)
                return Sent(self._now_s)
            case Wait(seconds=seconds):
                if self._pending:
                    self._now_s += 0.0005
                    return Received(self._now_s, self._pending.pop(0))
                self._now_s += seconds
                return TimedOut(self._now_s)
            case Close():
                return Closed(self._now_s)
        return Ended(self._now_s, Outcome.CLOSED)


def _asked(server: Server, port: int, signatures: SignatureSet, matcher: Matcher) -> tuple[Evidence, ...]:
    question = Question(endpoint=Endpoint(Transport.TCP, "10.0.0.9", port))
    session = Session(
        question, signatures=signatures, matcher=matcher, settings=Settings(), now_s=100.0, pick=random.Random(1)
    )
    talk, played = session.talk(), _Played(server)
    try:
        command = next(talk)
        while True:
            command = talk.send(played.do(command))
    except StopIteration as stop:
        evidence: tuple[Evidence, ...] = stop.value.evidence
        return evidence


def _seen(data: bytes, port: int, matcher: Matcher) -> tuple[Evidence, ...]:
    matches = matcher.payload(Transport.UDP, None, data, (40000, port))
    return tuple(
        Evidence(EvidenceKind.PAYLOAD, one.service, one.confidence, Side.RESPONDER, specificity=one.specificity)
        for one in matches
    )


def run(recog: Path, keys: frozenset[str] = frozenset()) -> Iterator[tuple[str, str, int, list[Missed], int]]:
    """Every key with its service, the number of examples, those that were missed, and products that were named."""
    signatures = load_signatures()
    matcher = Matcher(signatures, recog=recog)
    for key, fingerprints in read_recog(recog).items():
        if (keys and key not in keys) or key not in SERVERS.keys() | PAYLOADS.keys():
            continue
        wanted = (SERVERS.get(key) or PAYLOADS[key])[0]
        missed, count, products = [], 0, 0
        for example in (example for one in fingerprints for example in one.examples):
            count += 1
            if key in SERVERS:
                evidence = _asked(SERVERS[key][1](example.data), _PORTS.get(key, _ODD_PORT), signatures, matcher)
            else:
                _, port, wrap = PAYLOADS[key]
                evidence = _seen(wrap(example.data), port, matcher)
            verdict = fuse(evidence, signatures.traffic_class, None, signatures.parents)
            products += verdict.product is not None
            if verdict.service is None or wanted not in (verdict.service, *signatures.ancestors(verdict.service)):
                missed.append(Missed(key, wanted, verdict, example.data))
        yield key, wanted, count, missed, products


def recorded(recog: Path, *, say: Callable[[str], None] = print) -> list[str]:
    """The table, as Markdown lines; every example that was missed is said."""
    lines = [
        "| banners | examples | right service | other, confirmed | likely at most | product named |",
        "|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for key, wanted, count, missed, products in run(recog):
        wrong = [one for one in missed if one.verdict.confidence is Confidence.CONFIRMED]
        other = len(missed) - len(wrong)
        for one in missed:
            label = f"{one.verdict.service} ({one.verdict.confidence})"
            say(f"missed: {key}: {label} where {wanted} was meant: {one.example[:100]!r}")
        lines.append(f"| {key} | {count} | {count - len(missed)} | {len(wrong)} | {other} | {products} |")
        total.update(count=count, right=count - len(missed), wrong=len(wrong), other=other, products=products)
    share = 100 * total["right"] / max(1, total["count"])
    lines.append(
        f"| all | {total['count']} | {total['right']} ({share:.1f} %) | {total['wrong']} | {total['other']} "
        f"| {total['products']} |"
    )
    return lines
