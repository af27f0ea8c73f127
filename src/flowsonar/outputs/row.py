"""One record as the words of one table row, safe to show and short enough to read."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

from flowsonar.model import Confidence, EndpointRecord, EvidenceKind, FlowRecord, RecordType, Verdict
from flowsonar.verdicts.visible import visible

__all__ = ["ANSI_STYLES", "HEADINGS", "Row", "amount", "is_end", "plain_heading", "plain_line", "row_of"]

HEADINGS = (
    "time", "proto", "initiator", "responder", "service", "product", "confidence", "class", "bytes", "how", "name"
)  # fmt: skip
_WIDTHS = (12, 5, 21, 21, 14, 20, 10, 11, 7, 26, 0)
_LINE = " ".join([f"%-{width}s" if width else "%s" for width in _WIDTHS])

ANSI_STYLES = {
    Confidence.CONFIRMED: "\x1b[1;32m",
    Confidence.LIKELY: "\x1b[33m",
    Confidence.GUESS: "\x1b[36m",
    Confidence.UNKNOWN: "\x1b[2m",
}
_RESET = "\x1b[0m"


class Row(NamedTuple):
    """The columns of a record, in the order of `HEADINGS`."""

    time: str
    proto: str
    initiator: str
    responder: str
    service: str
    product: str
    confidence: str
    traffic_class: str
    bytes: str
    how: str
    name: str


def row_of(record: FlowRecord | EndpointRecord) -> Row:
    """Make the row of a record. Times are the machine's local ones."""
    verdict = record.verdict
    product = verdict.product or ""
    if verdict.version:
        product = f"{product} {verdict.version}" if product else verdict.version
    if isinstance(record, EndpointRecord):
        proto, initiator, size = record.endpoint.transport, "", 0
        responder = _place(record.endpoint.address, record.endpoint.port)
        how = _how(verdict) if verdict.service else _ended(record)
    else:
        key = record.key
        proto = key.transport
        initiator = _place(key.initiator_address, key.initiator_port)
        responder = _place(key.responder_address, key.responder_port)
        size = record.counters.bytes_toserver + record.counters.bytes_toclient
        how = _how(verdict)
        if record.midstream:
            how = f"{how}, midstream" if how else "midstream"
    conflicts = f" ≠ {', '.join([visible(other, 20) for other in verdict.conflicts])}" if verdict.conflicts else ""
    return Row(
        _moment(record.time_ns),
        proto,
        initiator,
        responder,
        _service(verdict),
        visible(product, 40) if product else "",
        verdict.confidence,
        verdict.traffic_class if verdict.service else "",
        amount(size) if size else "",
        how + conflicts,
        visible(verdict.name, 80) if verdict.name else "",
    )


def plain_heading() -> str:
    """Name the columns of `plain_line`."""
    return _padded(HEADINGS)


def plain_line(record: FlowRecord | EndpointRecord, *, colour: bool = False) -> str:
    """Make one line: columns are padded, never cut in the addresses."""
    row = row_of(record)
    line = _padded(row)
    if colour:
        style = ANSI_STYLES[record.verdict.confidence]
        before = sum(_WIDTHS[:4]) + 4
        before += sum(max(0, len(text) - width) for text, width in zip(row[:4], _WIDTHS, strict=False))
        after = before + max(len(row.service), _WIDTHS[4])
        line = f"{line[:before]}{style}{line[before:after]}{_RESET}{line[after:]}"
    return line


def amount(number: int) -> str:
    """Write `1234567` as `1.2M`: three digits are enough to compare."""
    if number < 1000:
        return str(number)
    size = float(number)
    for unit in "kMGTP":
        size /= 1000
        if size < 999.5 or unit == "P":
            break
    return f"{size:.1f}{unit}" if size < 99.95 else f"{size:.0f}{unit}"


def _padded(columns: tuple[str, ...]) -> str:
    return (_LINE % columns).rstrip()


def _service(verdict: Verdict) -> str:
    service = visible(verdict.service, 30) if verdict.service else "unknown"
    return f"{service} ({verdict.over})" if verdict.over else service


def _how(verdict: Verdict) -> str:
    """Tell the strongest evidence for the label in a few words."""
    for piece in verdict.evidence:
        if piece.service == verdict.service:
            if piece.kind is EvidenceKind.ENDPOINT:
                return "known endpoint"
            if piece.kind is EvidenceKind.PORT:
                return "port number"
            return f"{piece.kind} {visible(piece.signature or piece.probe or piece.detail, 40)}".rstrip()
    return ""


def _ended(record: EndpointRecord) -> str:
    """Tell how asking ended where it gave no label."""
    detail = "" if record.detail == record.outcome else visible(record.detail, 80)
    return f"{record.outcome} {detail}".rstrip()


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _moment(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1_000_000:03d}"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return "--:--:--"


def is_end(record: FlowRecord | EndpointRecord) -> bool:
    """Whether a record closes its flow: nothing more will come of it."""
    return record.type is RecordType.FLOW and isinstance(record, FlowRecord) and record.reason != "active"
