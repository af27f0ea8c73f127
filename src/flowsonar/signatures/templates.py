"""Messages as signature files write them: escapes, constants and fields; and their bytes for one try.

`parse_template` reads the notation, `render` fills the fields in. Whoever sends gives the random source, so that
tests know what goes out.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowsonar.signatures.language import FieldForm, FieldOrder, LengthField, Mark, SentField, Template

__all__ = [
    "AGENT",
    "ConnectionFacts",
    "Message",
    "TemplateError",
    "parse_bytes",
    "parse_template",
    "place_of",
    "render",
]

AGENT = "flowsonar"
"""How probes name themselves where the protocol has a place for it."""

CONNECTION_NAMES = frozenset(
    {
        "prober.address",
        "prober.host",
        "prober.port",
        "target.address",
        "target.port",
        "target.host",
        "agent",
        "server_name",
    }
)
"""Fields that are filled in from the connection."""

PACKED_NAMES = ("prober.address", "prober.port", "target.address", "target.port")
"""Fields that have a packed form: it may be tested in every reply, whether or not a message carried it."""

MESSAGE_BYTES = 65507
"""Longest message: the payload of the largest UDP datagram."""

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "{": b"{", "}": b"}"}
_NUMBER = r"(?:0x[0-9a-fA-F]+|[0-9]+)"
_FIELD = re.compile(
    rf"(?P<name>[a-z][a-z0-9_.-]*)(?::(?P<size>[0-9]+))?(?: (?P<order>little|big))?"
    rf"(?: from (?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER}))?(?: as (?P<form>hex|digits|letters|packed))?"
    r"(?: add (?P<add>-?[0-9]+))?(?: until (?P<until>[a-z][a-z0-9_-]*))?"
)
_TOKEN = re.compile(r"\\x([0-9a-fA-F]{2})|\\(.)|\{([^{}]*)\}|([^\\{}]+)|(.)", re.DOTALL)


class TemplateError(ValueError):
    """The notation is wrong; the text says what and what to write instead."""


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out, and the values of its named fields (to be tested in the reply)."""

    data: bytes
    sent: Mapping[str, bytes]


def place_of(template: Template, name: str) -> tuple[int, int] | None:
    """Offset and size of a field in every message of a template; None where they are not always the same."""
    at = 0
    for part in template.parts:
        if isinstance(part, bytes):
            at += len(part)
        elif isinstance(part, SentField) and part.size and part.form is FieldForm.BYTES:
            if part.name == name:
                return at, part.size
            at += part.size
        elif not isinstance(part, Mark):
            return None
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """What messages may say about the connection they travel on. Addresses are packed, 4 or 16 bytes."""

    target_address: bytes
    target_port: int
    prober_address: bytes
    prober_port: int
    target_host: str | None = None
    """The name the flow used (SNI, HTTP host); None: the address stands in."""
    agent: str = AGENT

    def text(self, name: str) -> bytes:
        """The value of a connection field as text: addresses canonical, IPv6 hosts in brackets."""
        match name:
            case "prober.address":
                return _address(self.prober_address)
            case "target.address":
                return _address(self.target_address)
            case "prober.port":
                return b"%d" % self.prober_port
            case "target.port":
                return b"%d" % self.target_port
            case "prober.host":
                return _host(self.prober_address)
            case "target.host":
                return _host_text(self.target_host) if self.target_host else _host(self.target_address)
            case "server_name":
                return _host_text(self.target_host) if self.target_host else _address(self.target_address)
        assert name == "agent", name
        return self.agent.encode("ascii", "replace")

    def packed(self, name: str) -> bytes:
        """An address as 4 or 16 bytes, a port as 2."""
        return self.sent()[name]

    def sent(self) -> dict[str, bytes]:
        """The packed fields (`PACKED_NAMES`)."""
        return {
            "prober.address": self.prober_address,
            "prober.port": self.prober_port.to_bytes(2, "big"),
            "target.address": self.target_address,
            "target.port": self.target_port.to_bytes(2, "big"),
        }


