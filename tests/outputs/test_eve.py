import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.model import (
    UNKNOWN,
    Confidence,
    Evidence,
    EvidenceKind,
    FlowCounters,
    FlowKey,
    RecordType,
    Transport,
    Verdict,
)
from flowsonar.outputs import eve
from flowsonar.outputs.eve import encode, proto, timestamp
from tests.outputs.samples import FTP, HTTPS, PIECE, TIME_NS, endpoint, flow, hostile_verdict

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
DOCUMENT, _, _REST = DOCUMENT.partition("## Records of shape")  # those are tested in test_marks.py
DOCUMENT += _REST.partition("\n## ")[2]

FTP_OBJECT = {
    "service": "ftp",
    "over": None,
    "product": "vsFTPd",
    "version": "3.0.5",
    "cpe": None,
    "class": "interactive",
    "confidence": "confirmed",
    "verdict_ms": 3.142,
    "name": "files.example",
    "conflicts": [],
    "evidence": [
        {
            "kind": "reply",
            "service": "ftp",
            "confidence": "confirmed",
            "side": "responder",
            "over": None,
            "probe": "ftp/features",
            "signature": "ftp/features",
            "detail": "lists its features",
        }
    ],
    "midstream": False,
}


def test_flow():
    assert json.loads(encode(flow())) == {
        "timestamp": "2026-01-02T03:04:05.000006+0000",
        "flow_id": 7,
        "event_type": "flow",
        "in_iface": "eth0",
        "src_ip": "192.0.2.1",
        "src_port": 40000,
        "dest_ip": "198.51.100.2",
        "dest_port": 2121,
        "community_id": "1:QbpVU6lt4cGiy06ajpqc4Dh6Idg=",
        "proto": "TCP",
        "app_proto": "ftp",
        "flow": {
            "pkts_toserver": 12,
            "pkts_toclient": 10,
            "bytes_toserver": 700,
            "bytes_toclient": 1500,
            "start": "2026-01-02T03:04:02.500006+0000",
            "end": "2026-01-02T03:04:05.000006+0000",
            "age": 2,
            "state": "closed",
            "reason": "fin",
        },
        "flowsonar": FTP_OBJECT,
    }


def test_verdict():
    fields = json.loads(encode(flow(type=RecordType.VERDICT, reason="", verdict=HTTPS, midstream=True)))
    assert fields["event_type"] == "verdict"
    assert set(fields["flow"]) == {"pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start"}
    assert fields["app_proto"] == "http"
    assert (fields["flowsonar"]["over"], fields["flowsonar"]["conflicts"]) == ("tls", ["ssh"])
    assert fields["flowsonar"]["midstream"] is True


def test_endpoint():
    fields = json.loads(encode(endpoint()))
    assert fields | {"flowsonar": None} == {
        "timestamp": "2026-01-02T03:04:05.000006+0000",
        "event_type": "endpoint",
        "dest_ip": "2001:db8::1",
        "dest_port": 53,
        "proto": "UDP",
        "app_proto": "unknown",
        "flowsonar": None,
    }
    assert fields["flowsonar"] == {
        "service": None,
        "over": None,
        "product": None,
        "version": None,
        "cpe": None,
        "class": "default",
        "confidence": "unknown",
        "verdict_ms": 3000.0,
        "name": None,
        "conflicts": [],
        "evidence": [],
        "outcome": "silent",
        "connections": 0,
        "datagrams": 5,
        "needed": None,
        "bytes_sent": 0,
        "rtt_ms": None,
        "detail": "nothing came back",
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (FlowKey(Transport.TCP, "::1", 1, "::2", 2, 12), {"vlan": [12], "src_port": 1, "proto": "TCP"}),
        (FlowKey(Transport.SCTP, "::1", 1, "::2", 2), {"src_port": 1, "dest_port": 2, "proto": "SCTP"}),
        (FlowKey(Transport.ICMP, "192.0.2.1", 8, "192.0.2.2", 0), {"proto": "ICMP"}),
        (FlowKey(Transport.ICMP, "::1", 128, "::2", 129), {"proto": "IPv6-ICMP"}),
        (FlowKey(Transport.OTHER, "192.0.2.1", 0, "192.0.2.2", 0), {"proto": "OTHER"}),
    ],
)
def test_transports(key, expected):
    fields = json.loads(encode(flow(key=key, interface="")))
    chosen = {name: fields[name] for name in ("vlan", "src_port", "dest_port", "proto", "in_iface") if name in fields}
    assert expected.items() <= chosen.items()
    assert ("src_port" in fields) == (key.transport in (Transport.TCP, Transport.UDP, Transport.SCTP))
    assert ("vlan" in fields) == bool(key.vlan)
    assert "in_iface" not in fields
    assert proto(key.transport, key.initiator_address) == expected["proto"]


