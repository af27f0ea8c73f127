"""From the tables of one TOML file to the values of the signature language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowsonar.model import Confidence, Layer, Side, TrafficClass, Transport
from flowsonar.signatures.language import (
    Condition,
    Connection,
    Example,
    FieldCheck,
    FieldOrder,
    PayloadPattern,
    ProbeSpec,
    Product,
    ProductPattern,
    Reaction,
    ReplyPattern,
    Rest,
    Signature,
    Speaker,
    Step,
)
from flowsonar.signatures.source import File, Table
from flowsonar.signatures.templates import place_of

__all__ = ["LISTEN", "PatternCheck", "read_signature"]

LISTEN = "listen"
"""What stands for a probe's id where an endpoint speaks before we do."""

PatternCheck = Callable[[str], str | None]
"""Says what is wrong with a regular expression, or None."""

_MAX_LENGTH = 1 << 20
_NAME_HELP = "use lower-case letters, digits and -"


class _Reader(NamedTuple):
    """What every table of one file needs to know."""

    service: str
    constants: dict[str, bytes]
    check_pattern: PatternCheck

    def id(self, name: str) -> str:
        return name if name == LISTEN or "/" in name else f"{self.service}/{name}"


def read_signature(file: File, values: dict[str, Any], check_pattern: PatternCheck) -> Signature:
    """One file's signature. Raises SignatureError with the line."""
    top = Table(file, values)
    service = _name(top, "service")
    constants: dict[str, bytes] = {}
    if (section := top.section("constants")) is not None:
        for key in section.keys():  # noqa: SIM118 - not a mapping: keys() also notes that all keys are known
            constants[key] = section.data(key, constants) or b""
    reader = _Reader(service, constants, check_pattern)
    traffic_class = top.choice("class", TrafficClass) or top.fail("class is missing: add class = 'interactive' or so")
    ports, tls_ports = _ports(top)
    starttls: tuple[Step, ...] = ()
    announced: str | None = None
    if (section := top.section("starttls")) is not None:
        starttls = tuple(_step(reader, step) for step in section.tables("steps"))
        announced = _pattern(reader, section, "announced", anchored=False)
        section.done()
        if not starttls:
            section.fail("starttls needs steps = [{ send = ..., expect = ... }]")
    signature = Signature(
        service=service,
        title=top.required("title"),
        traffic_class=traffic_class,
        references=top.texts("references") or top.fail("references is missing: name the specification"),
        ports=ports,
        tls_ports=tls_ports,
        ip_protocols=top.numbers("ip-protocols", 0, 255),
        alpn=top.texts("alpn"),
        aliases=top.texts("aliases"),
        speaks_first=top.choice("speaks-first", Speaker, Speaker.CLIENT) or Speaker.CLIENT,
        parent=_name(top, "parent") if top.has("parent") else None,
        peers=top.flag("peers") or False,
        both_transports=top.flag("both-transports") or False,
        inside=tuple(_layer(top, "inside", name) for name in top.texts("inside")),
        starttls=starttls,
        announced=announced,
        foreign=_foreign(top),
        probes=tuple(_probe(reader, table, bool(starttls)) for table in top.tables("probe")),
        replies=tuple(_reply(reader, table) for table in top.tables("reply")),
        payloads=tuple(_payload(reader, table, ports) for table in top.tables("payload")),
        products=tuple(_product_pattern(reader, table) for table in top.tables("product")),
        examples=tuple(_example(reader, table) for table in top.tables("example")),
        constants=tuple(constants.items()),
        path=file.path,
    )
    _check_names(top, signature)
    top.done()
    return signature


def _any_port(table: Table) -> bool:
    wanted = table.flag("any-port") or False
    if wanted and table.choice("transport", Transport) is not Transport.UDP:
        table.fail("any-port: a connection has one port; leave it out or set transport = 'udp'", "any-port")
    return wanted


def _foreign(top: Table) -> tuple[tuple[str, tuple[Reaction, ...]], ...]:
    section = top.section("foreign")
    if section is None:
        return ()
    found: list[tuple[str, tuple[Reaction, ...]]] = []
    for probe in section.keys():  # noqa: SIM118 - not a mapping: keys() also notes that all keys are known
        reactions = section.texts(probe)
        for reaction in reactions:
            if reaction not in list(Reaction):
                section.fail(f"{probe} = {reaction!r}: must be one of {', '.join(Reaction)}", probe)
        found.append((probe, tuple(map(Reaction, reactions))))
    return tuple(found)


