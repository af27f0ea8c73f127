"""First server replies: never confirmed as another protocol, and those that are true all the same have a reason."""

import csv
from pathlib import Path

import bench.replies as replies
import pytest
from bench.agreement import Judge, Reasons

from flowsonar.model import Transport
from flowsonar.signatures import Matcher, load_signatures
from tests.needs import CORPUS, needs_corpus

REASONS = """
[[better]]
theirs = "SOAP"
ours = "http"
reason = "SOAP is what the body carries"
"""
HTTP = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n"


def flow(port: int) -> tuple[Transport, frozenset[tuple[str, int]]]:
    return Transport.TCP, frozenset({("10.0.0.1", 1000), ("2001:db8::1", port)})


def first(port: int, data: bytes, asked: bytes = b"GET / HTTP/1.0\r\n\r\n") -> replies.First:
    return replies.First(flow(port), (1000, port), asked, data)


@pytest.fixture(scope="module")
def found() -> replies.Found:
    signatures = load_signatures()
    labels = {flow(1): "HTTP", flow(2): "SMTP", flow(3): "SOAP", flow(4): "SSH"}
    recorded = [
        first(1, HTTP),
        first(2, HTTP),
        first(3, HTTP),
        first(4, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b""),
        first(5, HTTP),
    ]
    found = replies.Found()
    ask = replies.Asker(signatures, Matcher(signatures))
    judge = Judge(signatures, Reasons(""))
    replies.judge_all("a.pcap", recorded, labels, ask, judge, Reasons(REASONS), found)
    return found


def test_flows_without_a_label_do_not_count(found: replies.Found) -> None:
    assert found.replies == 4


def test_own_service_is_counted_once_for_each_way(found: replies.Found) -> None:
    assert found.confirmed["payload"] == 1
    assert found.confirmed["reply"] == 1  # SSH's identification line alone is likely, both ways


def test_another_service_contradicts_unless_there_is_a_reason(found: replies.Found) -> None:
    assert {(one.theirs, one.ours) for one in found.contradictions} == {("SMTP", "http"), ("SOAP", "http")}
    assert {(one.theirs, one.ours) for one in found.unjudged} == {("SMTP", "http")}


def test_a_reply_is_put_as_the_answer_to_every_question(found: replies.Found) -> None:
    assert {"reply", "payload"} < {one.how for one in found.unjudged}
    assert "answer to ftp/features" in {one.how for one in found.unjudged}


@needs_corpus()
def test_first_replies_of_a_capture_know_what_they_answer() -> None:
    read = list(replies.first_replies(CORPUS / "ndpi/pcap/ftp.pcap"))
    greeting = next(one for one in read if one.data.startswith(b"220"))
    assert greeting.asked == b""
    assert greeting.ports[1] == 21


@needs_corpus()
def test_every_reason_is_needed() -> None:
    """A reason that nothing uses any more hides what comes next."""
    signatures = load_signatures()
    ask, judge, reasons = replies.Asker(signatures, Matcher(signatures)), Judge(signatures, Reasons("")), Reasons("")
    with Path(CORPUS / "ndpi/labels.csv").open(newline="") as file:
        labels = replies._labels(csv.DictReader(file))
    found = replies.Found()
    for name in ("rdp_over_tls.pcap", "soap.pcap", "stun.pcap", "wa_voice.pcap", "whatsapp_login_call.pcap"):
        capture = CORPUS / "ndpi/pcap" / name
        replies.judge_all(name, replies.first_replies(capture), labels[name], ask, judge, reasons, found)
    seen = {(one.theirs, one.ours) for one in found.contradictions}
    assert seen == {("TLS", "rdp"), ("SOAP", "http"), ("DTLS", "stun"), ("SRTP", "stun"), ("SRTP", "turn")}
