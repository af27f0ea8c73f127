"""Servers that lie: first lines without the service behind them, one answer to every question, pages that name others.

None of them may be `confirmed` as what it imitates; see `lab.peers.liar` for the kinds.

Whoever plays a whole genuine answer back cannot be told from the service by anybody who does not log in, so such
replays are not here: these say what a careless rule would take for proof.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab.catalogue.entry import Entry
from lab.peers.liar import Liar
from lab.services.base import Service, Site, talk
from lab.truth import Kind, Truth

__all__ = ["PROGRAMS", "lies"]

_LIAR = Truth(service=None, kind=Kind.BANNER, asks=True)
_BANNERS: dict[str, bytes] = {
    "ftp": b"220 (vsFTPd 3.0.3)\r\n",
    "smtp": b"220 mail.lab.example ESMTP Postfix (Debian/GNU)\r\n",
    "pop3": b"+OK Dovecot (Debian) ready.\r\n",
    "imap": b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE STARTTLS] Dovecot ready.\r\n",
    "nntp": b"200 news.lab.example ready (posting ok)\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "telnet": b"\r\nlab login: ",
    "220": b"220 hello\r\n",
    "200": b"200 OK\r\n",
    "ok": b"+OK\r\n",
    "star": b"* hello\r\n",
    "time": bytes.fromhex("eb6f1c80"),
    "four-zeros": bytes(4),
    "zeros": bytes(64),
    "hash": b"# munin\r\n",
    "at": b"@RSYNCD\n",
    "brace": b"{}\n",
    "paren": b"( success )\n",
}
"""What is said at once."""
_ANSWERS: dict[str, bytes] = {
    "ok": b"OK\r\n",
    "plus-ok": b"+OK\r\n",
    "error": b"ERROR\r\n",
    "minus-err": b"-ERR unknown command\r\n",
    "500": b"500 unknown command\r\n",
    "250": b"250 OK\r\n",
    "http-nonsense": b"HTTP/1.1 what\r\n\r\n",
    "http-09": b"hello\r\n",
    "json": b'{"error":"unknown"}\n',
    "json-empty": b"{}",
    "xml": b"<?xml version='1.0'?><error/>",
    "zeros-4": bytes(4),
    "zeros-16": bytes(16),
    "zeros-64": bytes(64),
    "ones-64": b"\xff" * 64,
    "length": b"\x00\x00\x00\x04\x00\x00\x00\x00",
    "five-zero": b"\x05\x00",
    "five-ff": b"\x05\xff",
    "s": b"S",
    "n": b"N",
    "tls-record": bytes.fromhex("160301000400000000"),
    "tpkt": bytes.fromhex("0300000b06d00000123400"),
    "ber": bytes.fromhex("3003020100"),
    "amqp": b"AMQP",
    "stun": bytes.fromhex("0101000000000000") + bytes(12),
    "random": bytes.fromhex("9b1d4e7f20c35a866d11f0e2b47c983a5fd1e6024b73a8c90e2f5d6b1c7a4839"),
}
"""What is said to whatever comes."""
_DATAGRAMS: dict[str, bytes] = {
    "zeros-4": bytes(4),
    "zeros-48": bytes(48),
    "ntp": bytes.fromhex("24010000") + bytes(44),
    "dns": bytes.fromhex("000081800001000000000000"),
    "snmp": bytes.fromhex("3003020101"),
    "quake": b"\xff\xff\xff\xffprint\n",
    "json": b"{}",
    "random": _ANSWERS["random"],
    "krpc": b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t2:aa1:y1:re",
    "sip": b"SIP/2.0 200 OK\r\n\r\n",
    "tftp": bytes.fromhex("00050001") + b"no\x00",
}
_PAGES: dict[str, bytes] = {
    "elasticsearch": b"<title>Elasticsearch</title>You Know, for Search: cluster_name lucene_version",
    "docker": b"<title>Docker</title>docker ApiVersion etcd kubernetes gitVersion prometheus",
    "ftp": b"220 (vsFTPd 3.0.3)\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "redis": b"-ERR unknown command\r\n$12\r\n# Server\r\nredis_version:7.0.15\r\n",
    "rtsp": b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
    "cups": b"<title>Home - CUPS 2.4.2</title>",
}
"""What every page of a web server says: it is `http`, and nothing else."""


def lies() -> Iterator[tuple[str, Truth, Liar]]:
    """Name, truth and the liar itself, whose port is still to be chosen."""
    for name, data in _BANNERS.items():
        for kind in ("banner", "banner-garbage", "banner-again"):
            yield f"liar-{kind}-{name}", _LIAR, Liar(port=0, kind=kind, data=data)
    for name, data in _ANSWERS.items():
        for kind in ("answer", "answer-close"):
            yield f"liar-{kind}-{name}", _LIAR, Liar(port=0, kind=kind, data=data)
    for name, data in _DATAGRAMS.items():
        for kind in ("answer", "mixed"):
            yield f"liar-udp-{kind}-{name}", _LIAR, Liar(port=0, kind=kind, data=data, transport="udp")
    for name, data in _PAGES.items():
        yield f"liar-page-{name}", Truth(service="http"), Liar(port=0, kind="http", data=data)
    yield "liar-mixed", _LIAR, Liar(port=0, kind="mixed", data=b"\r\n")


def _liars(site: Site) -> None:
    served, folder = [], site.folder("liars")
    for name, truth, unplaced in lies():
        liar = replace(unplaced, port=site.ports.one())
        served.append(liar)
        client = talk("--say", "good morning\\r\\n", "--seconds", "1", transport=liar.transport)
        site.offer(
            Service(name=name, transport=liar.transport, port=liar.port, truth=truth, clients=(client,), families=(4,))
        )
    file: Path = folder / "liars.json"
    file.write_text(json.dumps([liar.line() for liar in served]))
    site.python("lab.peers.liar", site.address4, file, name="liars")


PROGRAMS = (Entry(name="liars", start=_liars, program="/"),)
