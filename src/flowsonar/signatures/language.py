"""The signature language as values: what one TOML file says once the loader has read it.

`docs/signatures.md` explains the language to people; the loader turns TOML into these, the matcher compiles the
conditions, the dialogue speaks the steps. Nothing here reads files or sockets. They are named tuples, written by name
only: some thousand of them are read from the cache at each start.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from flowsonar.model import Confidence, Layer, Side, TrafficClass, Transport

__all__ = [
    "Condition",
    "Connection",
    "Example",
    "FieldCheck",
    "FieldForm",
    "FieldOrder",
    "LengthField",
    "Mark",
    "PayloadPattern",
    "ProbeSpec",
    "Product",
    "ProductPattern",
    "Reaction",
    "ReplyPattern",
    "Rest",
    "SentField",
    "Signature",
    "Speaker",
    "Step",
    "Template",
]


class Speaker(StrEnum):
    """Who speaks first once a connection stands."""

    CLIENT = "client"
    SERVER = "server"
    EITHER = "either"


class Reaction(StrEnum):
    """What a program does, without a word, with a question of another service."""

    CLOSES = "closes"
    RESETS = "resets"
    """Ends the connection before it has read all: the kernel then says so in its own way (RFC 9293 section 3.6)."""
    SILENT = "silent"


class Connection(StrEnum):
    """Which connection a step uses."""

    SAME = "same"
    NEW = "new"


class FieldOrder(StrEnum):
    """Byte order of a length field."""

    BIG = "big"
    LITTLE = "little"


class FieldForm(StrEnum):
    """How the value of a field is written into a message."""

    BYTES = "bytes"
    HEX = "hex"
    """Hexadecimal digits in lower case."""
    DIGITS = "digits"
    """Decimal digits."""
    LETTERS = "letters"
    """Letters a-z."""
    PACKED = "packed"
    """An address in 4 or 16 bytes, a port in 2 (network order)."""


class Rest(StrEnum):
    """How a length field must fit what follows it."""

    EXACT = "exact"
    CUT = "cut"
    """At least what follows: the end of the message may not have come yet."""
    MORE = "more"
    """At most what follows: other messages may come after it."""


class SentField(NamedTuple):
    """A part of a message that is made anew for each try, and may be required to come back.

    Written `{name:size}` for random bytes, `{name:size from 0x5200..0x5fff}` for a random number in a range,
    `{random:size}` when nobody needs it later, `{name}` (size 0) for the value an earlier part or step gave.
    `{prober.address}`, `{prober.host}`, `{prober.port}`, `{target.host}`, `{target.address}`, `{target.port}`,
    `{agent}` and `{server_name}` are filled in from the connection.
    """

    name: str
    size: int = 0
    low: int | None = None
    high: int | None = None
    form: FieldForm = FieldForm.BYTES
    order: FieldOrder = FieldOrder.BIG


class LengthField(NamedTuple):
    """The number of bytes between here and the end of the message or a mark, plus `add`."""

    size: int = 0
    """Bytes it takes; 0 (decimal digits only): as many as it needs."""
    form: FieldForm = FieldForm.BYTES
    order: FieldOrder = FieldOrder.BIG
    add: int = 0
    until: str | None = None


class Mark(NamedTuple):
    """A place in a message that a length field counts up to; no bytes."""

    name: str


class Template(NamedTuple):
    """A message: constant bytes and fields in order. `again` (a step's number) sends that step's very bytes."""

    parts: tuple[bytes | SentField | LengthField | Mark, ...]


class FieldCheck(NamedTuple):
    """One test of bytes at a fixed place. Exactly one of the kinds is set, or only `capture`."""

    at: int
    """Offset from the start; negative: from the end."""
    equals: bytes | None = None
    """These bytes stand there."""
    echo: str | None = None
    """The named field of ours stands there; `prober.address` means our address as the target sees it."""
    mask: int | None = None
    """With `any` or `between`: applied to the number first."""
    any: tuple[int, ...] = ()
    """A number of `size` bytes is one of these."""
    between: tuple[int, int] | None = None
    """A number of `size` bytes lies between these, both included."""
    size: int = 1
    order: FieldOrder = FieldOrder.BIG
    length_size: int = 0
    """A length field of this many bytes; it equals the number of bytes after it plus `length_add`."""
    length_add: int = 0
    length_order: FieldOrder = FieldOrder.BIG
    length_rest: Rest = Rest.EXACT
    capture: str | None = None
    """The `size` bytes there are kept under this name for later steps of the dialogue."""


class Condition(NamedTuple):
    """What a reply, or a flow's first bytes, must be. All that is given must hold."""

    pattern: str | None = None
    """Regular expression in RE2's syntax over bytes (latin-1), not anchored unless it says so."""
    unless: str | None = None
    """Regular expression that must not match."""
    length: tuple[int, int] | None = None
    """Inclusive bounds of the whole reply's length."""
    fields: tuple[FieldCheck, ...] = ()
    contains: tuple[str, ...] = ()
    """Names of fields of ours whose bytes stand somewhere in the reply."""
    random: bool = False
    """The bytes look random: see `randomness` for the bounds."""
    differs_from: int | None = None
    """The first four bytes differ from the reply to that step (counted from 0)."""
    not_echo: bool = False
    """The reply is not our own bytes."""
    echo: bool = False
    """The reply is exactly our own bytes. Where it is, conditions without this never hold."""
    closed: bool | None = None
    """True: the endpoint ended the connection after it. False: it did not."""
    silence: bool = False
    """Nothing comes within the time of the step."""


class Product(NamedTuple):
    """How product, version and CPE are made: constants or group references `{name}` of the pattern."""

    product: str | None = None
    version: str | None = None
    cpe: str | None = None


class ProductPattern(NamedTuple):
    """A program that speaks the service. It names the program once another pattern has shown the service."""

    service: str
    condition: Condition
    product: Product
    transport: Transport | None = None
    detail: str = ""


class Step(NamedTuple):
    """One move of a dialogue: say (or only listen), then what must come back for the dialogue to go on."""

    send: Template | None = None
    again: int | None = None
    """Send the same bytes as that step did."""
    connection: Connection = Connection.SAME
    expect: Condition | None = None
    within_ms: int | None = None
    """How long to wait for it; None: what the planner takes from the round trip."""
    reached: Confidence | None = None
    """What a dialogue that has come through this step proves already, though it goes on."""


class ProbeSpec(NamedTuple):
    """A short dialogue with an endpoint. It changes nothing on the other side."""

    service: str
    name: str
    transport: Transport
    steps: tuple[Step, ...]
    family: int | None = None
    """4 or 6 where the protocol knows only one."""
    confidence: Confidence | None = None
    """What a dialogue that went through to its end proves by itself; None: only the reply patterns decide."""
    amplifies: bool = False
    """The reply may be much larger than the request: UDP only inside the default scope."""
    any_port: bool = False
    """UDP: the answer may come from another port of the asked address (TFTP)."""
    special: str | None = None
    """Name of the module under `probes/special` that speaks it, where arithmetic is needed."""
    detail: str = ""
    product: Product = Product()
    over: Layer | None = None
    """Asked only inside this layer."""
    starttls: bool = False
    """The signature's `starttls` steps and a TLS handshake come first."""
    rarity: int = 5
    """1: worth trying on most endpoints; 9: only where port or flow point to it."""
    as_peer: str | None = None
    """UDP: the field of ours that every answer repeats. Where it is set, the probe is harmless also when it comes in
    the name of the flow's other side: it changes nothing between the two, and its answer can be told from the flow."""

    @property
    def id(self) -> str:
        """`service/name`, as evidence and audit log write it."""
        return f"{self.service}/{self.name}"

    @property
    def connections(self) -> int:
        """Connections or datagram exchanges it takes."""
        return 1 + sum(step.connection is Connection.NEW for step in self.steps[1:])


class ReplyPattern(NamedTuple):
    """What an endpoint of this service may say. Tried on any reply to any probe unless `to` narrows it."""

    service: str
    name: str
    condition: Condition
    confidence: Confidence
    transport: Transport | None = None
    to: tuple[str, ...] = ()
    """Probe ids (`ftp/features`), or `listen` for what came before we spoke. Empty: any."""
    requires: tuple[str, ...] = ()
    """Names of reply patterns of the same signature that must have matched this endpoint before."""
    soft: bool = False
    """Says the family only ("some FTP server"): anything else that matches is more specific."""
    specificity: int = 0
    detail: str = ""
    product: Product = Product()
    over: Layer | None = None
    """Set where the pattern itself tells of a layer; else the layer is the connection's."""

    @property
    def id(self) -> str:
        """`service/name`."""
        return f"{self.service}/{self.name}"


class PayloadPattern(NamedTuple):
    """What the first payload bytes of a flow of this service may be."""

    service: str
    name: str
    condition: Condition
    confidence: Confidence
    transport: Transport
    side: Side | None = None
    """Who sends it; None: either."""
    on_port: bool = False
    """Holds only where one of the flow's ports is a default port of the service."""
    greeting: bool = False
    """What anybody can say before anything was agreed: likely, beside the other side's words too."""
    soft: bool = False
    specificity: int = 0
    detail: str = ""
    product: Product = Product()

    @property
    def id(self) -> str:
        """`service/name`."""
        return f"{self.service}/{self.name}"


class Example(NamedTuple):
    """A reply or payload that must match its own signature, or (a near miss) must not."""

    data: bytes
    transport: Transport
    replies: tuple[bytes, ...] = ()
    """A whole dialogue with the probe `to`: the reply to each of its steps; `data` is the last one."""
    to: str | None = None
    """Probe id or `listen`: it is a reply."""
    side: Side | None = None
    """It is a payload from that side."""
    matches: bool = True
    pattern: str | None = None
    """The pattern that must win; None: any of this signature."""
    product: str | None = None
    version: str | None = None
    sent: tuple[tuple[str, bytes], ...] = ()
    """Values of the fields that were sent, for patterns that test an echo."""
    message: bytes = b""
    """What was sent, for patterns that compare the whole."""
    closed: bool = False
    earlier: tuple[str, ...] = ()
    """Patterns taken as matched before (`requires`)."""
    source: str = ""
    """Where the bytes were seen."""
    line: int = 0


class Signature(NamedTuple):
    """Everything known of one service."""

    service: str
    title: str
    traffic_class: TrafficClass
    references: tuple[str, ...]
    ports: tuple[tuple[Transport, tuple[int, ...]], ...] = ()
    tls_ports: tuple[int, ...] = ()
    """Ports where it speaks TLS from the first byte."""
    ip_protocols: tuple[int, ...] = ()
    """Numbers in the IP header that are this service: flows without ports."""
    alpn: tuple[str, ...] = ()
    """Its protocol names in TLS's ALPN."""
    aliases: tuple[str, ...] = ()
    """IANA's and nDPI's names where they differ."""
    speaks_first: Speaker = Speaker.CLIENT
    parent: str | None = None
    """The service in whose format it is spoken (Docker's API is HTTP): seeing that one is no contradiction."""
    peers: bool = False
    """Both sides are alike (peer-to-peer): what one of them answers tells what the flow is, whichever it is."""
    both_transports: bool = False
    """A server has one port number over TCP and UDP: connections to it tell of datagrams between the same hosts."""
    probes: tuple[ProbeSpec, ...] = ()
    replies: tuple[ReplyPattern, ...] = ()
    payloads: tuple[PayloadPattern, ...] = ()
    examples: tuple[Example, ...] = ()
    products: tuple[ProductPattern, ...] = ()
    inside: tuple[Layer, ...] = ()
    """Layers its probes may be asked in."""
    starttls: tuple[Step, ...] = ()
    """The dialogue that turns a plain connection into TLS: after its last step the handshake begins."""
    announced: str | None = None
    """Regular expression: a reply that matches says that `starttls` may be begun."""
    foreign: tuple[tuple[str, tuple[Reaction, ...]], ...] = ()
    """What its programs do with probes of other services that they do not answer."""
    constants: tuple[tuple[str, bytes], ...] = ()
    """Named byte strings for codecs that need them (Skype's hello constants)."""
    path: str = ""
