"""Bare flow records of other tools, read line by line: Zeek `conn.log`, Suricata `eve.json`, nfdump's CSV.

The format is told from the content: a `#fields` line begins a Zeek log in TSV, `{` a JSON object (Zeek's or
Suricata's by their field names), a header line with nfdump's column names its CSV, the one of 1.6 (`ts,te,td,sa,...`)
or the one of 1.7 (`firstSeen,duration,proto,srcAddr,...`).

Zeek and Suricata say who the responder is. NetFlow does not, and has a record for each direction: there the side with
the lower port is taken, which is the same one for both.
"""

from __future__ import annotations

import csv
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowsonar.errors import MalformedError
from flowsonar.model import Hints, Side, Transport
from flowsonar.probes.targets import Target

__all__ = ["FlowLine", "FlowLines", "NotARecord"]

_PROTOCOLS: Final = {"tcp": Transport.TCP, "6": Transport.TCP, "udp": Transport.UDP, "17": Transport.UDP}
_DIRECTED: Final = frozenset({"flow", "tls", "http", "ssh", "smtp", "ftp", "rdp", "smb", "sip", "quic", "mqtt", "rfb"})
"""EVE events whose `dest_` is the server; `netflow` and alerts have the packet's direction, `dns` had in version 1."""
_COLUMNS: Final = {
    "sa": "source", "srcaddr": "source", "srcip": "source", "srcipaddr": "source", "src4addr": "source",
    "src6addr": "source",
    "da": "destination", "dstaddr": "destination", "dstip": "destination", "dstipaddr": "destination",
    "dst4addr": "destination", "dst6addr": "destination",
    "sp": "source_port", "srcport": "source_port", "srcpt": "source_port",
    "dp": "destination_port", "dstport": "destination_port", "dstpt": "destination_port",
    "pr": "proto", "proto": "proto", "protocol": "proto",
}  # fmt: skip
_SERVER_PORTS: Final = (1024, 32768)
"""Below the first are well-known ports, from the second on those that hosts give their clients (Linux)."""


class NotARecord(Exception):  # noqa: N818 - no error: the line may be a target
    """No format of flow records claims a line."""


@dataclass(frozen=True, slots=True)
class FlowLine:
    """One flow record."""

    fields: Mapping[str, Any]
    """As the record has them: what a labelled line begins with."""
    target: Target | None
    """Whom to ask; None where there is nobody."""
    why: str = ""
    """Why there is nobody."""


class FlowLines:
    """Reads lines; `parse` gives a record, None for what is no record, and raises MalformedError for what is broken.

    Keeps the columns that a header line named; lines that no format claims raise NotARecord: they may be targets.
    """

    def __init__(self) -> None:
        self._zeek: list[tuple[str, Callable[[str], Any]]] | None = None
        self._separator = "\t"
        self._fields: list[str] = []
        self._columns: list[str] | None = None  # of a CSV
        self._names: dict[str, str] = {}
        self._ended = False  # nfdump's summary began

    def parse(self, text: str) -> FlowLine | None:
        """Read one line without its end."""
        if text.startswith("#"):
            self._directive(text)
            return None
        if not text.strip():
            return None
        if text.startswith("{"):
            return self._json(text)
        if self._zeek is not None:
            return self._tsv(text)
        if self._is_header(text):
            return None
        if self._columns is not None:
            return self._csv(text, self._columns)
        raise NotARecord

    # -- Zeek -----------------------------------------------------------------------------------------------------

    def _directive(self, text: str) -> None:
        name, _, rest = text.partition(" " if text.startswith("#separator ") else self._separator)
        if name == "#separator":
            separator = rest.strip().encode("ascii", "replace").decode("unicode_escape", "replace")
            self._separator = separator if len(separator) == 1 else "\t"
        elif name == "#fields":
            self._fields = rest.split(self._separator)
            self._zeek = [(field, str) for field in self._fields]
        elif name == "#types" and self._zeek is not None:
            types = rest.split(self._separator)
            if len(types) == len(self._fields):
                self._zeek = [(one, _ZEEK_TYPES.get(kind, str)) for one, kind in zip(self._fields, types, strict=True)]
        elif name == "#close":
            self._zeek = None

    def _tsv(self, text: str) -> FlowLine:
        assert self._zeek is not None
        values = text.split(self._separator)
        if len(values) != len(self._zeek):
            raise MalformedError(f"{len(values)} columns where #fields names {len(self._zeek)}")
        fields: dict[str, Any] = {}
        for (name, convert), value in zip(self._zeek, values, strict=True):
            if value not in ("-", "(empty)"):
                try:
                    fields[name] = convert(value)
                except ValueError:
                    raise MalformedError(f"{name} is {value[:40]!r}") from None
        return _zeek(fields)

    # -- JSON -----------------------------------------------------------------------------------------------------

    def _json(self, text: str) -> FlowLine:
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedError("not a JSON object") from None
        if "id.resp_h" in fields or "id.orig_h" in fields:
            return _zeek(fields)
        if isinstance(fields.get("id"), dict):
            inner = fields["id"]
            return _zeek({**fields, **{f"id.{key}": inner[key] for key in inner}}, shown=fields)
        if "event_type" in fields or "dest_ip" in fields:
            return _suricata(fields)
        if _canonical_names(fields).keys() >= {"source", "destination", "proto"}:
            return _netflow(fields, _canonical_names(fields))
        raise MalformedError("a JSON object that is no flow record of Zeek, Suricata or nfdump")

    # -- nfdump ---------------------------------------------------------------------------------------------------

    def _is_header(self, text: str) -> bool:
        if "," not in text:
            return False
        columns = [column.strip() for column in text.split(",")]
        names = _canonical_names(dict.fromkeys(columns))
        if not names.keys() >= {"source", "destination", "proto"}:
            return False
        self._columns, self._names, self._ended = columns, names, False
        return True

    def _csv(self, text: str, columns: list[str]) -> FlowLine | None:
        self._ended = self._ended or text.strip() in ("Summary", "No matched flows", "No matching flows")
        if self._ended:
            return None
        try:
            values = [value.strip() for value in next(csv.reader([text]))]
        except csv.Error as error:
            raise MalformedError(str(error)) from None
        if len(values) < len(columns):
            raise MalformedError(f"{len(values)} columns where the header names {len(columns)}")
        return _netflow(dict(zip(columns, values, strict=False)), self._names)


