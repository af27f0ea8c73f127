"""The general order of questions: which one makes most of the services that are still possible answer tellingly.

Worked out once from the signatures: a service answers its own probes, and those of others that its examples and reply
patterns name (`after = "http/get"` in the file of another service). How much a service counts is taken from the
rarity of its own probes. The next question is the one whose services, less those that earlier questions would have
shown already, count most for each connection it takes.

A weighted set is a number: every service has as many bits as it counts, so that a union is `|` and a sum a count of
bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from flowsonar.model import Layer, Transport
from flowsonar.probes.special.computed import arithmetic
from flowsonar.probes.traits import begins, is_http2, is_line, is_random, is_text
from flowsonar.signatures.language import ProbeSpec, Reaction, Signature, Speaker

__all__ = ["Catalogue", "Order", "Setting"]

WEIGHTS: Final = (0, 40, 28, 20, 14, 10, 7, 5, 3, 1)
"""What a service counts, by the least rarity of its probes (1 to 9)."""
LINE_IGNORED: Final = 8
"""Who ignored one line of text will ignore the next: such a question is worth this many times less."""
SHOWN_ALREADY: Final = 8
"""A service that an earlier question would have shown is worth this many times less: not every program of it
answers everything."""
RANDOM_SHOWN: Final = 6
"""A question of random bytes is worth so much more where the flow itself looks random, and less where it does not."""
RANDOM_UNSEEN: Final = 3
"""And so many times less where nothing of any flow is known and it has no beginning of its own: few hosts have such a
service."""
RANDOM_STREAM: Final = 100
"""The same over TCP for BitTorrent's encryption: streams that begin at random are its or nobody's that answers."""
AS_DECLARED: Final = 3
"""A service whose programs do with earlier questions what was met is worth this many times as much."""
AS_MET: Final = 10
"""And so many times more where it is declared to do so with the most of the questions put, two at least."""
OTHERWISE: Final = 8
"""And one whose programs do something else so many times less."""
_NOT_BY_THEMSELVES: Final = frozenset({"tls", "quic", "contrast"})
"""Put by the planner's own move, or beside another question."""
_TRANSPORTS: Final = (Transport.TCP, Transport.UDP)
PRIOR: Final = (160, 80, 40, 20)
"""Added for services that were found nearby, most likely first."""
_MANY: Final = 2
"""Reactions from which on the services that are declared to do all of them go before those that are declared less."""
_MET: Final = 2
"""Reactions that must be declared before a connection is spent on listening."""
_REMEMBERED: Final = 1024
"""Orders kept; then all are forgotten."""


class Catalogue(Protocol):
    """What the planner needs of the signature set."""

    @property
    def services(self) -> Mapping[str, Signature]: ...  # noqa: D102

    @property
    def parents(self) -> Mapping[str, str]: ...  # noqa: D102

    def ancestors(self, service: str) -> Sequence[str]: ...  # noqa: D102

    def by_port(self, transport: Transport, port: int) -> Sequence[str]: ...  # noqa: D102

    def by_alpn(self, name: str) -> Sequence[str]: ...  # noqa: D102


class Setting(NamedTuple):
    """What a question must fit."""

    transport: Transport
    over: Layer | None = None
    http2: bool = False
    """HTTP/2 was agreed on."""
    family: int = 4
    amplifying: bool = True
    """Datagrams with large answers may be sent there."""
    line_ignored: bool = False
    text_ended: bool = False
    """Text was answered by the end of the connection."""
    random: bool | None = None
    """The flow's bytes look random; None where none are known."""
    met: tuple[tuple[str, Reaction], ...] = ()
    """What came of questions that brought no byte."""


class _Entry(NamedTuple):
    """A probe, and what does not change about it from one ranking to the next."""

    place: int
    probe: ProbeSpec
    covers: int
    """Services that answer it tellingly."""
    plain: int
    """Those of them that do not greet: who greets would have done so."""
    plain_count: int
    connections: int
    is_line: bool
    is_text: bool
    is_random: bool


