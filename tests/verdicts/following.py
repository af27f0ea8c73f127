"""Events as the flow table reports them, and what a tracker is asked and told in the tests."""

from ipaddress import ip_address

from flowsonar.flows.events import Closed, CloseReason, Established, Opened, Payload
from flowsonar.model import (
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowRecord,
    Outcome,
    RecordType,
    Transport,
    Verdict,
)
from flowsonar.verdicts.tracker import Tracker

CLIENT, SERVER = "10.0.0.2", "10.0.0.1"
MS = 1_000_000
RANDOM = bytes.fromhex("9c1f83d2e07755aa0b64f1c8de93ab3107c4e96fd2b85a1c")
"""As a datagram it could be media's first."""
SSH = (
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
    + bytes.fromhex("000001dc0514")
    + RANDOM[:16]
    + b"\0\0\0\x24curve25519-sha256,ecdh"
)
"""Greeting and key exchange: what no other service says."""
PUTTY = b"SSH-2.0-PuTTY_Release_0.78\r\n"
OPAQUE = b"\x5c" + RANDOM[1:]
"""As a datagram it could be nothing that counts."""


class Memory:
    """A cache in a dictionary, with the store's face."""

    def __init__(self) -> None:
        self.known: dict[Endpoint, Verdict] = {}
        self.failures: list[tuple[Endpoint, Outcome | None]] = []

    def verdict(self, endpoint: Endpoint, now_s: float) -> Verdict | None:
        return self.known.get(endpoint)

    def may_ask(self, endpoint: Endpoint, now_s: float) -> bool:
        return endpoint not in {failed for failed, _ in self.failures}

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        self.known[endpoint] = verdict

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        self.failures.append((endpoint, outcome))

    def forget(self, endpoint: Endpoint) -> None:
        del self.known[endpoint]


def opened(
    flow: int = 1,
    *,
    at: int = 0,
    protocol: int = 6,
    ports: tuple[int, int] = (40000, 7777),
    midstream: bool = False,
) -> Opened:
    ends = (ip_address(CLIENT).packed, ports[0], ip_address(SERVER).packed, ports[1])
    return Opened(flow, at, protocol, *ends, 0, 0, midstream)


def stands(flow: int = 1, *, at: int = 0, handshake_ns: int = 0) -> Established:
    return Established(flow, at, handshake_ns)


def payload(data: bytes, *, flow: int = 1, at: int = MS, direction: int = 0, index: int = 0) -> Payload:
    return Payload(flow, at, direction, index, 0, data, len(data), 0)


def closed(flow: int = 1, *, at: int = 9 * MS, reason: CloseReason = CloseReason.FIN) -> Closed:
    return Closed(flow, at, reason, 0, at, 5, 4, 500, 400, 0x1B, 0x1B, 0)


def endpoint(port: int = 7777, address: str = SERVER, transport: Transport = Transport.TCP) -> Endpoint:
    return Endpoint(transport, address, port)


def reply(service: str = "ssh", confidence: Confidence = Confidence.CONFIRMED) -> Evidence:
    return Evidence(kind=EvidenceKind.REPLY, service=service, confidence=confidence, signature=f"{service}/x")


def flow_records(tracker: Tracker) -> list[FlowRecord]:
    return [record for record in tracker.records if record.type is RecordType.FLOW]
