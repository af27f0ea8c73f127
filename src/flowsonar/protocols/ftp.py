"""FTP's control connection: commands, replies, and the endpoints that PORT, EPRT, PASV and EPSV announce.

RFC 959 section 4, RFC 2428 (EPRT, EPSV), RFC 4217 (AUTH TLS).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = ["COMMANDS", "DataEndpoint", "read_command", "read_data_endpoint", "read_reply_code"]

COMMANDS: Final = frozenset(
    b"USER PASS ACCT CWD CDUP SMNT REIN QUIT PORT PASV TYPE STRU MODE RETR STOR STOU APPE ALLO REST RNFR RNTO ABOR "
    b"DELE RMD MKD PWD LIST NLST SITE SYST STAT HELP NOOP FEAT OPTS AUTH ADAT PROT PBSZ CCC MIC CONF ENC LANG MDTM "
    b"MLSD MLST SIZE EPRT EPSV XCUP XMKD XPWD XRMD HOST CLNT MFMT LPRT LPSV".split()
)
"""RFC 5797's registry."""


class DataEndpoint(NamedTuple):
    """Where the data connection goes."""

    address: bytes | None
    """Packed, 4 or 16 bytes; None: the same address as the control connection."""
    port: int


def read_command(line: bytes) -> tuple[bytes, bytes]:
    """Split a command line (without CR LF) in verb, upper case, and argument; raises MalformedError if unknown."""
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    if verb not in COMMANDS:
        raise MalformedError("not an FTP command")
    return verb, argument.strip()


def read_reply_code(line: bytes) -> int:
    """Read the code of a reply's line (without CR LF); 0 for the inner lines of a long reply."""
    if len(line) >= 3 and line[:3].isdigit() and (len(line) == 3 or line[3:4] in b" -") and b"1" <= line[:1] <= b"6":
        return int(line[:3])
    return 0


def read_data_endpoint(verb_or_code: bytes, argument: bytes) -> DataEndpoint:
    """Read what PORT, EPRT, 227 or 229 announces; raises MalformedError where the numbers do not make one.

    `argument` is what follows the verb or the code. RFC 959 does not say where in a 227 reply the numbers stand,
    RFC 1123 section 4.1.2.6 tells to look for them.
    """
    if verb_or_code == b"PORT":
        return _six_numbers(argument)
    if verb_or_code == b"227":
        return _six_numbers(_from_first_digit(argument))
    if verb_or_code == b"EPRT":
        return _extended(argument)
    if verb_or_code == b"229":
        start, end = argument.rfind(b"("), argument.rfind(b")")
        if not 0 <= start < end:
            raise MalformedError("229 reply without brackets")
        return _extended(argument[start + 1 : end])
    raise MalformedError("announces nothing")


def _from_first_digit(argument: bytes) -> bytes:
    bracket = argument.find(b"(")
    start = bracket + 1 if bracket >= 0 else 0
    while start < len(argument) and not argument[start : start + 1].isdigit():
        start += 1
    return argument[start:]


def _six_numbers(text: bytes) -> DataEndpoint:
    parts = text.split(b",", 5)
    if len(parts) != 6:
        raise MalformedError("not six numbers")
    last = parts[5]
    digits = 0
    while digits < len(last) and digits < 3 and last[digits : digits + 1].isdigit():
        digits += 1
    parts[5] = last[:digits]
    numbers = [_number(part.strip(b" "), 255) for part in parts]
    return _endpoint(bytes(numbers[:4]), numbers[4] << 8 | numbers[5])


def _extended(text: bytes) -> DataEndpoint:
    """RFC 2428 section 2: `|family|address|port|`, where the bar may be another character."""
    if len(text) < 4:
        raise MalformedError("extended address is cut")
    bar = text[:1]
    if not 33 <= bar[0] <= 126 or bar.isalnum():
        raise MalformedError("extended address without delimiter")
    parts = text.split(bar)
    if len(parts) < 5:
        raise MalformedError("extended address without its three parts")
    family, address, port = parts[1], parts[2], _number(parts[3], 65535)
    if not address:
        return _endpoint(None, port)
    if family == b"1":
        return _endpoint(_ipv4(address), port)
    if family == b"2":
        return _endpoint(_ipv6(address), port)
    raise MalformedError("unknown address family")


def _endpoint(address: bytes | None, port: int) -> DataEndpoint:
    if not port:
        raise MalformedError("port 0")
    return DataEndpoint(address, port)


def _number(text: bytes, highest: int) -> int:
    if not text.isdigit() or len(text) > 5 or int(text) > highest:
        raise MalformedError("number out of range")
    return int(text)


def _ipv4(text: bytes) -> bytes:
    parts = text.split(b".")
    if len(parts) != 4:
        raise MalformedError("not an IPv4 address")
    return bytes(_number(part, 255) for part in parts)


def _ipv6(text: bytes) -> bytes:
    """RFC 4291 section 2.2, without a zone."""
    if len(text) > 45 or text.count(b"::") > 1:
        raise MalformedError("not an IPv6 address")
    left, double, right = text.partition(b"::")
    head, tail = _groups(left), _groups(right)
    missing = 16 - len(head) - len(tail)
    if missing < 0 or (missing and not double) or (double and missing < 2):
        raise MalformedError("not an IPv6 address")
    return head + bytes(missing) + tail


def _groups(text: bytes) -> bytes:
    if not text:
        return b""
    parts = text.split(b":")
    out = bytearray()
    for i, part in enumerate(parts):
        if b"." in part and i == len(parts) - 1:
            out += _ipv4(part)
        elif 1 <= len(part) <= 4 and all(c in b"0123456789abcdefABCDEF" for c in part):
            out += int(part, 16).to_bytes(2, "big")
        else:
            raise MalformedError("not an IPv6 address")
    return bytes(out)