class Order:
    """Ranks the probes of a catalogue. Holds nothing of any endpoint."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._services = catalogue.services
        self._probes = [probe for signature in self._services.values() for probe in signature.probes]
        self._masks: dict[tuple[Transport, str], int] = {}
        self._covers: dict[str, int] = dict.fromkeys((probe.id for probe in self._probes), 0)
        transports = {probe.id: probe.transport for probe in self._probes}
        at = 0
        for name, signature in self._services.items():
            for transport in _TRANSPORTS:
                weight = _weight(signature, transport)
                self._masks[transport, name] = ((1 << weight) - 1) << at
                for probe in signature.probes:
                    if probe.transport is transport:  # a rare question of a frequent service counts little
                        self._covers[probe.id] |= ((1 << WEIGHTS[probe.rarity]) - 1) << at
                for foreign in _answers(signature):
                    if transports.get(foreign) is transport:
                        self._covers[foreign] |= self._masks[transport, name]
                at += weight
        self.telling = frozenset(probe for signature in self._services.values() for probe, _ in signature.foreign)
        """Probes that some programs are known to leave unanswered in a way of their own."""
        self._foreign = [
            (name, dict(signature.foreign)) for name, signature in self._services.items() if signature.foreign
        ]
        self._headless = {probe.id for probe in self._probes if probe.transport is Transport.UDP and not begins(probe)}
        self._entries = self._lay_out()
        self._usable: dict[tuple[str, Setting, bool], tuple[ProbeSpec, ...]] = {}
        self._fitting: dict[tuple[object, ...], tuple[_Entry, ...]] = {}
        self._ranked: dict[tuple[Setting, int, tuple[str, ...]], tuple[ProbeSpec, ...]] = {}

    def _lay_out(self) -> list[_Entry]:
        greets = dict.fromkeys(_TRANSPORTS, 0)
        for name, signature in self._services.items():
            if signature.speaks_first is Speaker.SERVER:
                greets[Transport.TCP] |= self._masks[Transport.TCP, name]
        entries = []
        for place, probe in enumerate(self._probes):
            covers = self._covers[probe.id]
            plain = covers & ~greets.get(probe.transport, 0)
            shuns = is_random(probe) and (probe.transport is Transport.UDP or arithmetic(probe.special) is not None)
            entries.append(
                _Entry(
                    place,
                    probe,
                    covers,
                    plain,
                    plain.bit_count(),
                    probe.connections,
                    is_line(probe),
                    is_text(probe),
                    shuns,
                )
            )
        return entries

    def of(self, service: str, setting: Setting, *, strong: bool) -> tuple[ProbeSpec, ...]:
        """The service's own probes that fit; `strong`: something points to it."""
        key = (service, setting, strong)
        found = self._usable.get(key)
        if found is None:
            signature = self._services[service]
            found = tuple(probe for probe in signature.probes if _fits(probe, signature, setting, strong=strong))
            if len(self._usable) >= 8 * _REMEMBERED:
                self._usable.clear()
            self._usable[key] = found
        return found

    def general(self, setting: Setting, tried: Collection[str], prior: Sequence[str] = ()) -> tuple[ProbeSpec, ...]:
        """All probes that fit, best first, for an endpoint that nothing points to.

        `tried`: ids of probes that brought nothing; `prior`: services found nearby, most likely first.
        """
        done = 0
        for probe in tried:
            done |= self._covers.get(probe, 0)
        key = (setting, done, tuple(prior[: len(PRIOR)]))
        found = self._ranked.get(key)
        if found is None:
            if len(self._ranked) >= _REMEMBERED:
                self._ranked.clear()
            found = self._ranked[key] = self._rank(setting, ~done, key[2])
        return found

    def covers(self, probe: str) -> list[str]:
        """Services that answer a probe tellingly."""
        covered = self._covers.get(probe, 0)
        return [name for (_, name), mask in self._masks.items() if mask & covered]

    def may_greet(self, met: Sequence[tuple[str, Reaction]]) -> bool:
        """Whether a service that greets is declared to do all that was `met`, and at least two questions were put."""
        return any(
            self._services[name].speaks_first is Speaker.SERVER
            and sum(reaction in declared.get(probe, ()) for probe, reaction in met) == len(met) >= _MET
            for name, declared in self._foreign
        )

    def _rank(self, setting: Setting, left: int, prior: Sequence[str]) -> tuple[ProbeSpec, ...]:
        near = [
            (self._masks.get((setting.transport, service), 0) & left, worth)
            for service, worth in zip(prior, PRIOR, strict=False)
        ]
        fitting, other, most = self._declared(setting)
        shown = RANDOM_SHOWN if setting.transport is Transport.UDP else RANDOM_STREAM
        ranked: list[tuple[float, int, ProbeSpec]] = []
        for place, probe, covers, plain, count, connections, line, text, random in self._that_fit(setting):
            if fitting:
                plain &= ~fitting  # noqa: PLW2901 - counted below
                count = plain.bit_count()  # noqa: PLW2901
            fresh = plain & left
            # what an earlier question would have shown counts less, and so does what does otherwise than was met
            worth = fresh.bit_count() * (1 - 1 / SHOWN_ALREADY) + count / SHOWN_ALREADY
            if other:
                against = (fresh & other).bit_count() * (1 - 1 / SHOWN_ALREADY)
                against += (plain & other).bit_count() / SHOWN_ALREADY
                worth -= against * (1 - 1 / OTHERWISE)
            for mask, extra in near:
                if mask & covers:
                    worth += extra
            if (line and setting.line_ignored) or (text and setting.text_ended):
                worth /= LINE_IGNORED
            if fitting:
                worth += AS_DECLARED * (covers & fitting).bit_count() + AS_MET * (covers & most).bit_count()
            if random and setting.random is not None:
                worth = worth * shown if setting.random else worth / shown
            elif random and probe.id in self._headless:
                worth /= RANDOM_UNSEEN
            ranked.append((-worth / connections, place, probe))
        ranked.sort()  # the place tells equals apart
        return tuple(probe for _, _, probe in ranked)

    def _that_fit(self, setting: Setting) -> tuple[_Entry, ...]:
        """Questions that may be put there, whatever was met before."""
        key = setting[:5]
        found = self._fitting.get(key)
        if found is None:
            services = self._services
            found = self._fitting[key] = tuple(
                entry
                for entry in self._entries
                if _fits(entry.probe, services[entry.probe.service], setting, strong=False)
            )
        return found

    def _declared(self, setting: Setting) -> tuple[int, int, int]:
        """Services whose programs do with the questions put so far what was met, and those that do something else.

        Third: the first of them again, of which most reactions are declared.
        """
        fitting = other = most = 0
        number = _MANY
        for name, declared in self._foreign if setting.met else ():
            said = [reaction in declared[probe] for probe, reaction in setting.met if probe in declared]
            if said and all(said):
                fitting |= self._masks[setting.transport, name]
                if len(said) > number:
                    number, most = len(said), 0
                if len(said) == number:
                    most |= self._masks[setting.transport, name]
            elif said:
                other |= self._masks[setting.transport, name]
        return fitting, other, most


