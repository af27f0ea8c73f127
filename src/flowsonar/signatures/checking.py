"""The proof that signatures do what they say: every example is recognised, and by no other service as certain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowsonar.model import Confidence, Transport
from flowsonar.signatures import strength
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Example, ProbeSpec, Signature
from flowsonar.signatures.matcher import Match, Matcher, Reply
from flowsonar.signatures.programs import is_expressible
from flowsonar.signatures.tables import LISTEN

__all__ = ["Problem", "check", "example_matches"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a signature."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        """`file:line: what: what to do`."""
        return f"{self.path}:{self.line}: {self.what}"


def check(signatures: SignatureSet, matcher: Matcher | None = None) -> list[Problem]:
    """Everything that is wrong, in the order of the files; empty when all is well."""
    matcher = matcher or Matcher(signatures)
    problems: list[Problem] = []
    for signature in signatures.services.values():
        found = [text for example in signature.examples for text in _example(signatures, matcher, signature, example)]
        problems += [Problem(signature.path, line, what) for line, what in found]
        problems += [Problem(signature.path, 1, what) for what in _without_examples(matcher, signature)]
        problems += [Problem(signature.path, 1, what) for what in _too_weak(signature)]
        problems += [Problem(signature.path, 1, what) for what in _too_slow(signature)]
    return problems


def example_matches(matcher: Matcher, example: Example, ports: tuple[int, ...] = ()) -> list[Match]:
    """What the matcher makes of an example; a payload is one of a flow that has the `ports`."""
    if example.to is None:
        return matcher.payload(example.transport, example.side, example.data, ports)
    return matcher.reply(_reply(example))


def _ports(signature: Signature, example: Example) -> tuple[int, ...]:
    """Its own default ports: `on-port` patterns are shown where they may hold."""
    return dict(signature.ports).get(example.transport, ())


def _reply(example: Example) -> Reply:
    return Reply(
        probe=example.to or LISTEN,
        step=max(0, len(example.replies) - 1),
        data=example.data,
        transport=example.transport,
        closed=example.closed,
        sent=dict(example.sent),
        message=example.message,
        previous=example.replies[:-1],
        earlier=frozenset(example.earlier),
    )


def _example(
    signatures: SignatureSet, matcher: Matcher, signature: Signature, example: Example
) -> list[tuple[int, str]]:
    matches = example_matches(matcher, example, _ports(signature, example))
    kin = (signature.service, *signatures.ancestors(signature.service))
    problems: list[str] = []
    own = [match for match in matches if match.service == signature.service]
    probe = signatures.probe(example.to) if example.to else None
    if probe is not None and probe.service == signature.service and probe.confidence is not None:
        own += _dialogue(matcher, probe, example)
    if example.pattern is not None:
        name = example.pattern if "/" in example.pattern else f"{signature.service}/{example.pattern}"
        own = [match for match in own if match.pattern == name]
    wanted = f"pattern {example.pattern}" if example.pattern else "a pattern of its own service"
    if not example.matches:
        if own:
            problems.append(f"near miss matches {own[0].pattern}: narrow that pattern")
    elif not own:
        seen = ", ".join(match.pattern for match in matches) or "nothing"
        problems.append(f"example does not match {wanted} (it matches {seen}): correct the pattern or the example")
    else:
        problems += _product(own, example)
    if example.matches:
        problems += [
            f"example is confirmed as {match.service} by {match.pattern}: narrow that pattern"
            for match in matches
            if match.service not in kin and match.confidence is Confidence.CONFIRMED
        ]
        problems += _first(matches, signature, kin)
    return [(example.line, text) for text in problems]


def _first(matches: list[Match], signature: Signature, kin: tuple[str, ...]) -> list[str]:
    """The best match must be its own, unless that is a soft one, or its parent's which proves more."""
    own = next((match for match in matches if match.service == signature.service), None)
    if own is not None and not own.soft and matches[0].service not in kin:
        return [f"example is first of all {matches[0].pattern}: set specificity"]
    return []


