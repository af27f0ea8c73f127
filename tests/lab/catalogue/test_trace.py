"""The sequence of what was asked, as the audit log has it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from lab.catalogue import trace

LOG = [
    ("10.0.0.9", 4444, "tcp", 5.0, "connect", "listen", 0),
    ("10.0.0.9", 4444, "tcp", 5.012, "send", "http/get", 54),
    ("10.0.0.9", 4444, "tcp", 5.02, "end", "", 0),
    ("10.0.0.9", 53, "udp", 5.1, "send", "dns/version", 30),
    ("10.0.0.9", 5353, "udp", 5.1, "send", "dns/version", 30),
]


def record(port: int, proto: str, **said: object) -> str:
    return json.dumps(
        {"event_type": "endpoint", "proto": proto, "dest_ip": "10.0.0.9", "dest_port": port, "flowsonar": said}
    )


def test_a_line_an_endpoint_and_what_each_question_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "probe.db")) as store:
        store.execute(
            "CREATE TABLE audit (id INTEGER PRIMARY KEY, address, port, transport, time_s, action, probe, bytes)"
        )
        store.executemany(
            "INSERT INTO audit (address, port, transport, time_s, action, probe, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
            LOG,
        )
        store.commit()
    http = record(4444, "TCP", service="http", verdict_ms=20.4, connections=1, evidence=[{"probe": "http/get"}])
    (tmp_path / "probe.jsonl").write_text(http + "\n" + record(53, "UDP", service=None, datagrams=1) + "\n")
    assert trace.lines(trace.asked(tmp_path)) == [
        "10.0.0.9:53/udp unknown 0 ms, 1, told by nothing: +0 dns/version 30",
        "10.0.0.9:4444/tcp http 20 ms, 1, told by http/get: +0 connect listen, +12 http/get 54",
        "told over tcp: http/get 1",
        "told over udp: ",
    ]