def _weight(signature: Signature, transport: Transport) -> int:
    rarities = [probe.rarity for probe in signature.probes if probe.transport is transport]
    return WEIGHTS[min(rarities, default=9)]


def _answers(signature: Signature) -> set[str]:
    """Ids of the probes of other services that the service answers tellingly."""
    named = {example.to for example in signature.examples if example.to is not None and example.matches}
    named |= {probe for reply in signature.replies for probe in reply.to}
    return named - {probe.id for probe in signature.probes}


def _fits(probe: ProbeSpec, signature: Signature, setting: Setting, *, strong: bool) -> bool:
    over = setting.over
    if probe.transport is not setting.transport or probe.special in _NOT_BY_THEMSELVES:
        return False
    if probe.amplifies and not setting.amplifying and probe.transport is Transport.UDP:
        return False  # it would not be let out; the others still may
    if probe.family is not None and probe.family != setting.family:
        return False
    if probe.over is not None and probe.over is not over:
        return False
    if over is not None:
        if probe.over is None and not (over in signature.inside or signature.tls_ports):
            return False
        if probe.starttls or is_http2(probe) != setting.http2:
            return False
    if strong:
        return True
    # who greets would have done so
    return probe.rarity < 9 and not probe.starttls and signature.speaks_first is not Speaker.SERVER
