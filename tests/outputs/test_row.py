import re

import pytest

from flowsonar.model import (
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowCounters,
    FlowKey,
    Outcome,
    RecordType,
    Transport,
    Verdict,
)
from flowsonar.outputs.row import HEADINGS, amount, is_end, plain_heading, plain_line, row_of
from tests.outputs.samples import FTP, HTTPS, endpoint, flow, hostile_verdict


def test_flow():
    row = row_of(flow())
    assert re.fullmatch(r"\d\d:\d\d:05\.000", row.time)
    assert row[1:] == (
        "tcp",
        "192.0.2.1:40000",
        "198.51.100.2:2121",
        "ftp",
        "vsFTPd 3.0.5",
        "confirmed",
        "interactive",
        "2.2k",
        "reply ftp/features",
        "files.example",
    )
    assert len(row) == len(HEADINGS)


def test_layer_conflict_and_midstream():
    row = row_of(flow(verdict=HTTPS, midstream=True))
    assert row.service == "http (tls)"
    assert row.how == "midstream ≠ ssh"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (EvidenceKind.ENDPOINT, "known endpoint"),
        (EvidenceKind.PORT, "port number"),
        (EvidenceKind.ANNOUNCED, "announced by PASV"),
    ],
)
def test_how(kind, how):
    piece = Evidence(kind=kind, service="ftp", confidence=Confidence.LIKELY, detail="by PASV")
    assert row_of(flow(verdict=Verdict(service="ftp", evidence=(piece,)))).how == how


def test_endpoint():
    row = row_of(endpoint(outcome=Outcome.NOT_PERMITTED, detail="outside the scope"))
    assert (row.initiator, row.responder, row.service) == ("", "[2001:db8::1]:53", "unknown")
    assert row.how == "not-permitted outside the scope"
    assert row_of(endpoint(outcome=Outcome.REFUSED, detail="refused")).how == "refused"
    assert row_of(endpoint(verdict=FTP)).how == "reply ftp/features"


def test_version_without_product():
    assert row_of(flow(verdict=Verdict(service="ftp", version="3"))).product == "3"


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    "record",
    [
        flow(),
        flow(key=FlowKey(Transport.UDP, "2001:db8:1:2:3:4:5:6", 1, "2001:db8:6:5:4:3:2:1", 2)),
        flow(verdict=Verdict(), counters=FlowCounters()),
        flow(time_ns=10**40),
        endpoint(),
        flow(verdict=hostile_verdict()),
        endpoint(verdict=hostile_verdict(), detail="\x1b[2J", endpoint=Endpoint(Transport.TCP, "192.0.2.1", 1)),
    ],
)
def test_lines_are_printable_and_name_the_service(record, colour):
    line = plain_line(record, colour=colour)
    styled = re.findall(r"\x1b\[[0-9;]+m(.*?)\x1b\[0m", line)
    assert re.sub(r"\x1b\[[0-9;]*m", "", line).isprintable()
    assert [text.rstrip() for text in styled] == ([row_of(record).service] if colour else [])


def test_columns_stand_below_their_headings():
    heading, line = plain_heading(), plain_line(flow())
    for name, start in (("service", "ftp"), ("confidence", "confirmed"), ("how", "reply ftp")):
        assert heading.index(name) == line.index(start)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (1_234_567_890, "1.2G"),
        (10**20, "100000P"),
    ],
)
def test_amount(number, text):
    assert amount(number) == text


@pytest.mark.parametrize(
    ("record", "end"),
    [
        (flow(), True),
        (flow(reason="active"), False),
        (flow(type=RecordType.VERDICT), False),
        (endpoint(), False),
    ],
)
def test_is_end(record, end):
    assert is_end(record) is end
