"""What a DTLS hello tells beside its service: the name, the fingerprint, and whether it is to carry media."""

from __future__ import annotations

from flowsonar.errors import MalformedError
from flowsonar.model import Confidence, Evidence
from flowsonar.passive.flow import PassiveFlow
from flowsonar.protocols import dtls, tls
from flowsonar.protocols.ja4 import ja4

__all__ = ["told"]


def told(flow: PassiveFlow, evidence: Evidence, data: bytes) -> Evidence:
    """The evidence with what the hello in `data` says, if it is DTLS.

    The flow takes its name and ALPN, and is one that media may come in where keys for it are offered. After STUN in the
    same flow a hello of either side is enough (RFC 7983): agents send it over a way that they have tested.
    """
    if evidence.service != "dtls":
        return evidence
    try:
        hello = dtls.read_hello(data)
    except MalformedError:
        return evidence
    if isinstance(hello, tls.ClientHello):
        flow.name = hello.server_name or flow.name
        flow.alpn = hello.alpn or flow.alpn
        parts = [f"ClientHello, DTLS {dtls.version_name(hello.version)}"]
        if hello.server_name:
            parts.append(f"SNI {hello.server_name}")
        if hello.alpn:
            parts.append("ALPN " + " ".join(hello.alpn))
        if dtls.USE_SRTP in hello.extensions:
            parts.append("use_srtp: keys for media (WebRTC)")
            flow.media = True
        if hello.complete:
            parts.append(f"JA4 {ja4(hello, 'd')}")
    elif isinstance(hello, tls.ServerHello):
        parts = [f"ServerHello, DTLS {dtls.version_name(hello.version)}, cipher {hello.cipher:04x}"]
        if hello.alpn:
            parts.append(f"ALPN {hello.alpn}")
    else:
        return evidence
    if flow.services.get("stun", 0) >= Confidence.LIKELY.rank:
        evidence = evidence._replace(confidence=Confidence.CONFIRMED)
        flow.note(evidence)
    return evidence._replace(detail=", ".join(parts))