@pytest.mark.parametrize(
    ("reason", "toclient", "state"),
    [
        ("fin", 1, "closed"),
        ("rst", 0, "closed"),
        ("idle", 1, "established"),
        ("idle", 0, "new"),
        ("active", 5, "established"),
    ],
)
def test_state(reason, toclient, state):
    counters = FlowCounters(packets_toserver=3, packets_toclient=toclient)
    assert json.loads(encode(flow(reason=reason, counters=counters)))["flow"]["state"] == state


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (999, "1970-01-01T00:00:00.000000+0000"),
        (TIME_NS, "2026-01-02T03:04:05.000006+0000"),
        (1_000_000_000 - 1, "1970-01-01T00:00:00.999999+0000"),
        ((1 << 64) - 1, "2554-07-21T23:34:33.709551+0000"),
        (10**30, "1970-01-01T00:00:00.000000+0000"),
    ],
)
def test_timestamp(time_ns, text):
    assert timestamp(time_ns) == text


def test_bytes_of_the_evidence_only_when_asked():
    assert b'"data"' not in encode(flow())
    fields = json.loads(encode(flow(), data=True))
    assert bytes.fromhex(fields["flowsonar"]["evidence"][0]["data"]) == PIECE.data


@pytest.mark.parametrize(
    "record", [flow(verdict=hostile_verdict()), endpoint(verdict=hostile_verdict(), detail="\x9b\udcff")]
)
def test_hostile_text_is_valid_and_harmless(record):
    line = encode(record, data=True)
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert line.endswith(b"\n")
    fields = json.loads(line)
    assert fields["flowsonar"]["product"].encode()  # no lone surrogates: any reader takes it
    assert fields["flowsonar"]["product"].startswith("\x1b]0;owned\x07")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know(number):
    assert json.loads(encode(flow(verdict_ms=number)))["flowsonar"]["verdict_ms"] is None


def test_flow_identifiers_beyond_64_bits_do_not_stop_it():
    assert json.loads(encode(flow(flow_id=1 << 80)))["flow_id"] == 1 << 80


@given(st.text(st.characters(codec=None), max_size=30), st.integers(0, 1 << 70), st.floats())
def test_every_line_is_one_line_of_ascii_json(text, number, some):
    evidence = (Evidence(kind=EvidenceKind.NAME, service=text, confidence=Confidence.GUESS, detail=text),)
    verdict = Verdict(service=text, product=text, evidence=evidence)
    line = encode(flow(verdict=verdict, time_ns=number, flow_id=number, verdict_ms=some))
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert isinstance(json.loads(line), dict)


# -- the document -----------------------------------------------------------------------------------------------


def names(fields, prefix=""):
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from names(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from names(value[0], f"{prefix}{key}[].")
        else:
            yield f"{prefix}{key}"


SAMPLES = [
    flow(key=FlowKey(Transport.TCP, "192.0.2.1", 1, "192.0.2.2", 2, 5), hops=("gre",)),
    flow(type=RecordType.VERDICT),
    endpoint(verdict=FTP),
]
FIELDS = {name for record in SAMPLES for name in names(json.loads(encode(record, data=True)))}
EXAMPLES = [
    json.loads(line) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()
]


def test_every_field_is_documented_and_no_other():
    documented = set(re.findall(r"^\| `([^`]+)` \|", DOCUMENT, re.MULTILINE))
    assert documented == FIELDS | {"flowsonar.asked"}  # of `probe --label`, app/labelling.py


@pytest.mark.parametrize("example", EXAMPLES, ids=[example["event_type"] for example in EXAMPLES])
def test_examples_have_the_fields_of_real_lines(example):
    sample = next(record for record in SAMPLES if record.type == example["event_type"])
    optional = {"vlan", "in_iface", "flowsonar.hops", "flowsonar.evidence[].data"}
    expected = set(names(json.loads(encode(sample)))) - optional
    given = set(names(example))
    if not example["flowsonar"]["evidence"]:
        expected = {name for name in expected if "evidence[]" not in name} | {"flowsonar.evidence"}
    assert expected <= given
    assert given - optional <= expected
    assert example["app_proto"] == (example["flowsonar"]["service"] or "unknown")


def test_each_type_of_record_has_an_example():
    assert {example["event_type"] for example in EXAMPLES} == {
        str(kind) for kind in RecordType if kind is not RecordType.MARK
    }


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"verdict": UNKNOWN, "verdict_ms": None},
        {"verdict": hostile_verdict(), "reason": "idle"},
        {"interface": "", "midstream": True, "verdict_ms": float("nan")},
        {"interface": 'a"b\\\n\x7f', "hops": ("vxlan", "gre")},
        {"key": FlowKey(Transport.ICMP, "2001:db8::1", 0, "2001:db8::2", 0, vlan=7)},
        {"counters": FlowCounters(packets_toserver=1, first_ns=5_000_000_000, last_ns=1), "time_ns": 3},
    ],
)
def test_lines_written_as_text_are_what_the_fields_would_give(changes, data):
    record = flow(**changes)
    fields = eve._flow(record, data)
    assert json.loads(encode(record, data=data)) == json.loads(eve._slowly(fields))
    assert list(json.loads(encode(record, data=data))) == list(fields)
