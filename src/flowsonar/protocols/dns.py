"""DNS messages (RFC 1035 section 4): sanity, the question, and the addresses answered."""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = ["Message", "Question", "agrees", "question_end", "read_message", "read_name", "tcp_message"]

_HEADER: Final = 12
_MAX_NAME: Final = 255
_MAX_RECORDS: Final = 512
"""Records walked of one message; a message of 2048 bytes has no more than 180."""
_A: Final = 1
_AAAA: Final = 28
_CLASSES: Final = frozenset({1, 3, 4, 254, 255})
"""IN, CH, HS, NONE, ANY."""
_OPCODES: Final = frozenset({0, 1, 2, 4, 5})
"""Query, inverse query, status, notify, update."""


class Question(NamedTuple):
    """What is asked."""

    name: str
    type: int
    klass: int


class Message(NamedTuple):
    """A message that passed every check."""

    id: int
    response: bool
    rcode: int
    question: Question | None
    addresses: tuple[tuple[str, bytes], ...]
    """Name asked for or aliased, and its packed address, of A and AAAA answers."""
    complete: bool
    """The last counted record ends where the message ends."""


def question_end(data: bytes) -> int:
    """Where the question of a sane message ends, or 0 when `data` is not one: the fast test for the flow path.

    A message has one question, an opcode in use, plain labels of a name, a known class, and counts that its
    length can hold. Answers are not looked at.
    """
    size = len(data)
    if size < 17 or data[4] or data[5] != 1:
        return 0
    flags = data[2]
    if flags >> 3 & 0x0F not in _OPCODES or data[3] & 0x40:
        return 0
    records = (data[6] << 8 | data[7]) + (data[8] << 8 | data[9]) + (data[10] << 8 | data[11])
    if not flags & 0x80:
        if data[3] & 0x0F or (flags >> 3 == 0 and (data[6] or data[7])):
            return 0  # a query has no error code, and a plain one no answers
    elif data[3] & 0x0F > 11:
        return 0
    at = _HEADER
    while at < size:
        length = data[at]
        if not length:
            break
        if length > 63:
            return 0
        at += 1 + length
    at += 5
    if at > size or at - _HEADER - 4 > _MAX_NAME or data[at - 1] not in _CLASSES or data[at - 2] & 0x7F:
        return 0
    if not data[at - 3] and not data[at - 4]:
        return 0  # type 0 is reserved
    if records * 11 > max(size - at, 0) and size < 2048:
        return 0 if not data[2] & 0x02 else at  # TC: records are left out
    return at


def agrees(query: bytes, response: bytes, end: int) -> bool:
    """Whether `response` answers `query`, whose question ends at `end`: identifier and question (any letter case)."""
    return (
        response[:2] == query[:2]
        and len(response) >= _HEADER
        and response[2] & 0x80 == 0x80
        and not query[2] & 0x80
        and (
            (response[5] == 1 and response[_HEADER:end].lower() == query[_HEADER:end].lower())
            or (response[4:6] == b"\0\0" and len(response) == _HEADER and response[3] & 0x0F != 0)
        )
    )


def tcp_message(data: bytes) -> bytes | None:
    """Give the message behind TCP's two-byte length (RFC 1035 section 4.2.2), None when the length does not fit.

    A message that continues in later segments is given as far as it is there.
    """
    if len(data) < 2 + _HEADER:
        return None
    length = data[0] << 8 | data[1]
    if length < _HEADER or (len(data) > 2 + length and len(data) < 2 + length + 2):
        return None
    return data[2 : 2 + length]


def read_message(data: bytes) -> Message:
    """Read a whole message with its answers; raises MalformedError for anything that does not hold together."""
    if len(data) < _HEADER:
        raise MalformedError("DNS header is cut")
    counts = [data[i] << 8 | data[i + 1] for i in (4, 6, 8, 10)]
    if counts[0] > 1 or sum(counts) > _MAX_RECORDS:
        raise MalformedError("too many DNS records")
    at = _HEADER
    question = None
    if counts[0]:
        name, at = read_name(data, at)
        if at + 4 > len(data):
            raise MalformedError("DNS question is cut")
        question = Question(name, data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3])
        at += 4
    addresses = []
    for _ in range(sum(counts[1:])):
        name, at = read_name(data, at)
        if at + 10 > len(data):
            raise MalformedError("DNS record is cut")
        kind = data[at] << 8 | data[at + 1]
        length = data[at + 8] << 8 | data[at + 9]
        value = data[at + 10 : at + 10 + length]
        at += 10 + length
        if at > len(data):
            raise MalformedError("DNS record is cut")
        if (kind, length) in {(_A, 4), (_AAAA, 16)}:
            addresses.append((name, value))
    return Message(
        data[0] << 8 | data[1], bool(data[2] & 0x80), data[3] & 0x0F, question, tuple(addresses), at == len(data)
    )


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """Read the name at `at`; give it and where it ends. Every pointer must point further back: no loops."""
    labels: list[bytes] = []
    end = 0
    lowest = at
    total = 0
    while True:
        if at >= len(data):
            raise MalformedError("DNS name is cut")
        length = data[at]
        if length >= 0xC0:
            if at + 1 >= len(data):
                raise MalformedError("DNS pointer is cut")
            target = (length & 0x3F) << 8 | data[at + 1]
            if not end:
                end = at + 2
            if target >= lowest:
                raise MalformedError("DNS pointer does not point back")
            lowest = at = target
            continue
        if length > 63:
            raise MalformedError("unknown DNS label type")
        at += 1
        if not length:
            break
        total += 1 + length
        if total > _MAX_NAME or at + length > len(data):
            raise MalformedError("DNS name is too long or cut")
        labels.append(data[at : at + length])
        at += length
    return b".".join(labels).decode("latin-1"), end or at
