import csv
import io

import pytest

from flowsonar.model import FlowCounters, FlowKey, RecordType, Transport, Verdict
from flowsonar.outputs.delimited import ConnLogOutput, CsvOutput
from tests.outputs.samples import HOSTILE, HTTPS, endpoint, flow


def written(kind, *records):
    stream = io.BytesIO()
    with kind(live=False, stream=stream) as output:
        output.write(records)
    return stream.getvalue().decode()


def conn(*records):
    text = written(ConnLogOutput, *records)
    lines = [line.split("\t") for line in text.splitlines()]
    names = next(line[1:] for line in lines if line[0] == "#fields")
    types = next(line[1:] for line in lines if line[0] == "#types")
    assert len(names) == len(types)
    rows = [line for line in lines if not line[0].startswith("#")]
    assert {len(row) for row in rows} <= {len(names)}
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_csv_is_a_heading_and_a_row_a_flow():
    rows = list(csv.DictReader(io.StringIO(written(CsvOutput, flow()))))
    assert len(rows) == 1
    assert rows[0]["sa"] == "192.0.2.1"
    assert (rows[0]["dp"], rows[0]["pr"], rows[0]["ibyt"], rows[0]["obyt"]) == ("2121", "TCP", "700", "1500")
    assert (rows[0]["service"], rows[0]["product"], rows[0]["name"]) == ("ftp", "vsFTPd", "files.example")
    assert rows[0]["td"] == "2.500"
    assert rows[0]["ts"] == "2026-01-02 03:04:02.500"


def test_interim_records_and_endpoints_are_no_flows():
    assert written(CsvOutput, flow(type=RecordType.VERDICT), endpoint()).count("\n") == 1
    assert conn(flow(type=RecordType.VERDICT), endpoint()) == []


def test_csv_keeps_hostile_text_in_its_cell():
    rows = list(csv.DictReader(io.StringIO(written(CsvOutput, flow(verdict=Verdict(service="http", name=HOSTILE))))))
    assert len(rows) == 1
    assert rows[0]["service"] == "http"


def test_conn_log_has_zeeks_names():
    (row,) = conn(flow(verdict=HTTPS))
    assert row["service"] == "ssl,http"
    assert (row["id.orig_h"], row["id.resp_p"], row["proto"]) == ("192.0.2.1", "2121", "tcp")
    assert row["flowsonar_confidence"] == "likely"
    assert row["flowsonar_name"] == "-"
    assert row["uid"].startswith("C")
    assert float(row["duration"]) == 2.5


def test_conn_log_escapes_what_would_break_a_line():
    (row,) = conn(flow(verdict=Verdict(service="http", name="a\tb\n-\\\udc80")))
    assert row["flowsonar_name"] == "a\\x09b\\x0a-\\x5c\\xed\\xb2\\x80"
    (row,) = conn(flow(verdict=Verdict(service="http", name="-")))
    assert row["flowsonar_name"] == "\\x2d"


@pytest.mark.parametrize(
    ("reason", "midstream", "back", "expected"),
    [("fin", False, 5, "SF"), ("fin", True, 5, "OTH"), ("rst", False, 1, "REJ"), ("rst", False, 4, "RSTO"),
     ("idle", False, 0, "S0"), ("idle", False, 3, "S1")],
)  # fmt: skip
def test_connection_states(reason, midstream, back, expected):
    counters = FlowCounters(packets_toserver=3, packets_toclient=back, first_ns=1, last_ns=2)
    (row,) = conn(flow(reason=reason, midstream=midstream, counters=counters))
    assert row["conn_state"] == expected


def test_what_is_neither_tcp_nor_udp():
    (row,) = conn(flow(key=FlowKey(Transport.GRE, "192.0.2.1", 0, "192.0.2.2", 0)))
    assert (row["proto"], row["id.orig_p"]) == ("unknown_transport", "0")


def test_any_time_may_be_claimed():
    counters = FlowCounters(first_ns=(1 << 64) - 1, last_ns=(1 << 64) - 1)
    assert written(CsvOutput, flow(time_ns=(1 << 64) - 1, counters=counters)).count("\n") == 2
