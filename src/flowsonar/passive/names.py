"""Names that the bytes of HTTP carry, and the one client that its requests give away."""

from __future__ import annotations

from flowsonar.errors import MalformedError
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.protocols import http, skype

__all__ = ["skype_request"]


def skype_request(flow: PassiveFlow, data: bytes, side: Side) -> Evidence | None:
    """Take the host from a request's head; give evidence for Skype where the request is one of its own."""
    host = http.host_of(data)
    if host:
        flow.name = _without_port(host) or flow.name
    if b"/ui/" not in data[:256]:
        return None
    try:
        request = http.read_request(data)
    except MalformedError:
        return None
    kind = skype.http_request_kind(request.target, request.host, request.user_agent)
    if kind is None:
        return None
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="skype",
        confidence=Confidence.CONFIRMED,
        side=side,
        signature="skype/http-request",
        detail=f"{kind}: HTTP request of the Skype client to {request.host} (http on the wire)",
        data=data[:256],
        specificity=90,
    )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else host
