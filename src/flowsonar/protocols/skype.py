"""Classic Skype (2003 to 2014) on the wire, as far as it can be read without its cipher.

Sources: Biondi and Desclaux 2006 (BD06), Ehlert and Petgang 2006 (E06), Bonfiglio et al. 2007 (Bon07), Adami et al.
2009 (A09), Baset and Schulzrinne 2006, and measurements on recorded clients of 2006 and 2013. Every UDP datagram
begins in clear: an identifier of two bytes, then a function whose bits 0x70 are noise (mask 0x8f).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACKNOWLEDGE",
    "ANSWER_LENGTHS",
    "BARE_404",
    "EVENT_PORTS",
    "FORWARD",
    "FRAGMENT",
    "FUNCTIONS",
    "FUNCTION_MASK",
    "HANDSHAKE_LENGTH",
    "LOGIN_ANSWER",
    "LOGIN_HELLO",
    "LOGIN_REQUESTS",
    "MEDIA",
    "MIN_PAYLOAD",
    "NACK",
    "PAYLOAD",
    "REPLY_LENGTH",
    "TLS_CLIENT_HELLO",
    "TLS_SERVER_HELLO",
    "answers_handshake",
    "ciphertext_differs",
    "continues_handshake",
    "describe",
    "function",
    "http_request_kind",
    "is_fragment_of",
    "is_payload",
    "is_reply_to",
    "is_resend_of",
    "repeats",
]

FUNCTION_MASK: Final = 0x8F
"""Bon07 section 3.2.2; BD06: `Function & 0x8f`."""
PAYLOAD: Final = 0x02
"""Encrypted payload; this byte is sent as it is, bits 0x70 are zero (233 of 233 measured)."""
FORWARD: Final = 0x03
"""A payload sent again after a negative reply, or forwarded."""
ACKNOWLEDGE: Final = 0x05
NACK: Final = 0x07
MEDIA: Final = 0x0D
FRAGMENT: Final = 0x0F
FUNCTIONS: Final = {
    PAYLOAD: "payload",
    FORWARD: "sent again",
    ACKNOWLEDGE: "acknowledgement",
    NACK: "negative acknowledgement",
    MEDIA: "media",
    FRAGMENT: "fragment",
}
MIN_PAYLOAD: Final = 18
"""Identifier, function, IV, CRC and at least seven bytes (E06; smallest of all measured)."""
ANSWER_LENGTHS: Final = frozenset({18, 26, 51, 53})
"""Payloads that end a probe: accepted, or one of three refusals (E06, A09)."""
REPLY_LENGTH: Final = 11
"""Identifier, function, the requester's IPv4 address as the replier sees it, token (BD06, E06)."""

HANDSHAKE_LENGTH: Final = 14
"""A seed of four bytes and ten under RC4 open each direction of a TCP connection (BD06)."""
_HANDSHAKE_PLAIN: Final = bytes.fromhex("00010000000100000001")

BARE_404: Final = b"HTTP/1.0 404 Not Found\r\n\r\n"
"""What a node's TCP port answers to a GET, and nothing else: a web server adds headers."""

TLS_CLIENT_HELLO: Final = bytes.fromhex(
    "8046010301002d0000001000000500000400000a0000090000640000620000080000030000060100800700c0030080060040020080040080"
)
"""E06 section 5.2.2: a ClientHello in SSL 2 framing with constant fields, before the 16 random bytes."""
TLS_SERVER_HELLO: Final = bytes.fromhex(
    "160301004a020000460301401be48602ade029e17774e544b9c99cb43131"
    "5e02dd779d154a9609ba5da870201ca0e4f64c6351ae2f8e4ee1e6766a0a88d5d8c55cae98c5e481f22a69bf9058000500"
)
"""E06 section 5.2.2: the answer, with a random that never changes (its time is 2004-01-31)."""
LOGIN_HELLO: Final = bytes.fromhex("1603010000")
"""E06: a handshake record without content opens the dialogue with login and event servers."""
LOGIN_ANSWER: Final = bytes.fromhex("1703010000")
LOGIN_REQUESTS: Final = (bytes.fromhex("4103000980"), bytes.fromhex("42cdefe740"))
"""First bytes inside the client's second record: E06 and the recorded client of 2006; the recorded client of 2013."""
EVENT_PORTS: Final = {33033: "login server", 12350: "event server", 13392: "search server"}
"""E06, libprotoident, and both recorded clients."""


def function(data: bytes) -> int:
    """Give the function of a datagram, or -1 for one that is too short."""
    return data[2] & FUNCTION_MASK if len(data) > 2 else -1


def is_payload(data: bytes) -> bool:
    """Whether a datagram has the shape of an encrypted payload. Weak by itself: one byte of it is fixed."""
    return len(data) >= MIN_PAYLOAD and data[2] == PAYLOAD