def parse_bytes(text: str, constants: Mapping[str, bytes] | None = None) -> bytes:
    r"""Constant bytes: characters as UTF-8, `\r \n \t \0 \\ \{ \} \xHH`, `{hex:16 03 01}`, `{constant.name}`."""
    parts = parse_template(text, constants).parts
    if not all(isinstance(part, bytes) for part in parts):
        raise TemplateError("fields are for messages only: write the bytes themselves")
    return b"".join(part for part in parts if isinstance(part, bytes))


def parse_template(text: str, constants: Mapping[str, bytes] | None = None) -> Template:
    """A message with fields; see `docs/signatures.md`. Raises TemplateError."""
    parts: list[bytes | SentField | LengthField | Mark] = []
    constant = bytearray()
    for token in _TOKEN.finditer(text):
        byte, escape, field, plain, stray = token.groups()
        if byte is not None:
            constant += bytes.fromhex(byte)
        elif escape is not None:
            if escape not in _ESCAPES:
                raise TemplateError(f"unknown escape \\{escape}: use \\r \\n \\t \\0 \\\\ \\{{ \\}} or \\xHH")
            constant += _ESCAPES[escape]
        elif plain is not None:
            constant += plain.encode()
        elif stray is not None:
            raise TemplateError(f"stray {stray!r}: write \\{stray} for the character itself")
        else:
            part = _field(field, constants or {})
            if isinstance(part, bytes):
                constant += part
                continue
            if constant:
                parts.append(bytes(constant))
                constant.clear()
            parts.append(part)
    if constant:
        parts.append(bytes(constant))
    template = Template(tuple(parts))
    _check(template)
    return template


def render(
    template: Template, facts: ConnectionFacts, known: Mapping[str, bytes], pick: random.Random | None = None
) -> Message:
    """The bytes of one try. `known` holds the values of fields from earlier steps (sent, or captured from replies).

    A field that is already known is not made anew. The result's `sent` holds `known`, the new fields and the
    connection's packed addresses and ports.
    """
    pick = pick or random.Random()
    sent = {**facts.sent(), **known}
    pieces: list[bytes | LengthField] = []
    marks: dict[str, int] = {}
    for part in template.parts:
        if isinstance(part, Mark):
            marks[part.name] = len(pieces)
        elif isinstance(part, SentField):
            pieces.append(_value(part, facts, sent, pick))
        else:
            pieces.append(part)
    for index in reversed(range(len(pieces))):  # inner lengths first: an outer one counts their digits too
        piece = pieces[index]
        if isinstance(piece, LengthField):
            end = marks[piece.until] if piece.until else len(pieces)
            size = sum(len(later) for later in pieces[index + 1 : end] if isinstance(later, bytes)) + piece.add
            pieces[index] = _length(piece, size)
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    return Message(data[:MESSAGE_BYTES], sent)


def _address(packed: bytes) -> bytes:
    return str(ipaddress.ip_address(packed)).encode()


def _host(packed: bytes) -> bytes:
    """An address as it stands in a URI (RFC 3986 section 3.2.2)."""
    return b"[%s]" % _address(packed) if len(packed) == 16 else _address(packed)


def _host_text(name: str) -> bytes:
    """A name seen on the wire goes into our message only as a plain host name: nothing can be smuggled in."""
    return re.sub(r"[^A-Za-z0-9.:\[\]_-]", "", name)[:253].encode() or b"localhost"


def _field(text: str, constants: Mapping[str, bytes]) -> bytes | SentField | LengthField | Mark:
    kind, _, rest = text.partition(":")
    if kind == "hex":
        try:
            return bytes.fromhex(rest)
        except ValueError:
            raise TemplateError(f"{{{text}}}: pairs of hexadecimal digits are needed after hex:") from None
    if kind == "mark" and re.fullmatch(r"[a-z][a-z0-9_-]*", rest):
        return Mark(rest)
    if text.startswith("constant."):
        name = text.removeprefix("constant.")
        if name not in constants:
            known = ", ".join(sorted(constants)) or "none"
            raise TemplateError(f"{{{text}}}: no such constant; [constants] has {known}")
        return constants[name]
    found = _FIELD.fullmatch(text)
    if found is None:
        raise TemplateError(
            f"{{{text}}} is no field: write {{name:4}}, {{name:2 from 0x10..0x1f}}, {{length:2}} or {{name}}"
        )
    form = FieldForm(found["form"] or FieldForm.BYTES)
    order = FieldOrder(found["order"] or FieldOrder.BIG)
    size = int(found["size"] or 0)
    if size > MESSAGE_BYTES:
        raise TemplateError(f"{{{text}}}: at most {MESSAGE_BYTES} bytes fit a datagram")
    if found["name"] == "length":
        if form is not FieldForm.DIGITS and not 0 < size <= 8:
            raise TemplateError(f"{{{text}}}: a length field takes 1 to 8 bytes, or write {{length as digits}}")
        return LengthField(size=size, form=form, order=order, add=int(found["add"] or 0), until=found["until"])
    if found["add"] or found["until"]:
        raise TemplateError(f"{{{text}}}: add and until belong to length fields")
    low = int(found["low"], 0) if found["low"] else None
    high = int(found["high"], 0) if found["high"] else None
    return SentField(name=found["name"], size=size, low=low, high=high, form=form, order=order)