def _yes(text: str) -> bool:
    return text == "T"


_ZEEK_TYPES: Final[Mapping[str, Callable[[str], Any]]] = {
    "port": int, "count": int, "int": int, "double": float, "time": float, "interval": float, "bool": _yes,
}  # fmt: skip


def _zeek(fields: dict[str, Any], shown: dict[str, Any] | None = None) -> FlowLine:
    transport = _transport(fields.get("proto"))
    if transport is None:
        return FlowLine(shown or fields, None, f"{fields.get('proto', 'no transport')} has no port to ask")
    history = str(fields.get("history") or "")
    data = [letter for letter in history if letter in "Dd"]
    midstream = transport is Transport.TCP and bool(history) and not set(history) & set("Ssh")
    first = None if midstream or not data else Side.INITIATOR if data[0] == "D" else Side.RESPONDER
    service = str(fields.get("service") or "")
    hints = Hints(
        first_speaker=first,
        midstream=midstream,
        candidates=tuple(_ZEEK_SERVICES.get(one, one) for one in service.split(",") if one)[:4],
    )
    return _line(shown or fields, fields.get("id.resp_h"), fields.get("id.resp_p"), transport, hints)


_ZEEK_SERVICES: Final = {"ssl": "tls", "krb": "kerberos", "krb_tcp": "kerberos", "ntlm": "smb", "dce_rpc": "smb"}


def _suricata(fields: dict[str, Any]) -> FlowLine:
    kind = str(fields.get("event_type", "flow"))
    if kind not in _DIRECTED:
        return FlowLine(fields, None, f"{kind} events do not tell who answers")
    transport = _transport(fields.get("proto"))
    if transport is None:
        return FlowLine(fields, None, f"{fields.get('proto', 'no transport')} has no port to ask")
    tls, http = fields.get("tls"), fields.get("http")
    name = tls.get("sni") if isinstance(tls, dict) else http.get("hostname") if isinstance(http, dict) else None
    said = fields.get("app_proto")
    known = isinstance(said, str) and said not in ("failed", "unknown", "")
    hints = Hints(
        server_name=name if isinstance(name, str) and name.isascii() and 0 < len(name) <= 253 else None,
        candidates=(str(said),) if known else (),
    )
    return _line(fields, fields.get("dest_ip"), fields.get("dest_port"), transport, hints)


def _netflow(fields: dict[str, Any], names: Mapping[str, str]) -> FlowLine:
    transport = _transport(fields.get(names["proto"]))
    if transport is None:
        return FlowLine(fields, None, f"{fields.get(names['proto']) or 'no transport'} has no port to ask")
    if not names.keys() >= {"source_port", "destination_port"}:
        raise MalformedError("the columns name no ports")
    sides = [(_port(fields.get(names[f"{side}_port"])), fields.get(names[side])) for side in ("destination", "source")]
    port, host = min(sides, key=_likely_server)
    return _line(fields, host, port, transport, Hints())


def _likely_server(side: tuple[int, object]) -> tuple[int, int]:
    """The destination comes first of two that are equal."""
    port = side[0]
    return sum(port >= bound for bound in _SERVER_PORTS) if port else len(_SERVER_PORTS) + 1, port


def _line(fields: Mapping[str, Any], host: object, port: object, transport: Transport, hints: Hints) -> FlowLine:
    try:
        address = str(ipaddress.ip_address(str(host)))
    except ValueError:
        raise MalformedError(f"{str(host)[:60]!r} is no address") from None
    number = _port(port)
    if not number:
        return FlowLine(fields, None, "port 0 cannot be asked")
    return FlowLine(fields, Target(address, number, transport, hints))


def _port(value: object) -> int:
    """A port, 0 for none. nfdump writes ICMP's type and code as `8.0`. Raises MalformedError."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise MalformedError(f"{text[:40]!r} is no port")
    return int(text)


def _transport(value: object) -> Transport | None:
    return _PROTOCOLS.get(str(value).strip().lower())


def _canonical_names(fields: Mapping[str, Any]) -> dict[str, str]:
    """Our names of a CSV's columns to the columns' own."""
    found: dict[str, str] = {}
    for column in fields:
        name = _COLUMNS.get(column.replace("_", "").replace(" ", "").lower())
        if name is not None:
            found.setdefault(name, column)
    return found
