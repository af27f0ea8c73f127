"""Records for the tests of the outputs."""

from flowsonar.model import (
    Confidence,
    Endpoint,
    EndpointRecord,
    Evidence,
    EvidenceKind,
    FlowCounters,
    FlowKey,
    FlowRecord,
    Layer,
    Outcome,
    RecordType,
    Side,
    TrafficClass,
    Transport,
    Verdict,
)

TIME_NS = 1_767_323_045_000_006_789  # 2026-01-02T03:04:05.000006789Z
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]x[/red]\r\n\udc80\x7fé"

PIECE = Evidence(
    kind=EvidenceKind.REPLY,
    service="ftp",
    confidence=Confidence.CONFIRMED,
    side=Side.RESPONDER,
    product="vsFTPd",
    version="3.0.5",
    probe="ftp/features",
    signature="ftp/features",
    detail="lists its features",
    data=b"211-Features:\r\n",
)
FTP = Verdict(
    service="ftp",
    product="vsFTPd",
    version="3.0.5",
    traffic_class=TrafficClass.INTERACTIVE,
    confidence=Confidence.CONFIRMED,
    name="files.example",
    evidence=(PIECE,),
)
HTTPS = Verdict(service="http", over=Layer.TLS, confidence=Confidence.LIKELY, conflicts=("ssh",))


def flow(**fields):
    defaults = {
        "type": RecordType.FLOW,
        "time_ns": TIME_NS,
        "flow_id": 7,
        "key": FlowKey(Transport.TCP, "192.0.2.1", 40000, "198.51.100.2", 2121, 0),
        "verdict": FTP,
        "counters": FlowCounters(
            packets_toserver=12,
            packets_toclient=10,
            bytes_toserver=700,
            bytes_toclient=1500,
            first_ns=TIME_NS - 2_500_000_000,
            last_ns=TIME_NS,
        ),
        "verdict_ms": 3.14159,
        "reason": "fin",
        "interface": "eth0",
    }
    return FlowRecord(**defaults | fields)


def endpoint(**fields):
    defaults = {
        "time_ns": TIME_NS,
        "endpoint": Endpoint(Transport.UDP, "2001:db8::1", 53),
        "verdict": Verdict(),
        "outcome": Outcome.SILENT,
        "datagrams": 5,
        "verdict_ms": 3000.0,
        "detail": "nothing came back",
    }
    return EndpointRecord(**defaults | fields)


def hostile_verdict():
    piece = Evidence(
        kind=EvidenceKind.REPLY,
        service=HOSTILE,
        confidence=Confidence.CONFIRMED,
        probe=HOSTILE,
        signature=HOSTILE,
        detail=HOSTILE,
        data=HOSTILE.encode("utf-8", "surrogateescape"),
    )
    return Verdict(
        service=HOSTILE,
        product=HOSTILE,
        version=HOSTILE,
        cpe=HOSTILE,
        name=HOSTILE,
        confidence=Confidence.CONFIRMED,
        evidence=(piece,),
        conflicts=(HOSTILE,),
    )
