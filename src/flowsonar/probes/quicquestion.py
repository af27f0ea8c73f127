"""Looking into QUIC: a handshake of our own, and what is asked inside by the ALPN name that the server picks.

Without sockets: `look_inside` is a part of a conversation (see `dialogue`), used with `yield from`.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Final

from flowsonar import limits
from flowsonar.model import Confidence, Hints, Layer, Transport
from flowsonar.probes.dialogue import Line, Talk
from flowsonar.probes.exchange import Exchange
from flowsonar.probes.moves import Heard, Seen, clamp
from flowsonar.probes.replies import Asked, Judge
from flowsonar.probes.special import h3
from flowsonar.probes.special.quic import NO_APPLICATION_PROTOCOL, RESERVED_NAME, QuicClient
from flowsonar.probes.special.quicframes import stream
from flowsonar.probes.special.tls import TlsFacts, read_certificate
from flowsonar.protocols.quic_keys import scheme_of
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.templates import AGENT, Message

__all__ = ["look_inside"]

PROBE: Final = ProbeSpec(service="quic", name="handshake", transport=Transport.UDP, steps=(), special="quic", rarity=9)
NAMES: Final = (RESERVED_NAME, b"h3", b"doq")
"""ALPN names offered where the flow showed none: HTTP/3 (RFC 9114), DNS over QUIC (RFC 9250)."""
HANDSHAKES: Final = 2
"""Handshakes at most: the second with our own names or in another version, where the server told so."""
ANSWER_FLOOR_S: Final = 0.15
"""A local server answers a datagram within this even on a busy machine; then the datagram is sent once more."""
SILENCES: Final = 3
HANDSHAKE_FLOOR_S: Final = 1.0
DATAGRAMS: Final = 32
"""Datagrams read of one connection."""

_DNS_QUESTION: Final = bytes.fromhex("0000 0000 0001 0000 0000 0000 07") + b"version\x04bind\0\0\x10\0\x03"
"""version.bind in class CHAOS, with the identifier that RFC 9250 section 4.2.1 asks for."""


def look_inside(exchange: Exchange, judge: Judge, seen: Seen, hints: Hints, pick: random.Random) -> Talk[None]:
    """Do a handshake with the flow's names, or ours, and ask what the ALPN name that was picked speaks."""
    seen.securing = True
    names = tuple(name.encode("ascii", "replace") for name in hints.alpn if 0 < len(name) < 256) or NAMES
    version = _shown_version(hints)
    for _ in range(HANDSHAKES):
        line = exchange.standing(None)
        if line is None:
            line = yield from exchange.open(None, PROBE.id)
        if line is None:
            return
        host = hints.server_name or exchange.host
        says = partial(_says, host)
        client = QuicClient(hints.server_name, names, pick, version=version, says=says)
        yield from _converse(exchange, line, client)
        _judge(exchange, judge, line, client, names)
        other = next((one for one in client.versions if _speaks(one)), None)
        if other is not None:
            version = other
        elif client.closed == NO_APPLICATION_PROTOCOL and names != NAMES:
            names = NAMES
        else:
            return
        if exchange.failed is not None or exchange.left_s <= 0:
            return


def _shown_version(hints: Hints) -> int:
    version = int.from_bytes(hints.initiator_bytes[1:5], "big")
    return version if len(hints.initiator_bytes) > 5 and _speaks(version) else 1


def _speaks(version: int) -> bool:
    scheme = scheme_of(version)
    return scheme is not None and scheme.tls and scheme.crypto == 0x06


def _says(host: str, alpn: bytes | None) -> bytes:
    """What goes with the end of our handshake."""
    if _is_web(alpn):
        return h3.request(host, AGENT)
    if alpn == b"doq":
        return stream(0, len(_DNS_QUESTION).to_bytes(2, "big") + _DNS_QUESTION, final=True)
    return b""


def _is_web(alpn: bytes | None) -> bool:
    return alpn is not None and (alpn == b"h3" or alpn.startswith(b"h3-"))