def is_reply_to(data: bytes, request: bytes) -> bool:
    """Whether `data` is one of the eleven-byte replies to a payload: identifier echoed, function 5 or 7."""
    return len(data) == REPLY_LENGTH and data[2] & FUNCTION_MASK in {ACKNOWLEDGE, NACK} and data[:2] == request[:2]


def is_resend_of(data: bytes, request: bytes, request_length: int, wire_length: int) -> bool:
    """Whether `data` is a FORWARD of the payload `request`: five bytes longer, same identifier and CRC (E06, A09).

    The token (bytes 4 to 8) and the destination's address (8 to 12) are left to the caller.
    """
    return (
        len(data) >= 16
        and data[2] & FUNCTION_MASK == FORWARD
        and data[:2] == request[:2]
        and data[3] == 1
        and wire_length == request_length + 5
        and data[12:16] == request[7:11]
    )


def is_fragment_of(data: bytes, request: bytes) -> bool:
    """Whether `data` is a fragment of the answer to `request`: its identifier stands after the function."""
    return (
        len(data) >= MIN_PAYLOAD
        and data[2] & FUNCTION_MASK == FRAGMENT
        and data[3:5] == request[:2]
        and data[6] == PAYLOAD
    )


def ciphertext_differs(one: bytes, other: bytes) -> bool:
    """Whether two payloads are enciphered differently: IVs differ in three bytes of four (a counter does not)."""
    return (one[3] != other[3]) + (one[4] != other[4]) + (one[5] != other[5]) + (one[6] != other[6]) >= 3


def repeats(data: bytes, request: bytes) -> bool:
    """Whether payload `data` is `request` enciphered again: same identifier and CRC, another IV, another rest."""
    if data[:2] != request[:2] or data[7:11] != request[7:11] or not ciphertext_differs(data, request):
        return False
    same = sum(one == other for one, other in zip(data[11:18], request[11:18], strict=False))
    return same <= 1


def answers_handshake(first: bytes, second: bytes) -> bool:
    """Whether a node's second message, of four bytes, says what one says after the handshake's 14 bytes.

    Each direction begins with a seed and ten known bytes under RC4, and the stream then starts again (BD06), so the
    first ten bytes of the second message can be read: 07 01 and an identifier (both connections measured).
    """
    return len(first) == HANDSHAKE_LENGTH and len(second) == 4 and _readable(first, second)[:2] == b"\x07\x01"


def continues_handshake(first: bytes, second: bytes) -> bool:
    """Whether a client's second message is what clients say after the handshake's 14 bytes (both measured)."""
    if len(first) != HANDSHAKE_LENGTH or len(second) < 6:
        return False
    plain = _readable(first, second)
    return plain[0] == 0x30 and plain[3:6] == b"\x13\xf2\x01"


def _readable(first: bytes, second: bytes) -> bytes:
    return bytes(a ^ b ^ c for a, b, c in zip(first[4:14], _HANDSHAKE_PLAIN, second[:10], strict=False))


def describe(data: bytes) -> str:
    """Tell a datagram's start of message for people: identifier, function and what stands in clear after it."""
    if len(data) < 3:
        return "too short for a start of message"
    what = function(data)
    name = FUNCTIONS.get(what, "not known")
    told = [f"identifier {data[:2].hex()}", f"function {what:02x} ({name}), noise {data[2] & 0x70:02x}"]
    if what == PAYLOAD and len(data) >= 11:
        told += [f"IV {data[3:7].hex()}", f"CRC {data[7:11].hex()}", f"{len(data) - 11} bytes enciphered"]
    elif what in {ACKNOWLEDGE, NACK} and len(data) >= REPLY_LENGTH:
        told += [f"the requester's address {_dotted(data[3:7])}", f"token {data[7:11].hex()}"]
    elif what == FORWARD and len(data) >= 16:
        told += [
            f"count {data[3]}",
            f"token {data[4:8].hex()}",
            f"to {_dotted(data[8:12])}",
            f"CRC {data[12:16].hex()}",
        ]
    elif what == FRAGMENT and len(data) >= 6:
        last = ", the last" if data[5] & 0x80 else ""
        told += [f"answers identifier {data[3:5].hex()}", f"fragment {data[5] & 0x0F}{last}"]
    return ", ".join(told)


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))


def http_request_kind(target: str, host: str | None, user_agent: str | None) -> str | None:
    """Name what a client asks Skype's user-interface server, or None for another request.

    Baset and Schulzrinne, appendix; recorded client of 2006 (absolute form of the target).
    """
    path = target
    if path[:7].lower() == "http://":
        path = path[7:]
        slash = path.find("/")
        path = path[slash:] if slash >= 0 else ""
    name = (host or "").lower().partition(":")[0]
    if not path.startswith("/ui/"):
        return None
    ours = name == "skype.com" or name.endswith(".skype.com") or (user_agent or "").startswith("Skype")
    if not ours:
        return None
    if "/getlatestversion" in path:
        return "version check"
    if path.endswith("/installed") or "/installed?" in path:
        return "report of the installation"
    if "/getnewestversion" in path or "/upgrade" in path:
        return "version check"
    return None
