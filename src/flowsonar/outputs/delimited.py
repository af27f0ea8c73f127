"""Flows as CSV with nfdump's column names, and as Zeek's conn.log, each with our columns after theirs.

nfdump: the columns of `nfdump -o csv`; Zeek: https://docs.zeek.org/en/master/logs/conn.html and the ASCII writer's
format. What flowsonar does not count (payload bytes without headers, TCP histories) is left empty.
"""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.flat import Row, flat
from flowsonar.outputs.linesoutput import LinesOutput

__all__ = ["ConnLogOutput", "CsvOutput"]

_OURS: Final = ("service", "over", "product", "version", "class", "confidence", "name", "community_id")
_NFDUMP: Final = ("ts", "te", "td", "sa", "da", "sp", "dp", "pr", "ipkt", "ibyt", "opkt", "obyt")
_ZEEK: Final = (
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("conn_state", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("community_id", "string"),
    ("flowsonar_product", "string"),
    ("flowsonar_version", "string"),
    ("flowsonar_class", "string"),
    ("flowsonar_confidence", "string"),
    ("flowsonar_name", "string"),
)
_ZEEK_NAMES: Final = {"tls": "ssl", "kerberos": "krb"}
"""Services that Zeek calls otherwise."""
_STATES: Final = {"established": "S1", "new": "S0"}
"""Zeek's connection states as far as a record tells them; `OTH` for what was picked up in the middle."""


class CsvOutput(LinesOutput):
    """Ends of flows as CSV (RFC 4180) with a heading."""

    def heading(self) -> bytes:
        """Column names: nfdump's, then ours."""
        return _csv((*_NFDUMP, *_OURS))

    def line(self, record: FlowRecord | EndpointRecord) -> bytes:
        """One flow."""
        row = flat(record)
        if row.event_type != "flow" or row.start is None or row.end is None:
            return b""
        return _csv(
            (
                _time(row.start),
                _time(row.end),
                f"{max(0, row.end - row.start) / 1e9:.3f}",
                row.src_ip,
                row.dest_ip,
                row.src_port or 0,
                row.dest_port or 0,
                row.proto,
                row.pkts_toserver,
                row.bytes_toserver,
                row.pkts_toclient,
                row.bytes_toclient,
                row.service or "unknown",
                row.over,
                row.product,
                row.version,
                row.traffic_class,
                row.confidence,
                row.name,
                row.community_id,
            )
        )


class ConnLogOutput(LinesOutput):
    """Ends of flows as Zeek's conn.log, tab-separated."""

    def heading(self) -> bytes:
        """The header that Zeek's ASCII writer makes."""
        names, kinds = "\t".join(name for name, _ in _ZEEK), "\t".join(kind for _, kind in _ZEEK)
        lines = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn"]
        return "\n".join([*lines, f"#fields\t{names}", f"#types\t{kinds}", ""]).encode()

    def line(self, record: FlowRecord | EndpointRecord) -> bytes:
        """One flow."""
        row = flat(record)
        if row.event_type != "flow" or row.start is None or row.end is None:
            return b""
        cells = (
            f"{row.start // 1_000_000_000}.{row.start // 1000 % 1_000_000:06d}",
            _uid(row),
            row.src_ip,
            row.src_port or 0,
            row.dest_ip,
            row.dest_port or 0,
            _zeek_proto(row.proto),
            _zeek_service(row),
            f"{max(0, row.end - row.start) / 1e9:.6f}",
            _zeek_state(row),
            row.pkts_toserver,
            row.bytes_toserver,
            row.pkts_toclient,
            row.bytes_toclient,
            row.community_id,
            row.product,
            row.version,
            row.traffic_class,
            row.confidence,
            row.name,
        )
        return ("\t".join(map(_zeek, cells)) + "\n").encode("utf-8", "backslashreplace")


class _Given:
    """What `csv` writes to: it hands the line back."""

    def write(self, line: str) -> str:
        return line


_WRITER: Final = csv.writer(_Given(), lineterminator="\n")


def _csv(cells: tuple[object, ...]) -> bytes:
    line: str = _WRITER.writerow(cells)
    return line.encode("utf-8", "backslashreplace")


def _time(time_ns: int) -> str:
    return f"{_second(time_ns // 1_000_000_000)}.{time_ns // 1_000_000 % 1000:03d}"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        when = datetime.fromtimestamp(0, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}"


def _zeek(value: object) -> str:
    """One cell, with what would break the line escaped as Zeek does."""
    if value is None:
        return "-"
    text = str(value)
    if text in ("-", ""):
        return "\\x2d" if text else "(empty)"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "\\" else "".join(f"\\x{byte:02x}" for byte in _bytes(char))
        for char in text
    )


def _bytes(char: str) -> bytes:
    return char.encode("utf-8", "surrogatepass")


def _uid(row: Row) -> str:
    digest = hashlib.sha256(f"{row.flow_id} {row.start} {row.src_ip} {row.dest_ip}".encode()).hexdigest()
    return "C" + digest[:17]


def _zeek_proto(proto: str) -> str:
    lower = proto.lower()
    if lower in ("tcp", "udp"):
        return lower
    return "icmp" if "icmp" in lower else "unknown_transport"


def _zeek_service(row: Row) -> str | None:
    if row.service is None:
        return None
    parts = [row.over, row.service] if row.over is not None else [row.service]
    return ",".join(_ZEEK_NAMES.get(part, part) for part in parts)


def _zeek_state(row: Row) -> str:
    if row.midstream:
        return "OTH"
    if row.reason == "fin":
        return "SF"
    if row.reason == "rst":
        return "RSTO" if row.pkts_toclient and row.pkts_toclient > 1 else "REJ"
    return _STATES.get(row.state or "", "OTH")
