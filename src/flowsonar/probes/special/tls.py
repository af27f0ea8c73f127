"""TLS as bytes in, bytes out: the standard library's OpenSSL over memory buffers, and what the records themselves show.

Specification: RFC 8446, RFC 5246, RFC 6066 (SNI), RFC 7301 (ALPN). Default ports: 443 and each service's own.
Sends: one ClientHello with the flow's SNI and ALPN, then what the handshake asks for; no client certificate.
On the other side: one handshake, logged by some servers. Nothing is verified, for nothing is entrusted to it.
What could look the same: nothing else answers a ClientHello with a ServerHello or a TLS alert.
"""

from __future__ import annotations

import re
import ssl
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypedDict

__all__ = ["HANDSHAKE_BYTES", "TlsClient", "TlsFacts", "looks_like_tls", "prepare", "read_certificate", "suggests_tls"]

HANDSHAKE_BYTES: Final = 1 << 18
"""Bytes read of one handshake: certificate chains of a few KiB are usual, OpenSSL itself stops at 100 KiB of them."""

CERTIFICATE_NAMES: Final = 4
"""Names of a certificate that are kept; some carry hundreds."""

NO_APPLICATION_PROTOCOL: Final = 120  # RFC 7301 section 3.2
UNRECOGNIZED_NAME: Final = 112  # RFC 6066 section 3

_ALERT, _HANDSHAKE = 21, 22  # RFC 8446 section 5.1
_SERVER_HELLO = 2  # RFC 8446 section 4

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)

_TOLD = re.compile(
    rb"HTTPS? (?:request was sent to|port)|plain HTTP|to an HTTPS|SSL-enabled server port|requires TLS|"
    rb"TLS (?:required|handshake)|expected TLS",
    re.IGNORECASE,
)
"""How web servers say, in plain HTTP, that this port wants TLS (nginx, Apache httpd, Go, Tomcat and kin)."""

_BROKEN = re.compile(rb"(?:421|5[0-9]{2})[ -][^\r\n]*\b(?:TLS|SSL) (?:handshake|negotiation)", re.IGNORECASE)
"""How FTP and mail servers on a port for TLS turn away what is no hello: ProFTPD `421 TLS handshake failed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What a handshake showed."""

    version: str
    """`TLSv1.3` and so on."""
    cipher: str
    alpn: str | None
    names: tuple[str, ...]
    """DNS names of the certificate, or its common name, at most `CERTIFICATE_NAMES`."""
    issuer: str = ""
    """Who signed the certificate: organisation or common name; `itself` where it did."""
    until: str = ""
    """The last day that the certificate holds, `2027-01-31`."""
    subject_line: str = ""
    """Subject and issuer whole, as RFC 4514 writes them (`CN=x,O=y`), for fingerprints of devices."""
    issuer_line: str = ""

    def line(self) -> str:
        """For people."""
        parts = [self.version, self.cipher]
        if self.alpn:
            parts.append(f"ALPN {self.alpn}")
        if self.names:
            parts.append("certificate for " + ", ".join(self.names))
        if self.issuer:
            parts.append(f"issued by {self.issuer}")
        if self.until:
            parts.append(f"until {self.until}")
        return "; ".join(part for part in parts if part)