def _product(own: list[Match], example: Example) -> list[str]:
    best = own[0]
    problems = []
    for key, wanted, got in (("product", example.product, best.product), ("version", example.version, best.version)):
        if wanted is not None and wanted != got:
            problems.append(f"example gives {key} {got!r}, not {wanted!r}: correct the product pattern or the example")
    return problems


def _dialogue(matcher: Matcher, probe: ProbeSpec, example: Example) -> list[Match]:
    """The match that a dialogue gives that went through with these replies."""
    replies = example.replies or (example.data,)
    if len(replies) != len(probe.steps):
        return []
    groups: dict[str, str] = {}
    for index, (step, data) in enumerate(zip(probe.steps, replies, strict=True)):
        if step.expect is None:
            continue
        reply = replace(_reply(example), step=index, data=data, previous=replies[:index])
        if step.expect.closed is not None and index < len(replies) - 1:
            reply = replace(reply, closed=step.expect.closed)
        got = matcher.holds(step.expect, reply)
        if got is None:
            return []
        groups |= got
    product, version, cpe = matcher.product(probe.product, groups)
    confidence = probe.confidence or Confidence.GUESS
    return [Match(probe.service, probe.id, confidence, product, version, cpe, probe.detail)]


def _without_examples(matcher: Matcher, signature: Signature) -> list[str]:
    """Patterns that no example shows to work."""
    shown: set[str] = set()
    for example in signature.examples:
        if example.matches:
            ports = _ports(signature, example)
            shown |= {match.pattern for match in example_matches(matcher, example, ports)}
    patterns = [*(reply.id for reply in signature.replies), *(payload.id for payload in signature.payloads)]
    problems = [f"no [[example]] matches {name}: add one" for name in patterns if name not in shown]
    if not any(not example.matches for example in signature.examples) and patterns:
        problems.append("no near miss: add an [[example]] with matches = false")
    return problems


def _too_weak(signature: Signature) -> list[str]:
    """Payload patterns that enciphered traffic would meet by chance, and reply patterns that any answer might."""
    problems = []
    for payload in signature.payloads:
        if payload.confidence.rank < Confidence.LIKELY.rank or payload.on_port:
            continue
        held, enough = strength.bits(payload.condition), strength.ENOUGH.get(payload.transport, 0)
        if held < enough:
            problems.append(
                f"{payload.id} fixes {held:.0f} bits of a message, `{payload.confidence}` on any port takes {enough}: "
                'fix more, or say on-port = true or confidence = "guess"'
            )
    for reply in signature.replies:
        narrow = reply.to or reply.requires or reply.soft or reply.condition.echo
        if narrow or reply.confidence.rank < Confidence.LIKELY.rank:
            continue
        held, enough = strength.bits(reply.condition), strength.ENOUGH.get(reply.transport or Transport.TCP, 0)
        if held < enough:
            problems.append(
                f"{reply.id} fixes {held:.0f} bits of a reply, `{reply.confidence}` whatever was asked takes {enough}: "
                'fix more, or say after = [...] or confidence = "guess"'
            )
    return problems


def _too_slow(signature: Signature) -> list[str]:
    """Expressions that no automaton takes: one is enough for all flows of its transport to be read in Python."""
    expressions = [(one.condition, "all flows of its transport") for one in signature.payloads]
    expressions += [(one.condition, f"each `{signature.service}` flow") for one in signature.products]
    return [
        f"{expression} cannot be matched in C, so {what} would take many times longer: write it without named classes "
        r"([:alpha:]), \x{...}, \p, \C, (?x), `^` or `$` inside (?m), bytes from 0x80 under (?i)"
        for condition, what in expressions
        for expression in (condition.pattern, condition.unless)
        if expression is not None and not is_expressible(expression)
    ]
