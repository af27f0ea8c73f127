"""Names that one part of a signature uses and another gives: a typing error there would silently switch a pattern off.

Probes named by `after`, parents, fields of messages, echoed fields, groups in product, version, CPE and detail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from flowsonar.signatures.language import Condition, ProbeSpec, Product, SentField, Signature, Step
from flowsonar.signatures.source import File
from flowsonar.signatures.tables import LISTEN
from flowsonar.signatures.templates import CONNECTION_NAMES, PACKED_NAMES

__all__ = ["check_references"]

_GROUP_MADE: Final = re.compile(r"\(\?P<(\w+)>")
_GROUP_USED: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def check_references(services: Mapping[str, Signature], files: Iterable[File], built_in: Path) -> None:
    """Raise SignatureError for the first name that nothing gives.

    A file of one's own may replace a built-in service and have other probes; other files may still name the old ones.
    """
    by_path = {file.path: file for file in files}
    probes = {probe.id: probe for signature in services.values() for probe in signature.probes}
    replaced = {name for name, signature in services.items() if Path(signature.path).parent != built_in}
    for signature in services.values():
        checked = _Checked(signature, by_path[signature.path], probes, replaced)
        checked.parent(services)
        checked.after()
        checked.foreign()
        checked.starttls()
        for index, probe in enumerate(signature.probes):
            checked.probe(index, probe)
        checked.replies()
        checked.names()


class _Checked:
    """One file's signature, with what it may refer to."""

    def __init__(
        self, signature: Signature, file: File, probes: Mapping[str, ProbeSpec], replaced: frozenset[str] | set[str]
    ) -> None:
        self._signature = signature
        self._file = file
        self._probes = probes
        self._replaced = replaced

    def _fail(self, section: str, index: int, keys: Sequence[str], what: str) -> NoReturn:
        lines = self._file.header_lines(section) if section else []
        start = lines[index] if index < len(lines) else 1
        self._file.fail(self._file.key_line(start, keys), what)

    def parent(self, services: Mapping[str, Signature]) -> None:
        """It exists, and the way up ends."""
        seen = {self._signature.service}
        above = self._signature.parent
        while above is not None:
            if above not in services:
                self._fail("", 0, ["parent"], f"parent = {above!r}: there is no such service; name one that is loaded")
            if above in seen:
                self._fail("", 0, ["parent"], f"parent = {above!r}: it would be inside itself; leave out one parent")
            seen.add(above)
            above = services[above].parent

    def after(self) -> None:
        """Probes that replies and examples come after."""
        signature = self._signature
        named = [("reply", index, name) for index, reply in enumerate(signature.replies) for name in reply.to]
        named += [("example", index, one.to) for index, one in enumerate(signature.examples) if one.to is not None]
        for section, index, name in named:
            service = name.partition("/")[0]
            if name != LISTEN and name not in self._probes:
                if service in self._replaced and service != signature.service:
                    continue
                what = f"after = {name!r}: there is no such probe; write its name, service/name, or listen"
                self._fail(section, index, ["after"], what)

    def foreign(self) -> None:
        """Probes of other services that its programs leave unanswered."""
        for name, _ in self._signature.foreign:
            if name not in self._probes and name.partition("/")[0] not in self._replaced:
                self._fail("foreign", 0, [name], f"{name!r}: there is no such probe; write service/name")

    def starttls(self) -> None:
        """The steps that turn to TLS."""
        self._steps("starttls", 0, self._signature.starttls, set())

    def probe(self, index: int, probe: ProbeSpec) -> None:
        """Fields of its messages and conditions, groups of its texts."""
        if probe.special is not None:
            return
        known: set[str] = set()
        if probe.starttls:
            known = self._steps("starttls", 0, self._signature.starttls, known)
        self._steps("probe", index, probe.steps, known)
        expected = (step.expect for step in (*(self._signature.starttls if probe.starttls else ()), *probe.steps))
        given = {name for condition in expected if condition is not None for name in _given(condition)}
        self._texts("probe", index, probe.product, probe.detail, given)

    def _steps(self, section: str, index: int, steps: Sequence[Step], known: set[str]) -> set[str]:
        """What is known after the steps: sent fields, named groups and captures."""
        known = set(known)
        for step in steps:
            for part in step.send.parts if step.send is not None else ():
                if not isinstance(part, SentField) or part.name in CONNECTION_NAMES or part.name == "random":
                    continue
                if not part.size and part.name not in known:
                    what = (
                        f"send: {{{part.name}}} is not known here: give it a size, {{{part.name}:4}}, or let an "
                        f"earlier step send or capture it{_known(known)}"
                    )
                    self._fail(section, index, ["send"], what)
                known.add(part.name)
            if step.expect is not None:
                self._echoed(section, index, step.expect, known)
                known |= _given(step.expect)
        return known

    def _echoed(self, section: str, index: int, condition: Condition, known: Iterable[str]) -> None:
        for key, name in _compared(condition):
            if name not in known and name not in PACKED_NAMES:
                what = f"{key} = {name!r}: nothing we send has that name{_known(known)}"
                self._fail(section, index, [key], what)

    def replies(self) -> None:
        """Fields of ours that reply patterns ask for: a probe that they come after sends them."""
        for index, reply in enumerate(self._signature.replies):
            if any(_compared(reply.condition)):
                asked = [self._probes[name] for name in reply.to if name in self._probes]
                if not asked and reply.to:
                    continue  # listening, or a probe of a replaced file
                if not any(probe.special is not None for probe in asked):
                    asked = asked or [*self._probes.values()]
                    self._echoed("reply", index, reply.condition, {name for one in asked for name in _sent(one)})
            given = _groups(reply.condition)
            self._texts("reply", index, reply.product, reply.detail, given)

    def names(self) -> None:
        """Groups in the texts of payloads and products."""
        for index, payload in enumerate(self._signature.payloads):
            self._texts("payload", index, payload.product, payload.detail, _groups(payload.condition))
        for index, product in enumerate(self._signature.products):
            self._texts("product", index, product.product, product.detail, _groups(product.condition))

    def _texts(self, section: str, index: int, product: Product, detail: str, given: set[str]) -> None:
        texts = {"product": product.product, "version": product.version, "cpe": product.cpe, "detail": detail}
        for key, text in texts.items():
            for name in _GROUP_USED.findall(text or ""):
                if name not in given:
                    what = f"{key}: {{{name}}} is no group of the pattern: write (?P<{name}>...) in it{_known(given)}"
                    self._fail(section, index, [key], what)


def _groups(condition: Condition) -> set[str]:
    return set(_GROUP_MADE.findall(condition.pattern or ""))


def _given(condition: Condition) -> set[str]:
    """Named groups and captures."""
    return _groups(condition) | {check.capture for check in condition.fields if check.capture}


def _compared(condition: Condition) -> Iterator[tuple[str, str]]:
    for check in condition.fields:
        if check.echo:
            yield "echo", check.echo
    for name in condition.contains:
        yield "contains", name


def _sent(probe: ProbeSpec) -> set[str]:
    """Names that a reply to the probe may be compared with."""
    names: set[str] = set()
    for step in probe.steps:
        names |= {part.name for part in (step.send.parts if step.send else ()) if isinstance(part, SentField)}
        names |= _given(step.expect) if step.expect is not None else set()
    return names


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(sorted(names)[:8])
    return f" (known: {listed})" if listed else ""
