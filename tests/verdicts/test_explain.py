import io

import pytest
from rich.console import Console

from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, Layer, Side, TrafficClass, Transport, Verdict
from flowsonar.verdicts.explain import _duration, explain
from flowsonar.verdicts.stored import Asked, Change, Stored

NOW = 1_750_000_000.0
HERE = Endpoint(Transport.TCP, "192.0.2.7", 8443)
PIECE = Evidence(
    kind=EvidenceKind.REPLY,
    service="http",
    confidence=Confidence.CONFIRMED,
    side=Side.RESPONDER,
    over=Layer.TLS,
    product="nginx",
    version="1.22",
    probe="http/get",
    signature="http/status",
    detail="status line",
    data=b"HTTP/1.1 200 OK\r\nServer: nginx/1.22\r\n",
)
VERDICT = Verdict(
    service="http",
    over=Layer.TLS,
    product="nginx",
    version="1.22",
    cpe="cpe:/a:nginx:nginx:1.22",
    traffic_class=TrafficClass.INTERACTIVE,
    confidence=Confidence.LIKELY,
    name="www.example",
    evidence=(PIECE, Evidence(kind=EvidenceKind.PORT, service="http", confidence=Confidence.GUESS)),
    conflicts=("ssh", "ftp"),
)


def test_tells_everything():
    stored = Stored(
        endpoint=HERE,
        verdict=VERDICT,
        decided_s=NOW - 600,
        expires_s=NOW + 3000,
        failures=3,
        outcome="silent",
        retry_s=NOW + 120,
        history=(Change(time_s=NOW, event="learned", service="http", over="tls", confidence="confirmed"),),
        asked=(
            Asked(time_s=NOW, action="send", probe="http/get", bytes=120),
            Asked(time_s=NOW, action="end", probe="", outcome="answered"),
        ),
    )
    plain = explain(stored, NOW).plain
    for expected in (
        "192.0.2.7:8443/tcp  http over tls  likely",
        "nginx 1.22",
        "cpe:/a:nginx:nginx:1.22",
        "interactive",
        "www.example",
        "10 min ago; valid for 50 min more",
        "ssh, ftp",
        "reply, responder: it answered our probe: http over tls (nginx 1.22), confirmed",
        "http/status",
        "status line",
        "0000  48 54 54 50 2f 31 2e 31 20 32 30 30 20 4f 4b 0d  |HTTP/1.1 200 OK.|",
        "port: the port number alone: http, guess",
        "3 times in a row, last: silent; not asked again for 2 min",
        "learned  http over tls, confirmed",
        "send http/get 120 bytes",
        "  end: answered",
    ):
        assert expected in plain


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (Stored(endpoint=HERE, verdict=Verdict()), "192.0.2.7:8443/tcp  unknown  unknown\n  no evidence is kept"),
        (Stored(endpoint=Endpoint(Transport.UDP, "2001:db8::1", 53), verdict=Verdict()), "[2001:db8::1]:53/udp"),
        (Stored(endpoint=HERE, verdict=VERDICT, decided_s=NOW - 9, expires_s=NOW - 1), "9 s ago; not valid any more"),
        (
            Stored(endpoint=HERE, verdict=Verdict(), failures=1),
            "asked in vain   once, last: nothing that identifies it",
        ),
    ],
)
def test_what_little_is_known(stored, expected):
    assert expected in explain(stored, NOW).plain


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]x[/red]\r\n\udc80"


def test_hostile_text_reaches_no_terminal():
    piece = Evidence(
        kind=EvidenceKind.REPLY,
        service=HOSTILE,
        confidence=Confidence.CONFIRMED,
        product=HOSTILE,
        version=HOSTILE,
        probe=HOSTILE,
        signature=HOSTILE,
        detail=HOSTILE,
        data=HOSTILE.encode("utf-8", "surrogateescape") + bytes(range(256)),
    )
    verdict = Verdict(
        service=HOSTILE,
        product=HOSTILE,
        version=HOSTILE,
        cpe=HOSTILE,
        name=HOSTILE,
        confidence=Confidence.CONFIRMED,
        evidence=(piece,),
        conflicts=(HOSTILE,),
    )
    stored = Stored(
        endpoint=Endpoint(Transport.TCP, HOSTILE, 1),
        verdict=verdict,
        decided_s=1e300,
        failures=1,
        outcome=HOSTILE,
        history=(Change(time_s=float("inf"), event=HOSTILE, service=HOSTILE, over=HOSTILE, product=HOSTILE),),
        asked=(Asked(time_s=-1e300, action=HOSTILE, probe=HOSTILE, outcome=HOSTILE, detail=HOSTILE),),
    )
    plain = explain(stored, NOW).plain
    assert all(line.isprintable() for line in plain.split("\n"))
    screen = io.StringIO()
    Console(file=screen, width=100, no_color=True).print(explain(stored, NOW))
    assert all(line.isprintable() for line in screen.getvalue().split("\n"))
    assert "[red]x[/red]" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")]
)
def test_duration(seconds, text):
    assert _duration(seconds) == text
