"""`make replies`: every first server reply of the corpus, as an answer that our conversations might have got.

The first bytes that the responder of each flow sent are matched three times: as what a server says unasked (where it
spoke first) or in answer to nothing we know, as the flow's own first bytes, and as if they answered each of our own
questions in turn, which is the hardest: a pattern that holds only for the answer to one question must still not take
another service's reply for it. Counted are `confirmed` labels of another service than nDPI's row says (rows that it
saw in the bytes); those that people judged are in `replies.toml` and `agreement.toml`, with the reason.
"""

from __future__ import annotations

import argparse
import csv
import ipaddress
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.agreement import Judge, Reasons
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import Opened, Payload
from flowsonar.flows.table import make_table
from flowsonar.model import Confidence, Side, Transport
from flowsonar.signatures import Matcher, SignatureSet, load_signatures
from flowsonar.signatures.matcher import Match, Reply

__all__ = ["Contradiction", "First", "Found", "first_replies", "judge_all", "main"]

_REASONS = Path(__file__).with_name("agreement.toml")
_FIRST = Path(__file__).with_suffix(".toml")
_TRANSPORTS = {6: Transport.TCP, 17: Transport.UDP}
_SEEN = "DPI"
_FEW = 3
_Flow = tuple[Transport, frozenset[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class First:
    """The first bytes that a flow's responder sent, and what they answered."""

    flow: _Flow
    ports: tuple[int, int]
    asked: bytes
    """The initiator's first bytes; empty where the server spoke first."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A `confirmed` label of a first reply that is not nDPI's."""

    capture: str
    flow: str
    theirs: str
    ours: str
    pattern: str
    how: str
    """As what the reply was matched."""
    reason: str
    """Why ours is as well founded; empty where nobody judged it so."""


@dataclass(slots=True)
class Found:
    """Counts and contradictions."""

    replies: int = 0
    confirmed: Counter[str] = field(default_factory=Counter)
    """Replies that are `confirmed` as their own service, by how they were matched."""
    contradictions: list[Contradiction] = field(default_factory=list)

    @property
    def unjudged(self) -> list[Contradiction]:
        """Those without a reason."""
        return [one for one in self.contradictions if not one.reason]


def first_replies(capture: Path) -> Iterator[First]:
    """Each flow's first reply; a flow that was picked up in its middle has none that is known to be the first."""
    table = make_table(FlowSettings())
    opened: dict[int, Opened] = {}
    asked: dict[int, bytes] = {}
    with open_capture(capture) as blocks:
        for block in blocks:
            for event in table.feed(block):
                if isinstance(event, Opened) and event.protocol in _TRANSPORTS and not event.midstream:
                    opened[event.flow] = event
                elif isinstance(event, Payload) and event.flow in opened:
                    if event.direction == 0:
                        asked.setdefault(event.flow, event.data)
                        continue
                    flow = opened.pop(event.flow)
                    ports = (flow.initiator_port, flow.responder_port)
                    ends = frozenset(zip(map(_address, (flow.initiator, flow.responder)), ports, strict=True))
                    yield First((_TRANSPORTS[flow.protocol], ends), ports, asked.pop(event.flow, b""), event.data)


def _address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def judge_all(
    capture: str,
    replies: Iterable[First],
    labels: Mapping[_Flow, str],
    ask: Asker,
    judge: Judge,
    first: Reasons,
    found: Found,
) -> None:
    """Match each reply whose flow has a label, and add what was found; `first`: reasons that hold for first replies."""
    for reply in replies:
        theirs = labels.get(reply.flow)
        if theirs is None:
            continue
        found.replies += 1
        own = set()
        for how, match in ask.all(reply):
            if match.confidence is not Confidence.CONFIRMED:
                continue
            if judge.stands_for(theirs, match.service) or (match.over and judge.stands_for(theirs, match.over.value)):
                own.add(how.partition(" ")[0])
                continue
            ends = " ".join(f"{address}:{port}" for address, port in sorted(reply.flow[1]))
            reason = first.why(capture, theirs, match.service) or judge.reason(capture, theirs, match.service)
            flow = f"{reply.flow[0]} {ends}"
            found.contradictions.append(Contradiction(capture, flow, theirs, match.service, match.pattern, how, reason))
        found.confirmed.update(own)


class Asker:
    """Puts a recorded reply before the signatures in each of the ways."""

    def __init__(self, signatures: SignatureSet, matcher: Matcher) -> None:
        self._matcher = matcher
        self._probes = {
            transport: sorted({probe for probe in _after(signatures) if _is_of(signatures, probe, transport)})
            for transport in _TRANSPORTS.values()
        }

    def all(self, reply: First) -> Iterator[tuple[str, Match]]:
        """(as what it was matched, the best match); at most one for each way and service."""
        transport = reply.flow[0]
        unasked = "listen" if not reply.asked else "recorded/other"
        yield from (("reply", match) for match in self._best(reply, unasked, reply.asked))
        payload = self._matcher.payload(transport, Side.RESPONDER, reply.data, reply.ports)
        yield from (("payload", match) for match in payload[:1])
        for probe in self._probes[transport]:
            yield from ((f"answer to {probe}", match) for match in self._best(reply, probe, b""))

    def _best(self, reply: First, probe: str, message: bytes) -> Sequence[Match]:
        given = Reply(probe=probe, step=0, data=reply.data, transport=reply.flow[0], sent={}, message=message)
        return self._matcher.reply(given)[:1]


def _after(signatures: SignatureSet) -> Iterator[str]:
    for signature in signatures.services.values():
        for pattern in signature.replies:
            yield from (probe for probe in pattern.to if probe != "listen")


def _is_of(signatures: SignatureSet, probe: str, transport: Transport) -> bool:
    known = signatures.probe(probe)
    return known is not None and known.transport is transport


def _labels(rows: Iterable[Mapping[str, str]]) -> dict[str, dict[_Flow, str]]:
    found: dict[str, dict[_Flow, str]] = {}
    for row in rows:
        transport = row["transport"].lower()
        if row["ndpi_confidence"] != _SEEN or transport not in {"tcp", "udp"}:
            continue
        try:
            ends = frozenset((str(ipaddress.ip_address(row[f"{end}_ip"])), int(row[f"{end}_port"])) for end in "ab")
        except ValueError:
            continue
        found.setdefault(row["pcap"], {})[Transport(transport), ends] = row["ndpi_label"].partition(".")[0]
    return found


def _print(found: Found, *, everything: bool) -> None:
    print(f"{found.replies} first replies of flows that nDPI saw in the bytes; `confirmed` as their own service:")
    for how, count in sorted(found.confirmed.items()):
        print(f"  as {how}: {count}")
    shown = found.contradictions if everything else found.unjudged
    groups: dict[tuple[str, str, str, str, str], list[Contradiction]] = {}
    for one in shown:
        groups.setdefault((one.capture, one.theirs, one.ours, one.pattern, one.reason), []).append(one)
    print(f"`confirmed` as another: {len(found.contradictions)}, {len(found.unjudged)} of them without a reason")
    for (capture, theirs, ours, pattern, reason), ones in groups.items():
        ways = _ways({one.how for one in ones})
        flows = {one.flow for one in ones}
        where = next(iter(flows)) if len(flows) == 1 else f"{len(flows)} flows"
        print(f"- {capture} {where}: nDPI {theirs}, {ours} by {pattern} as {ways}{': ' if reason else ''}{reason}")


def _ways(hows: set[str]) -> str:
    """How they were matched, with the questions counted where they are many."""
    questions = sorted(how for how in hows if how.startswith("answer"))
    told = [f"answer to any of {len(questions)} questions"] if len(questions) > _FEW else questions
    return ", ".join(sorted(hows - set(questions)) + told)


def main() -> int:
    """Command line; 1 where a contradiction has no reason."""
    parser = argparse.ArgumentParser(prog="python -m bench.replies", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="where the corpus lies")
    parser.add_argument("--all", action="store_true", help="list the contradictions that have a reason as well")
    args = parser.parse_args()
    corpus = args.shared / "corpus/ndpi"
    if not (corpus / "labels.csv").exists():
        sys.exit(f"replies: {corpus}/labels.csv is not there: say where with --shared")
    with (corpus / "labels.csv").open(newline="") as file:
        labels = _labels(csv.DictReader(file))
    signatures = load_signatures()
    ask, judge = Asker(signatures, Matcher(signatures)), Judge(signatures, Reasons(_REASONS.read_text()))
    first, found = Reasons(_FIRST.read_text()), Found()
    for name, flows in sorted(labels.items()):
        try:
            judge_all(name, first_replies(corpus / "pcap" / name), flows, ask, judge, first, found)
        except CaptureError as problem:
            print(f"{name}: {problem}", file=sys.stderr)
    _print(found, everything=args.all)
    return 1 if found.unjudged else 0


if __name__ == "__main__":
    sys.exit(main())
