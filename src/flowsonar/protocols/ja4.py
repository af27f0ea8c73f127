"""JA4 of a ClientHello: FoxIO's client fingerprint (BSD-3-Clause, no patent claimed).

Its siblings (JA4S and so on) have another licence and are not here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from flowsonar._native.digest import sha256
from flowsonar.protocols.tls import ClientHello, chosen_version, is_grease

__all__ = ["ja4"]

_SERVER_NAME: Final = 0x0000
_ALPN: Final = 0x0010
_VERSIONS: Final = {
    0x0002: "s2",
    0x0300: "s3",
    0x0301: "10",
    0x0302: "11",
    0x0303: "12",
    0x0304: "13",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}


def ja4(hello: ClientHello, transport: str = "t") -> str:
    """JA4 of a complete ClientHello; `transport` is t, q or d. Two equal clients give the same text."""
    return _ja4(
        _Offer(
            transport,
            chosen_version(hello),
            hello.server_name is not None or _SERVER_NAME in hello.extensions,
            hello.alpn_first,
            hello.ciphers,
            hello.extensions,
            hello.signature_algorithms,
        )
    )


class _Offer(NamedTuple):
    """What JA4 is made of: the same for every connection of most clients, hence a good key for a cache."""

    transport: str
    version: int
    named: bool
    alpn: bytes
    ciphers: bytes
    extensions: tuple[int, ...]
    algorithms: bytes


@lru_cache(maxsize=4096)
def _ja4(offer: _Offer) -> str:
    ciphers = [value for value in _pairs(offer.ciphers) if not is_grease(value)]
    extensions = [value for value in offer.extensions if not is_grease(value)]
    marks = "00"
    alpn = offer.alpn
    if alpn and not (len(alpn) >= 2 and is_grease(alpn[0] << 8 | alpn[1])):
        first, last = chr(alpn[0]), chr(alpn[-1])
        alphanumeric = alpn[0] < 128 and alpn[-1] < 128 and first.isalnum() and last.isalnum()
        marks = first + last if alphanumeric else alpn.hex()[0] + alpn.hex()[-1]
    head = (
        f"{offer.transport}{_VERSIONS.get(offer.version, '00')}{'d' if offer.named else 'i'}"
        f"{min(len(ciphers), 99):02d}{min(len(extensions), 99):02d}{marks}"
    )
    listed = ",".join(f"{value:04x}" for value in sorted(extensions) if value not in {_SERVER_NAME, _ALPN})
    signed = ",".join(f"{value:04x}" for value in _pairs(offer.algorithms) if not is_grease(value))
    return f"{head}_{_digest(','.join(f'{value:04x}' for value in sorted(ciphers)))}_{_digest(listed, signed)}"


def _pairs(data: bytes) -> list[int]:
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data) - 1, 2)]


def _digest(text: str, suffix: str = "") -> str:
    if not text:
        return "000000000000"
    return sha256((f"{text}_{suffix}" if suffix else text).encode()).hex()[:12]