def _check_names(top: Table, signature: Signature) -> None:
    seen: set[str] = set()
    for kind, items in (("probe", signature.probes), ("reply", signature.replies), ("payload", signature.payloads)):
        names = [item.name for item in items]
        for index, name in enumerate(names):
            if name in names[:index] or (kind == "payload" and name in seen):
                top.tables(kind)[index].fail(f"name = {name!r} is taken: every reply and payload needs its own", "name")
        if kind == "reply":
            seen = set(names)
    for index, reply in enumerate(signature.replies):
        for name in reply.requires:
            if "/" not in name and name not in seen:
                top.tables("reply")[index].fail(f"requires {name!r}: there is no such [[reply]] here", "requires")


def _name(table: Table, key: str) -> str:
    name = table.required(key)
    if not name or not name.isascii() or not all(char.isdigit() or char.islower() or char == "-" for char in name):
        table.fail(f"{key} = {name!r}: {_NAME_HELP}", key)
    return name


def _layer(table: Table, key: str, name: str) -> Layer:
    if name not in list(Layer):
        table.fail(f"{key} = {name!r}: must be one of {', '.join(Layer)}", key)
    return Layer(name)


def _ports(top: Table) -> tuple[tuple[tuple[Transport, tuple[int, ...]], ...], tuple[int, ...]]:
    table = top.table("ports")
    if table is None:
        return (), ()
    kinds = (Transport.TCP, Transport.UDP, Transport.SCTP)
    ports = tuple((kind, table.numbers(kind, 1, 65535)) for kind in kinds if table.has(kind))
    tls = table.numbers("tls", 1, 65535)
    table.done()
    return ports, tls


def _range(table: Table, key: str, low: int, high: int) -> tuple[int, int] | None:
    if not table.has(key):
        return None
    if isinstance(table.peek(key), int):
        number = table.number(key, low, high) or 0
        return number, number
    bounds = table.numbers(key, low, high)
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        table.fail(f"{key}: write one number, or [least, most]", key)
    return bounds[0], bounds[1]


def _field_check(reader: _Reader, table: Table, of_payload: bool) -> FieldCheck:
    equals = table.data("equals", reader.constants)
    echo = table.text("echo") or None
    length = table.number("length", 1, 8) or 0
    values = table.numbers("any", 0, (1 << 63) - 1)
    between = _range(table, "between", 0, (1 << 63) - 1)
    capture = table.text("capture") or None
    kinds = sum((equals is not None, echo is not None, length > 0, bool(values), between is not None))
    if kinds > 1 or (kinds == 0 and not capture):
        table.fail("a field has exactly one of equals, echo, any, between, length (or capture)", "at")
    if of_payload and (echo or capture):
        table.fail("a payload is not an answer: echo and capture belong to replies", "at")
    order = table.choice("order", FieldOrder, FieldOrder.BIG) or FieldOrder.BIG
    at = table.number("at", -_MAX_LENGTH, _MAX_LENGTH)
    check = FieldCheck(
        at=table.fail("at is missing: say at which offset") if at is None else at,
        equals=equals,
        echo=echo,
        mask=table.number("mask", 0, (1 << 63) - 1),
        any=values,
        between=between,
        size=table.number("size", 1, 64 if capture else 8) or 1,
        order=order,
        length_size=length,
        length_add=table.number("add", -_MAX_LENGTH, _MAX_LENGTH) or 0,
        length_order=order,
        length_rest=table.choice("rest", Rest, Rest.EXACT) or Rest.EXACT,
        capture=capture,
    )
    table.done()
    return check


def _pattern(reader: _Reader, table: Table, key: str, *, anchored: bool) -> str | None:
    if not table.has(key):
        return None
    pattern = table.text(key)
    if not pattern.isascii():
        table.fail(f"{key}: write bytes beyond ASCII as \\xHH", key)
    start = pattern.split(")", 1)[1] if pattern.startswith("(?") and ")" in pattern else pattern
    if anchored and not start.startswith("^") and not pattern.startswith("^"):
        table.fail(f"{key} is not anchored: start it with ^, or say anywhere = true", key)
    if (problem := reader.check_pattern(pattern)) is not None:
        table.fail(f"{key}: {problem}", key)
    return pattern


