"""The services as a page in Markdown, made from their files: docs/services.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flowsonar.model import Endpoint, TrafficClass, Transport
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import ProbeSpec, Signature
from flowsonar.signatures.sample import first_message, shown

__all__ = ["asked", "known_products", "place_of", "render_page"]

_ADDRESS: Final = "192.0.2.1"  # RFC 5737: for documentation
_PORTS: Final = 8
_MARKDOWN: Final = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|"})
_HEAD: Final = """# Services

Made by `flowsonar signatures list --markdown` from the files in
[src/flowsonar/signatures/data](../src/flowsonar/signatures/data); change those, not this page.
[signatures.md](signatures.md) tells what their keys mean.
"""


def render_page(signatures: SignatureSet) -> str:
    """The whole page, one section a class and one paragraph a service."""
    services = sorted(signatures.services.values(), key=lambda one: one.service)
    asked_ones = sum(bool(one.probes) for one in services)
    count = (
        f"{len(services)} services; {asked_ones} are asked, {len(services) - asked_ones} are passive only: recognised"
    )
    count += " by what flows show, or by what a server says before it is asked, and never asked themselves."
    lines = [_HEAD, count, "", "| service | class | ports | asked |", "|---|---|---|---|"]
    for one in services:
        places = ", ".join(place_of(one)[:_PORTS])
        lines.append(f"| [`{one.service}`](#{one.service}) | {one.traffic_class} | {places} | {asked(one)} |")
    for traffic_class in TrafficClass:
        members = [one for one in services if one.traffic_class is traffic_class]
        if members:
            lines += ["", f"## Class {traffic_class}"]
            for one in members:
                lines += _section(one)
    return "\n".join(lines) + "\n"


def place_of(signature: Signature) -> list[str]:
    """Default ports as `53/udp`, `443/tls`, or the protocol's number in the IP header."""
    places = [f"{port}/{transport}" for transport, ports in signature.ports for port in ports]
    places += [f"{port}/tls" for port in signature.tls_ports]
    return places + [f"IP protocol {number}" for number in signature.ip_protocols]


def asked(signature: Signature) -> str:
    """How it is asked, in a word or two."""
    if not signature.probes:
        return "passive only"
    return f"{len(signature.probes)} probe{'s' if len(signature.probes) > 1 else ''}"


def known_products(signature: Signature) -> list[str]:
    """Programs that its patterns and examples name."""
    names = [example.product for example in signature.examples]
    names += [program.product.product for program in signature.products]
    names += [reply.product.product for reply in signature.replies]
    names += [probe.product.product for probe in signature.probes]
    return sorted({name for name in names if name and "{" not in name}, key=str.lower)


def _section(one: Signature) -> Iterator[str]:
    yield ""
    yield f"### {one.service}"
    yield f"{_escaped(one.title)}. " + " ".join(_facts(one))
    comment = _comment(one)
    if comment:
        yield ""
        yield _escaped(comment)
    yield ""
    if one.probes:
        yield from (_probe(one, probe) for probe in one.probes)
    else:
        yield "- passive only: no probe"
    products = known_products(one)
    if products:
        yield f"- products: {', '.join(_escaped(name) for name in products)}"
    yield f"- references: {'; '.join(_escaped(reference) for reference in one.references)}"


def _facts(one: Signature) -> Iterator[str]:
    places = place_of(one)
    if places:
        yield f"Ports {', '.join(places)}." if "IP" not in places[0] else f"{', '.join(places)}."
    if one.alpn:
        yield f"ALPN {', '.join(f'`{name}`' for name in one.alpn)}."
    if one.parent:
        yield f"Spoken in the format of [`{one.parent}`](#{one.parent})."
    if one.inside:
        yield f"Also inside {', '.join(str(layer) for layer in one.inside)}."
    if one.starttls:
        yield "Can change to TLS in the middle (STARTTLS)."
    if one.aliases:
        yield f"Also called {', '.join(_escaped(name) for name in one.aliases)}."


def _probe(one: Signature, probe: ProbeSpec) -> str:
    address = "2001:db8::1" if probe.family == 6 else _ADDRESS
    port = next((ports[0] for transport, ports in one.ports if transport is probe.transport and ports), 1)
    message = None if probe.special else first_message(probe, Endpoint(probe.transport, address, port))
    said = "made by code" if probe.special else "listens" if message is None else f"`{shown(message)}`"
    if "``" in said or said.count("`") > 2:
        said = f"{len(message or b'')} bytes"
    notes = [f"rarity {probe.rarity}"]
    if len(probe.steps) > 1:
        notes.append(f"{len(probe.steps)} steps")
    if probe.over is not None:
        notes.append(f"inside {probe.over} only")
    if probe.starttls:
        notes.append("after STARTTLS")
    if probe.amplifies:
        notes.append("large answers: private networks only")
    if probe.family is not None:
        notes.append(f"IPv{probe.family} only")
    transport = "UDP" if probe.transport is Transport.UDP else "TCP"
    return f"- asks `{probe.name}` ({transport}; {', '.join(notes)}): {said}"


def _comment(one: Signature) -> str:
    """What the file's first lines say: what asking does to the other side, and what else could look the same."""
    words = []
    for line in Path(one.path).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# ").rstrip())
    return " ".join(word for word in words if word)


def _escaped(text: str) -> str:
    return text.translate(_MARKDOWN)
