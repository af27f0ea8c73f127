"""Which part of a service's reply is which field that recog's databases know: the banner without its protocol.

recog wants "OpenSSH_9.2p1 Debian-2", not "SSH-2.0-OpenSSH_9.2p1 Debian-2", and the value of `Server`, not the response.
Every expression is anchored or looks for one header line, and runs in linear time over the first `HEAD_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

from flowsonar.signatures.engines import Regex, compile_regex

__all__ = ["SERVICES", "fields_of"]

HEAD_BYTES: Final = 16384
"""Headers and titles are looked for in this much of a reply."""
_COOKIES: Final = 8
"""Cookies of one response that are looked at."""

_Fields = Iterator[tuple[str, bytes]]
_Extract = Callable[[bytes], _Fields]


def fields_of(service: str, data: bytes) -> _Fields:
    """The keys of recog's databases and the fields for them, the most telling first."""
    extract = _EXTRACT.get(service)
    if extract is not None:
        yield from extract(data)


def _one(key: str, pattern: str) -> _Extract:
    """The first group of a pattern."""
    made: list[Regex] = []

    def extract(data: bytes) -> _Fields:
        if not made:
            made.append(compile_regex(pattern))
        found = made[0].search(data[:HEAD_BYTES])
        if found is not None and found[1]:
            yield key, found[1]

    return extract


def _all(*extracts: _Extract) -> _Extract:
    def extract(data: bytes) -> _Fields:
        for one in extracts:
            yield from one(data)

    return extract


def _header(key: str, name: str) -> _Extract:
    return _one(key, rf"(?i)\r?\n{name}:[ \t]*([^\r\n]*[^\s\r\n])[ \t]*\r?(?:\n|$)")


def _cookies(data: bytes) -> _Fields:
    """Each `Set-Cookie`."""
    count = 0
    for line in data[:HEAD_BYTES].split(b"\n"):
        if line in (b"\r", b"") or count >= _COOKIES:
            return
        if line[:11].lower() == b"set-cookie:":
            count += 1
            yield "http_header.cookie", line[11:].strip()


def _title(data: bytes) -> _Fields:
    for key, title in _TITLE(data):
        import html  # few captures need it

        yield key, html.unescape(title.decode("utf-8", "replace")).strip().encode()


_TITLE: Final = _one("html_title", r"(?is)<title[^>]{0,200}>[ \t\r\n]*([^<]{1,400}[^<\s])")


def _reply_lines(key: str, code: bytes) -> _Extract:
    """A greeting with a code on each line (RFC 959, RFC 5321): the text of all lines, then of each."""

    def extract(data: bytes) -> _Fields:
        lines = [line.removesuffix(b"\r") for line in data[:HEAD_BYTES].split(b"\n")]
        texts: list[bytes] = []
        for line in lines:
            if line[:3].isdigit():
                if line[:3] != code and texts:
                    break
                line = line[4:]  # noqa: PLW2901
            if line:
                texts.append(line)
        if texts and data[:3] == code:
            if len(texts) > 1:
                yield key, b"\r\n".join(texts)
            for text in texts[:4]:
                yield key, text

    return extract


def _telnet(data: bytes) -> _Fields:
    """The text without the negotiation (RFC 854)."""
    out = bytearray()
    at, data = 0, data[:HEAD_BYTES]
    while at < len(data):
        byte = data[at]
        if byte != 0xFF:
            out.append(byte)
            at += 1
        elif data[at + 1 : at + 2] == b"\xfa":  # subnegotiation
            end = data.find(b"\xff\xf0", at + 2)
            at = len(data) if end < 0 else end + 2
        else:
            at += 3 if data[at + 1 : at + 2] and data[at + 1] >= 0xFB else 2
    text = bytes(out)
    if text:
        yield "telnet_banners", text
        if (stripped := text.strip()) != text:
            yield "telnet_banners", stripped


def _mysql(data: bytes) -> _Fields:
    """The server version of a handshake (protocol 10), or the text of an error packet."""
    body = data[4:]
    if body[:1] in (b"\x0a", b"\x09"):
        yield "mysql.banners", body[1:257].split(b"\0", 1)[0]
    elif body[:1] == b"\xff" and len(body) > 3:
        yield "mysql.error", body[3 : int.from_bytes(data[:3], "little")]


def _snmp(data: bytes) -> _Fields:
    """The string after the OID of sysDescr.0, where a reply carries one."""
    at = data.find(b"\x2b\x06\x01\x02\x01\x01\x01\x00\x04")
    if at < 0:
        return
    at += 9
    length = data[at] if at < len(data) else 0
    at += 1
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[at : at + size], "big") if size <= 2 else 0
        at += size
    if length:
        yield "snmp.sys_description", data[at : at + length]


def _dns(data: bytes) -> _Fields:
    """The text of a TXT answer to version.bind."""
    at = data.lower().find(b"\x07version\x04bind\x00\x00\x10\x00\x03")
    end = at + 18
    if at < 0 or len(data) < end + 13:
        return
    end += 2 if data[end] & 0xC0 == 0xC0 else 14  # the answer's own name, compressed or not
    text = data[end + 10 :]
    if text:
        yield "dns.versionbind", text[1 : 1 + text[0]]


def _ntp(data: bytes) -> _Fields:
    """The variables of a control message (RFC 9327), where a flow shows one."""
    if len(data) > 12 and data[0] & 7 == 6:
        yield "ntp.readvar", data[12:]


def _x11(data: bytes) -> _Fields:
    """The vendor of an accepted connection setup."""
    orders: tuple[Literal["big"], Literal["little"]] = ("big", "little")
    for order in orders:
        if data[:1] == b"\x01" and len(data) > 40:
            length = int.from_bytes(data[24:26], order)
            if 0 < length <= len(data) - 40:
                yield "x11.vendor", data[40 : 40 + length]


def _whole(key: str) -> _Extract:
    def extract(data: bytes) -> _Fields:
        yield key, data

    return extract


_SERVER: Final = _header("http_header.server", "Server")
_EXTRACT: Final[dict[str, _Extract]] = {
    "dns": _dns,
    "ftp": _reply_lines("ftp.banner", b"220"),
    "http": _all(
        _SERVER,
        _header("http_header.x-powered-by", "X-Powered-By"),
        _header("http_header.wwwauth", "WWW-Authenticate"),
        _cookies,
        _title,
    ),
    "imap": _all(
        _one("imap4.banner", r"(?i)^\* (?:OK|PREAUTH|BYE) ([^\r\n]+)"),
        _one("imap4.banner", r"(?i)^\* (?:OK|PREAUTH|BYE) \[[^\]\r\n]*\] ?([^\r\n]+)"),
    ),
    "ldap": _whole("ldap.search_result"),
    "mysql": _mysql,
    "nntp": _one("nntp.banner", r"^20[01][ -]([^\r\n]+)"),
    "ntp": _ntp,
    "pop3": _one("pop3.banner", r"^\+OK ([^\r\n]+)"),
    "rtsp": _header("rtsp_header.server", "Server"),
    "sip": _all(_header("sip_header.server", "Server"), _header("sip_header.user_agent", "User-Agent")),
    "smtp": _reply_lines("smtp.banner", b"220"),
    "snmp": _snmp,
    "ssh": _one("ssh.banner", r"^SSH-[0-9.]+-([^\r\n]+)"),
    "telnet": _telnet,
    "x11": _x11,
}
SERVICES: Final = frozenset(_EXTRACT)
"""Services of whose replies recog knows something."""
