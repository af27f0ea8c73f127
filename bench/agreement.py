"""`make agreement`: the labels of `flowsonar read` beside nDPI's own for the captures of the corpus, flow by flow.

A flow agrees when our service is the one that nDPI's name stands for (a signature's `service` or one of its
`aliases`), or one that `agreement.toml` calls as good or better founded, with the reason. Only rows that nDPI saw in
the bytes (`DPI`) count; of the others only what we call `confirmed` is listed, to be judged by people.
"""

from __future__ import annotations

import argparse
import csv
import ipaddress
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flowsonar import read_sync
from flowsonar.model import Confidence, FlowRecord
from flowsonar.signatures import SignatureSet, load_signatures

__all__ = ["Agreement", "Difference", "Judge", "Reasons", "compare", "main"]

_REASONS = Path(__file__).with_suffix(".toml")
_WITH_PORTS = frozenset({"tcp", "udp"})
_Row = Mapping[str, str]
_Flow = tuple[str, frozenset[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A flow of which we say something else than nDPI."""

    capture: str
    flow: str
    theirs: str
    ours: str
    confidence: str
    reason: str
    """Why ours is at least as well founded; empty where nobody has judged it so."""


class Reasons:
    """What was judged by people: `agreement.toml`."""

    def __init__(self, text: str) -> None:
        known = tomllib.loads(text)
        self.same: dict[str, list[str]] = known.get("same", {})
        self._better: list[dict[str, str]] = known.get("better", [])

    def why(self, capture: str, theirs: str, ours: str) -> str:
        """The reason for which ours is right, empty where none is known."""
        for one in self._better:
            if one.get("capture", capture) == capture and one["theirs"] == theirs and one["ours"] in (ours, "*"):
                return one["reason"]
        return ""


class Judge:
    """Knows which of our services nDPI's names stand for."""

    def __init__(self, signatures: SignatureSet, reasons: Reasons) -> None:
        self._reasons = reasons
        self._services: dict[str, set[str]] = defaultdict(set)
        for service, signature in signatures.services.items():
            for name in (service, *signature.aliases):
                self._services[_plain(name)].add(service)
        for name, services in reasons.same.items():
            self._services[_plain(name)].update(services)

    def known(self, theirs: str) -> bool:
        """Whether any service of ours has this name."""
        return bool(self._services.get(_plain(theirs)))

    def stands_for(self, theirs: str, service: str) -> bool:
        """Whether nDPI's name means this service of ours."""
        return service in self._services.get(_plain(theirs), ())

    def agrees(self, theirs: str, record: FlowRecord) -> bool:
        """Same protocol, or the carrier or content that nDPI's one name hides."""
        verdict = record.verdict
        names = (verdict.service, verdict.over.value if verdict.over is not None else None)
        return any(name is not None and self.stands_for(theirs, name) for name in names)

    def reason(self, capture: str, theirs: str, ours: str) -> str:
        """The reason for which our other label is as good; empty where none is known."""
        return self._reasons.why(capture, theirs, ours)

    def why(self, capture: str, theirs: str, record: FlowRecord) -> str:
        """The same for a flow's record."""
        return self.reason(capture, theirs, record.verdict.service or "unknown")


class Agreement:
    """Counts and differences of a comparison."""

    def __init__(self) -> None:
        self.rows = 0
        self.missing = 0
        """Rows whose flow we do not have: other ideas of what a flow is."""
        self.per_protocol: dict[str, Counter[str]] = defaultdict(Counter)
        self.differences: list[Difference] = []
        self.beyond: list[Difference] = []
        """What we confirm where nDPI does not know or goes by port."""

    @property
    def share(self) -> float:
        """Flows of the same protocol or a better-founded one, of all that were compared."""
        counts = sum(self.per_protocol.values(), Counter())
        total = counts.total()
        return (counts["same"] + counts["founded"]) / total if total else 0.0


def compare(rows: Iterable[_Row], records: Mapping[str, Mapping[_Flow, FlowRecord]], judge: Judge) -> Agreement:
    """Hold nDPI's rows against our records, which come by capture and then by flow."""
    found = Agreement()
    for row in rows:
        found.rows += 1
        capture, theirs, seen = row["pcap"], row["ndpi_label"].partition(".")[0], row["ndpi_confidence"]
        record = records.get(capture, {}).get(_flow_of_row(row))
        if record is None:
            found.missing += 1
            continue
        verdict = record.verdict
        ours = verdict.service or "unknown"
        flow = f"{row['transport']} {row['a_ip']}:{row['a_port']} {row['b_ip']}:{row['b_port']}"
        if seen != "DPI":
            if verdict.confidence is Confidence.CONFIRMED and not judge.agrees(theirs, record):
                reason = judge.why(capture, theirs, record)
                found.beyond.append(Difference(capture, flow, f"{theirs} ({seen})", ours, verdict.confidence, reason))
            continue
        if judge.agrees(theirs, record):
            kind = "port" if verdict.confidence is Confidence.GUESS else "same"
        else:
            reason = judge.why(capture, theirs, record)
            kind = "founded" if reason else "unknown" if verdict.service is None else "other"
        found.per_protocol[theirs][kind] += 1
        if kind != "same":
            reason = judge.why(capture, theirs, record)
            found.differences.append(Difference(capture, flow, theirs, ours, verdict.confidence, reason))
    return found


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _flow_of_row(row: _Row) -> _Flow:
    ends = {(_address(row["a_ip"]), int(row["a_port"] or 0)), (_address(row["b_ip"]), int(row["b_port"] or 0))}
    transport = row["transport"].lower()
    return transport if transport in _WITH_PORTS else "", frozenset(ends)


def _flow_of_record(record: FlowRecord) -> _Flow:
    key = record.key
    if key.transport not in _WITH_PORTS:  # nDPI's rows of other protocols have no ports
        return "", frozenset({(key.initiator_address, 0), (key.responder_address, 0)})
    ends = {(key.initiator_address, key.initiator_port), (key.responder_address, key.responder_port)}
    return str(key.transport), frozenset(ends)


def read_all(captures: Iterable[Path]) -> dict[str, dict[_Flow, FlowRecord]]:
    """Our records of each capture; of several flows of one key the one that tells more."""
    found: dict[str, dict[_Flow, FlowRecord]] = {}
    for capture in captures:
        flows: dict[_Flow, FlowRecord] = {}
        for record in read_sync(str(capture)):
            flow = _flow_of_record(record)
            before = flows.get(flow)
            if before is None or record.verdict.confidence.rank > before.verdict.confidence.rank:
                flows[flow] = record
        found[capture.name] = flows
    return found


def print_report(found: Agreement, judge: Judge, *, everything: bool) -> None:
    """Per protocol, then the differences."""
    print("| protocol | flows | same | better founded | by port only | other | unknown |")
    print("|---|---|---|---|---|---|---|")
    for theirs, counts in sorted(found.per_protocol.items(), key=lambda item: -item[1].total()):
        name = theirs if judge.known(theirs) else f"{theirs} (no service of ours)"
        columns = [counts[kind] for kind in ("same", "founded", "port", "other", "unknown")]
        print(f"| {name} | {counts.total()} | {' | '.join(map(str, columns))} |")
    total = sum(counts.total() for counts in found.per_protocol.values())
    covered = sum(1 for counts in found.per_protocol.values() if counts["same"] + counts["founded"])
    print(f"\n{found.share:.1%} of {total} flows agree; {covered} of {len(found.per_protocol)} protocols;")
    print(f"{found.missing} of {found.rows} rows name flows that we do not have.")
    for title, rows in (("Differences", found.differences), ("Confirmed where nDPI does not know", found.beyond)):
        shown = rows if everything else [row for row in rows if not row.reason]
        print(f"\n## {title} ({len(rows)}{'' if everything else f', {len(shown)} without a reason'})\n")
        for row in shown:
            reason = f": {row.reason}" if row.reason else ""
            print(f"- {row.capture} {row.flow}: nDPI {row.theirs}, flowsonar {row.ours} ({row.confidence}){reason}")


def main() -> None:
    """Command line of the comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="where the corpus lies")
    parser.add_argument("--only", nargs="*", default=[], help="only rows with these names of nDPI")
    parser.add_argument("--all", action="store_true", help="list the differences that have a reason as well")
    args = parser.parse_args()
    corpus = args.shared / "corpus/ndpi"
    if not (corpus / "labels.csv").exists():
        sys.exit(f"agreement: {corpus}/labels.csv is not there: say where with --shared")
    with (corpus / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if args.only:
        rows = [row for row in rows if row["ndpi_label"].partition(".")[0] in args.only]
    captures = sorted(corpus / "pcap" / name for name in {row["pcap"] for row in rows})
    judge = Judge(load_signatures(), Reasons(_REASONS.read_text()))
    print_report(compare(rows, read_all(captures), judge), judge, everything=args.all)


if __name__ == "__main__":
    main()