def _condition(reader: _Reader, table: Table, *, of_payload: bool = False, anchored: bool = True) -> Condition:
    anchored = anchored and not table.flag("anywhere")
    condition = Condition(
        pattern=_pattern(reader, table, "pattern", anchored=anchored),
        unless=_pattern(reader, table, "unless", anchored=False),
        length=_range(table, "length", 0, _MAX_LENGTH),
        fields=tuple(_field_check(reader, field, of_payload) for field in table.tables("fields")),
        random=table.flag("random") or False,
    )
    if of_payload:
        return condition
    return Condition(
        pattern=condition.pattern,
        unless=condition.unless,
        length=condition.length,
        fields=condition.fields,
        random=condition.random,
        contains=table.texts("contains"),
        differs_from=table.number("differs-from", 0, 31),
        not_echo=table.flag("not-echo") or False,
        echo=table.flag("echo") or False,
        closed=table.flag("closed"),
        silence=table.flag("silence") or False,
    )


def _needs_something(table: Table, condition: Condition) -> Condition:
    if condition == Condition(unless=condition.unless):
        table.fail("nothing is asked of the bytes: add pattern, length, fields, random, echo, closed or silence")
    return condition


def _inner_condition(reader: _Reader, table: Table | None) -> Condition | None:
    if table is None:
        return None
    condition = _needs_something(table, _condition(reader, table))
    table.done()
    return condition


def _product(table: Table) -> Product:
    cpe = table.text("cpe") or None
    if cpe and not cpe.startswith("cpe:2.3:"):
        parts = cpe.split(":")
        if len(parts) != 3 or parts[0] not in "aoh" or not all(parts):
            table.fail(
                f"cpe = {cpe!r}: write 'a:vendor:product' (the version is put in), or a whole cpe:2.3:...", "cpe"
            )
    return Product(product=table.text("product") or None, version=table.text("version") or None, cpe=cpe)


def _confidence(table: Table, default: Confidence | None = None) -> Confidence | None:
    confidence = table.choice("confidence", Confidence, default)
    if confidence is Confidence.UNKNOWN:
        table.fail("confidence = 'unknown' proves nothing: use confirmed, likely or guess", "confidence")
    return confidence


def _step(reader: _Reader, table: Table) -> Step:
    step = Step(
        send=table.template("send", reader.constants),
        again=table.number("again", 0, 31),
        connection=table.choice("connection", Connection, Connection.SAME) or Connection.SAME,
        expect=_inner_condition(reader, table.table("expect")),
        within_ms=table.number("within-ms", 1, 60_000),
        reached=table.choice("reached", Confidence, None),
    )
    table.done()
    return step


def _is_proof(steps: Sequence[Step]) -> bool:
    """Whether the steps are those of `probes/proof.py`."""
    if len(steps) != 4 or any(step.send is None for step in steps):
        return False
    return steps[0].expect is not None and steps[0].expect.length is not None


def _probe(reader: _Reader, table: Table, has_starttls: bool) -> ProbeSpec:
    steps = tuple(_step(reader, step) for step in table.tables("steps"))
    reply = _inner_condition(reader, table.table("reply"))
    special = table.text("special") or None
    send = table.template("send", reader.constants)
    if steps and (reply is not None or send is not None):
        table.fail("steps say what is sent and expected: leave out send and reply", "steps")
    if not steps and not special:
        if send is None and reply is None:
            table.fail("a probe needs send = '...', steps = [...] or special = '...'")
        steps = (Step(send=send, expect=reply),)
    if special == "proof" and not _is_proof(steps):
        table.fail("a proof has four steps: key (expect its length), random bytes, hash, more random bytes", "steps")
    for index, step in enumerate(steps):
        if step.again is not None and (step.send is not None or step.again >= index):
            table.fail("again names an earlier step (counted from 0), and takes the place of send", "steps")
    confidence = _confidence(table)
    if confidence is not None and (not steps or steps[-1].expect is None) and not special:
        table.fail("confidence without a condition on the last reply: add reply.pattern or expect", "confidence")
    family = table.text("family")
    if family not in ("", "ipv4", "ipv6"):
        table.fail(f"family = {family!r}: must be ipv4 or ipv6", "family")
    starttls = table.flag("starttls") or False
    if starttls and not has_starttls:
        table.fail("starttls = true needs a [starttls] section that says how", "starttls")
    probe = ProbeSpec(
        service=reader.service,
        name=_name(table, "name"),
        transport=table.choice("transport", Transport, Transport.TCP) or Transport.TCP,
        steps=steps,
        family={"ipv4": 4, "ipv6": 6}.get(family),
        confidence=confidence,
        amplifies=table.flag("amplifies") or False,
        any_port=_any_port(table),
        special=special,
        detail=table.text("detail"),
        product=_product(table),
        over=table.choice("over", Layer),
        starttls=starttls,
        rarity=table.number("rarity", 1, 9) or 5,
        as_peer=table.text("as-peer") or None,
    )
    table.done()
    if probe.as_peer is not None:
        template = probe.steps[0].send if len(probe.steps) == 1 else None
        if probe.transport is not Transport.UDP or template is None:
            table.fail("as-peer is for probes of one datagram", "as-peer")
        place = place_of(template, probe.as_peer)
        if place is None or place[1] < 2:
            table.fail(f"as-peer = {probe.as_peer!r}: must be a field of two bytes or more at a fixed place", "as-peer")
    return probe


