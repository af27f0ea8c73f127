"""What a known connection says of the datagrams beside it: a server of tinc or Mumble has one number for both.

Those datagrams are enciphered and nothing answers them, so their own bytes tell nothing. The number and the host are
the connection's; that it is not some other program's is likely and no more.
"""

from __future__ import annotations

from flowsonar.model import Announcement, Confidence, Evidence, EvidenceKind, FlowKey, Transport, Verdict
from flowsonar.signatures.catalogue import SignatureSet

__all__ = ["sisters"]


def sisters(key: FlowKey, verdict: Verdict, signatures: SignatureSet, *, midstream: bool) -> tuple[Announcement, ...]:
    """Datagrams to expect between a connection's hosts; `midstream`: either port may be the server's.

    The server's number may be sent datagrams by others as well; the other end only by the server.
    """
    if verdict.service not in signatures.both_transports or key.transport is not Transport.TCP:
        return ()
    if verdict.confidence.rank < Confidence.LIKELY.rank:
        return ()
    evidence = Evidence(
        kind=EvidenceKind.ANNOUNCED,
        service=verdict.service,
        confidence=Confidence.LIKELY,
        detail="its number has a connection of this service between the same hosts",
    )
    ports = {key.responder_port, key.initiator_port} if midstream else {key.responder_port}
    return tuple(
        Announcement(
            transport=Transport.UDP,
            responder_address=address,
            responder_port=port,
            initiator_address=other,
            evidence=evidence,
        )
        for port in sorted(ports)
        for address, other in (
            (key.responder_address, key.initiator_address if midstream else None),
            (key.initiator_address, key.responder_address),
        )
    )
