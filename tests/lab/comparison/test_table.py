import json
from dataclasses import replace

from lab.comparison.batch import Compared, Times
from lab.comparison.said import Said
from lab.comparison.table import as_json, passes, problems, summary, table
from lab.services.base import Service
from lab.truth import EITHER, Kind, Truth

SERVICE = Service(
    name="one", transport="tcp", port=1, truth=Truth(service="http"), clients=(), product="nginx", version="1.2"
)
RIGHT = Compared(
    entry="nginx",
    service=SERVICE,
    family=4,
    probe=Said(service="http", product="nginx", version="1.2", confidence="confirmed", ms=4.0, tries=1, bytes_sent=9),
    nmap=Said(service="http", ms=6000.0),
)
WRONG = replace(RIGHT, probe=Said(service="ssh", confidence="confirmed", ms=3.0, tries=1))
UNKNOWN = replace(RIGHT, probe=Said(ms=3.0, tries=5))
LIAR = replace(SERVICE, truth=Truth(service=None, kind=Kind.BANNER), product=None, version=None)
BELIEVED = replace(RIGHT, service=LIAR)
DOUBTED = replace(RIGHT, service=LIAR, probe=Said(service="http", confidence="likely", ms=3.0, tries=5))
UPGRADED = replace(
    RIGHT,
    service=replace(SERVICE, truth=Truth(service="http", over=EITHER)),
    probe=replace(RIGHT.probe, certificate="STARTTLS: TLSv1.3; certificate for server.lab.example"),
)


def test_the_table_has_a_line_an_endpoint_and_marks_what_is_wrong() -> None:
    lines = table([RIGHT, WRONG], {})
    assert len(lines) == 3
    assert "nginx 1.2" in lines[1]
    assert "! ssh" in lines[2]


def test_passing() -> None:
    assert passes([RIGHT] * 99 + [UNKNOWN], {})
    assert not passes([RIGHT] * 9 + [UNKNOWN], {})
    assert not passes([RIGHT] * 99 + [WRONG], {})
    assert not passes([], {})


def test_the_worst_comes_first() -> None:
    assert ["wrong" in line for line in problems([UNKNOWN, RIGHT, WRONG], {})] == [True, False]


def test_the_summary_counts_and_names_what_is_missing() -> None:
    text = "\n".join(summary([RIGHT, UNKNOWN], Times(probe_s=1.0, nmap_s=12.0), {"squid": "no such file"}, {}))
    assert "1 of 2 right" in text
    assert "did not come up: squid: no such file" in text
    assert "12.0 to 1" in text


def test_liars_must_not_be_believed_and_count_for_no_share() -> None:
    assert passes([RIGHT] * 9 + [DOUBTED] * 9, {})
    assert not passes([RIGHT] * 999 + [BELIEVED], {})
    text = "\n".join(summary([RIGHT, DOUBTED, BELIEVED], Times(), {}, {}))
    assert "1 of 1 right" in text
    assert "of 2 that are no service: 1 confirmed, 1 likely" in text


def test_certificates_of_connections_that_turn_to_tls_are_counted() -> None:
    assert "STARTTLS: certificate seen of 1 of 1: one" in summary([RIGHT, UPGRADED], Times(), {}, {})


def test_everything_can_be_written() -> None:
    json.dumps(as_json([RIGHT], Times(), {}))