def _converse(exchange: Exchange, line: Line, client: QuicClient) -> Talk[None]:
    rtt_s = exchange.seen.rtt_s or 0.0
    until_s = line.now_s + min(exchange.left_s, 6 * rtt_s + HANDSHAKE_FLOOR_S)
    patience_s = clamp(3 * rtt_s, ANSWER_FLOOR_S, HANDSHAKE_FLOOR_S)
    silences = 0
    for _ in range(DATAGRAMS):
        for datagram in client.outgoing():
            yield from exchange.say(line, datagram, PROBE)
        if client.ended or _is_enough(client) or line.end is not None or line.now_s >= until_s:
            break
        data = yield from exchange.datagram(line, min(patience_s, max(0.0, until_s - line.now_s)))
        if data is not None:
            client.feed(data)
            continue
        silences += 1
        if silences >= SILENCES or line.end is not None:
            break
        client.again()
    bye = client.close()
    if bye and line.end is None:
        yield from exchange.say(line, bye, PROBE)


def _is_enough(client: QuicClient) -> bool:
    """Whether the last word has come."""
    if not client.done:
        return False
    if _is_web(client.tls.alpn):
        return bool(h3.answer(client.streams().get(0, b"")))
    return client.tls.alpn != b"doq" or bool(_dns_answer(client))


def _dns_answer(client: QuicClient) -> bytes:
    """The message on the question's stream, once it is whole, with its length before it."""
    data = client.streams().get(0, b"")
    return data if len(data) > 2 and len(data) >= 2 + int.from_bytes(data[:2], "big") else b""


def _judge(exchange: Exchange, judge: Judge, line: Line, client: QuicClient, names: tuple[bytes, ...]) -> None:
    seen = exchange.seen
    if not client.heard:
        seen.last = Heard.SILENT
        return
    seen.last = Heard.KNOWN
    judge.proved("quic", Confidence.CONFIRMED, PROBE.id, _line(client))
    alpn = client.tls.alpn
    if alpn is None or alpn == RESERVED_NAME or alpn not in names:
        return
    told = f"picks ALPN {_shown(alpn)} out of {len(names)} names"
    services = ("http",) if _is_web(alpn) else judge.by_alpn(_shown(alpn))
    if len(services) == 1:
        judge.proved(services[0], Confidence.LIKELY, PROBE.id, told, over=Layer.QUIC)
    streams = client.streams()
    facts = exchange.facts(line).sent()
    if _is_web(alpn):
        if h3.has_settings(streams):
            data = next(data for number, data in streams.items() if number & 3 == 3 and h3.has_settings({number: data}))
            judge.proved("http", Confidence.CONFIRMED, PROBE.id, "HTTP/3 SETTINGS", over=Layer.QUIC, data=data)
        answer = h3.answer(streams.get(0, b""))[: limits.REPLY_BYTES]
        if answer:
            judge.reply(Asked("http/get", 0, Message(b"", facts), over=Layer.QUIC), answer, Transport.TCP, closed=True)
    elif alpn == b"doq" and (answer := _dns_answer(client)):
        asked = Asked("dns/version-tcp", 0, Message(b"", {**facts, "id": b"\0\0"}), over=Layer.QUIC)
        judge.reply(asked, answer, Transport.TCP, closed=True)


def _shown(alpn: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in alpn)


def _line(client: QuicClient) -> str:
    """What the handshake showed, for people."""
    if client.versions:
        return "speaks versions " + ", ".join(f"{version:08x}" for version in client.versions[:8])
    tls = client.tls
    alpn = _shown(tls.alpn) if tls.alpn else None
    facts = TlsFacts(version=client.line(), cipher="", alpn=alpn, **read_certificate(tls.certificate))
    line = facts.line()
    if client.closed == NO_APPLICATION_PROTOCOL:
        return f"{line}; speaks none of our ALPN names"
    if client.closed is not None:
        line += f"; closed with code {client.closed:#x}"
        line += f": {_printable(client.reason)}" if client.reason else ""
    return line


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