def _check(template: Template) -> None:
    marks = {part.name for part in template.parts if isinstance(part, Mark)}
    fixed = sum(len(part) for part in template.parts if isinstance(part, bytes))
    seen: set[str] = set()
    for part in template.parts:
        if isinstance(part, Mark):
            seen.add(part.name)
        elif isinstance(part, LengthField):
            if part.until and part.until not in marks - seen:
                raise TemplateError(f"length until {part.until}: put {{mark:{part.until}}} after it")
        elif isinstance(part, SentField):
            _check_field(part)
            fixed += part.size
    if fixed > MESSAGE_BYTES:
        raise TemplateError(f"a message of {fixed} bytes: at most {MESSAGE_BYTES} fit a datagram")


def _check_field(part: SentField) -> None:
    if "." in part.name and part.name not in CONNECTION_NAMES:
        raise TemplateError(f"{{{part.name}}}: the connection has {', '.join(sorted(CONNECTION_NAMES))}")
    if part.name in CONNECTION_NAMES and (part.size or part.low is not None):
        raise TemplateError(f"{{{part.name}}} comes from the connection: no size or range")
    if part.form is FieldForm.PACKED and part.name not in PACKED_NAMES:
        raise TemplateError(f"{{{part.name} as packed}}: only addresses and ports of the connection can be packed")
    if part.name == "random" and not part.size:
        raise TemplateError("{random} needs a size: {random:9}")
    if part.low is not None and part.high is not None:
        if not 0 < part.size <= 8 or not part.low <= part.high < 1 << (8 * part.size):
            raise TemplateError(f"{{{part.name}}}: the range must be in order and fit {part.size} bytes")
        if part.form is not FieldForm.BYTES:
            raise TemplateError(f"{{{part.name}}}: a range is for numbers in bytes, not in {part.form}")


def _value(part: SentField, facts: ConnectionFacts, sent: dict[str, bytes], pick: random.Random) -> bytes:
    if part.name in CONNECTION_NAMES:
        return facts.packed(part.name) if part.form is FieldForm.PACKED else facts.text(part.name)
    if part.name != "random" and (not part.size or part.name in sent):
        return sent.get(part.name, b"")
    value = _fresh(part, pick)
    if part.name != "random":
        sent[part.name] = value
    return value


def _fresh(part: SentField, pick: random.Random) -> bytes:
    if part.low is not None and part.high is not None:
        return pick.randint(part.low, part.high).to_bytes(part.size, part.order.value)
    match part.form:
        case FieldForm.HEX:
            return bytes(pick.choices(b"0123456789abcdef", k=part.size))
        case FieldForm.DIGITS:  # no leading zero: some parsers drop it
            return bytes([pick.choice(b"123456789"), *pick.choices(b"0123456789", k=part.size - 1)])
        case FieldForm.LETTERS:
            return bytes(pick.choices(b"abcdefghijklmnopqrstuvwxyz", k=part.size))
    return pick.randbytes(part.size)


def _length(part: LengthField, size: int) -> bytes:
    size = max(size, 0)
    match part.form:
        case FieldForm.DIGITS:
            return b"%0*d" % (part.size, size)
        case FieldForm.HEX:
            return b"%0*x" % (part.size, size)
    return (size % (1 << (8 * part.size))).to_bytes(part.size, part.order.value)