class TlsClient:
    """One client side of TLS without a socket. No method raises for what the peer sends: `problem` says it."""

    def __init__(self, server_name: str | None = None, alpn: tuple[str, ...] = ()) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        name = server_name.rstrip(".") if server_name else ""
        host = name if 0 < len(name) < 254 and _HOST.fullmatch(name) else None
        self._object = _context(alpn).wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._head = bytearray()  # the start of a record that is not known whole
        self._skip = 0  # bytes of the current record still to come
        self._scanning = True
        self.done = False  # the handshake is complete
        self.ended = False  # the peer closed, or `problem` is set
        self.problem = ""
        self.server_hello = False
        self.alert: int | None = None  # description of the last alert in plain
        self.received = 0  # bytes

    @property
    def is_tls(self) -> bool:
        """The other side speaks TLS, whether or not with us."""
        return self.done or self.server_hello or self.alert is not None

    @property
    def bars(self) -> bool:
        """It wants a certificate of ours, and said so once the handshake was over (RFC 8446 section 6.2)."""
        return self.done and "certificate required" in self.problem

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """Bytes came."""
        self.received += len(data)
        if not self.done:
            self._scan(data)
            if self.received > HANDSHAKE_BYTES:
                self._fail("the handshake is too long")
                return
        if not self.ended:
            self._incoming.write(data)

    def end(self) -> None:
        """The connection ended."""
        self._incoming.write_eof()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is complete."""
        if not self.done and not self.ended:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLError, ValueError) as problem:
                self._fail(_reason(problem))
            else:
                self.done = True
                self._scanning = False
        return self.done

    def read(self, most: int) -> bytes:
        """Plain bytes that have come, at most `most`."""
        data = bytearray()
        while len(data) < most and not self.ended:
            try:
                part = self._object.read(most - len(data))
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                self.ended = True
                break
            except (ssl.SSLError, ValueError) as problem:
                self._fail(_reason(problem))
                break
            if not part:
                self.ended = True
            data += part
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Encrypt `data`; `outgoing` then has the records."""
        try:
            self._object.write(data)
        except (ssl.SSLError, ValueError) as problem:
            self._fail(_reason(problem))

    def facts(self) -> TlsFacts:
        """What the complete handshake showed."""
        assert self.done, "facts are there once the handshake is complete"
        cipher = self._object.cipher()
        return TlsFacts(
            version=self._object.version() or "TLS",
            cipher=cipher[0] if cipher else "",
            alpn=self._object.selected_alpn_protocol(),
            **read_certificate(self._object.getpeercert(binary_form=True)),
        )

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.ended = True

    def _scan(self, data: bytes) -> None:
        """Walk the plain records for a ServerHello or an alert: OpenSSL does not say how far a handshake came."""
        view = memoryview(data)
        while self._scanning and view:
            if self._skip:
                view, self._skip = view[self._skip :], max(0, self._skip - len(view))
                continue
            take = 7 - len(self._head)
            self._head += view[:take]
            view = view[take:]
            if len(self._head) < 7:
                return
            kind, major, length = self._head[0], self._head[1], int.from_bytes(self._head[3:5], "big")
            if major != 3 or not 20 <= kind <= 23 or length < 2:
                self._scanning = False
                return
            if kind == _ALERT and length == 2 and self._head[5] in (1, 2):
                self.alert = self._head[6]
            elif kind == _HANDSHAKE and self._head[5] == _SERVER_HELLO:
                self.server_hello = True
            self._skip = length - 2
            self._head.clear()


def looks_like_tls(data: bytes) -> bool:
    """Whether bytes begin like a TLS record: a handshake or an alert (RFC 8446 section 5.1)."""
    if len(data) < 6 or data[1] != 3 or data[2] > 4:
        return False
    if data[0] == _ALERT:
        return data[3:5] == b"\x00\x02" and data[5] in (1, 2)
    return data[0] == _HANDSHAKE and data[5] in (1, _SERVER_HELLO)


def suggests_tls(data: bytes) -> bool:
    """Whether a reply to a plain question tells that the port speaks TLS."""
    if data[:5] == b"HTTP/":
        return _TOLD.search(data[:4096]) is not None
    return looks_like_tls(data) or _BROKEN.match(data[:256]) is not None


@lru_cache(maxsize=64)
def _context(alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options |= 0x4  # SSL_OP_LEGACY_SERVER_CONNECT: servers without RFC 5746 are looked at too
    offered = [name for name in alpn if 0 < len(name.encode("utf-8", "replace")) < 256 and name.isascii()]
    if offered:
        context.set_alpn_protocols(offered)
    return context


def prepare() -> None:
    """Load what the first handshake would otherwise wait for."""
    _context(())
    import cryptography.x509  # noqa: F401, PLC0415


def _reason(problem: Exception) -> str:
    reason = getattr(problem, "reason", None)
    return str(reason or problem).lower().replace("_", " ")


class _Certificate(TypedDict):
    names: tuple[str, ...]
    issuer: str
    until: str
    subject_line: str
    issuer_line: str


def read_certificate(certificate: bytes | None) -> _Certificate:
    """What a DER certificate says; nothing where it cannot be read."""
    nothing = _Certificate(names=(), issuer="", until="", subject_line="", issuer_line="")
    if not certificate or len(certificate) > HANDSHAKE_BYTES:
        return nothing
    from cryptography import x509  # noqa: PLC0415 - costs 20 ms; most runs never see a certificate
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of odd certificates; odd ones are welcome here
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            try:
                names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                found += names.get_values_for_type(x509.DNSName)
            except x509.ExtensionNotFound:
                pass
            if not found:
                found += [str(name.value) for name in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            subject, issuer = parsed.subject, parsed.issuer
            by = [*issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
            by += issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
            signer = "itself" if subject == issuer else _printable(str(by[0].value) if by else "")
            return _Certificate(
                names=tuple(_printable(name) for name in found[:CERTIFICATE_NAMES]),
                issuer=signer,
                until=parsed.not_valid_after_utc.date().isoformat(),
                subject_line=_printable(subject.rfc4514_string()),
                issuer_line=_printable(issuer.rfc4514_string()),
            )
        except (ValueError, TypeError, OverflowError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return nothing


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:255])