def _reply(reader: _Reader, table: Table) -> ReplyPattern:
    reply = ReplyPattern(
        service=reader.service,
        name=_name(table, "name"),
        condition=_needs_something(table, _condition(reader, table)),
        confidence=_confidence(table) or table.fail("confidence is missing: confirmed, likely or guess"),
        transport=table.choice("transport", Transport),
        to=tuple(reader.id(name) for name in table.texts("after")),
        requires=table.texts("requires"),
        soft=table.flag("soft") or False,
        specificity=table.number("specificity", 0, 1000) or 0,
        detail=table.text("detail"),
        product=_product(table),
        over=table.choice("over", Layer),
    )
    table.done()
    return reply


def _payload(reader: _Reader, table: Table, ports: tuple[tuple[Transport, tuple[int, ...]], ...]) -> PayloadPattern:
    payload = PayloadPattern(
        service=reader.service,
        name=_name(table, "name"),
        condition=_needs_something(table, _condition(reader, table, of_payload=True)),
        confidence=_confidence(table) or table.fail("confidence is missing: confirmed, likely or guess"),
        transport=table.choice("transport", Transport, Transport.TCP) or Transport.TCP,
        side=table.choice("side", Side),
        on_port=table.flag("on-port") or False,
        greeting=table.flag("greeting") or False,
        soft=table.flag("soft") or False,
        specificity=table.number("specificity", 0, 1000) or 0,
        detail=table.text("detail"),
        product=_product(table),
    )
    if payload.on_port and not dict(ports).get(payload.transport):
        table.fail(f"on-port = true: the service has no port over {payload.transport}; add ports", "on-port")
    if payload.on_port and payload.confidence is Confidence.CONFIRMED:
        table.fail("confidence = 'confirmed' with on-port: bytes that need the port are likely at most", "on-port")
    if payload.greeting and payload.confidence is Confidence.CONFIRMED:
        table.fail("confidence = 'confirmed' with greeting: what anybody can say is likely at most", "greeting")
    table.done()
    return payload


def _product_pattern(reader: _Reader, table: Table) -> ProductPattern:
    condition = _condition(reader, table, of_payload=True, anchored=False)
    product = ProductPattern(
        service=reader.service,
        condition=_needs_something(table, condition),
        product=_product(table),
        transport=table.choice("transport", Transport),
        detail=table.text("detail"),
    )
    if product.product.product is None:
        table.fail("product is missing: name the program")
    table.done()
    return product


def _example(reader: _Reader, table: Table) -> Example:
    after = table.texts("after")
    side = table.choice("side", Side)
    if len(after) > 1 or (after and side is not None):
        table.fail("an example is a reply (after = one probe or 'listen') or a payload (side = ...)", "after")
    replies: list[bytes] = []
    for index, text in enumerate(table.texts("replies")):
        replies.append(table.parse(text, f"replies[{index}]", "replies", reader.constants))
    data = table.data("bytes", reader.constants)
    if (data is None) == (not replies):
        table.fail("an example needs bytes = '...' or replies = [...]")
    sent: list[tuple[str, bytes]] = []
    if (values := table.table("sent")) is not None:
        sent = [(key, values.data(key, reader.constants) or b"") for key in values.keys()]  # noqa: SIM118
    matches = table.flag("matches")
    example = Example(
        data=replies[-1] if data is None else data,
        replies=tuple(replies),
        to=reader.id(after[0]) if after else None,
        side=side,
        transport=table.choice("transport", Transport, Transport.TCP) or Transport.TCP,
        matches=matches if matches is not None else True,
        pattern=table.text("pattern") or None,
        product=table.text("product") or None,
        version=table.text("version") or None,
        sent=tuple(sent),
        message=table.data("message", reader.constants) or b"",
        closed=table.flag("closed") or False,
        earlier=tuple(reader.id(name) for name in table.texts("earlier")),
        source=table.text("source"),
        line=table.line(),
    )
    table.done()
    return example
