"""What is known of endpoints, live, where the fast lane can see it: the verdict store as the flow table has it.

The tracker takes it for its store. Whatever is learned or forgotten here is told to the table; what the table learns by
itself, of flows that need no Python, is told to the store.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

import orjson

from flowsonar._native.digest import sha256
from flowsonar.model import TRANSPORTS, UNKNOWN, Confidence, Endpoint, Outcome, Side, Transport, Verdict
from flowsonar.outputs.eve import HELLO_REST, proto, verdict_template
from flowsonar.passive.addresses import address_text
from flowsonar.verdicts.followed import Began
from flowsonar.verdicts.fusion import fuse
from flowsonar.verdicts.inherited import from_side, remembered
from flowsonar.verdicts.inquiry import is_opaque
from flowsonar.verdicts.stored import pack_verdict, unpack_verdict

if TYPE_CHECKING:
    from flowsonar.app.lanes import LaneTable
    from flowsonar.signatures import SignatureSet
    from flowsonar.verdicts.store import Store

__all__ = ["UNSURE", "Known"]

UNSURE: Final = 0xFFFF
"""The number for what only Python can say."""
_SIDES: Final = (Side.RESPONDER, Side.INITIATOR, Side.INITIATOR)
_MIDSTREAM: Final = (False, True, False)
"""The views of `_native/known.h`, in their order."""
_PROTOCOLS: Final = {Transport.TCP: 6, Transport.UDP: 17}
_LIKELY: Final = Confidence.LIKELY.rank
_MARK_BYTES: Final = 16
_FOREVER_S: Final = 0xFFFFFFFF


class Known:
    """A `Cache` of verdicts. Times are seconds since the epoch."""

    def __init__(self, store: Store | None, table: LaneTable, signatures: SignatureSet) -> None:
        """Without a store nothing is known of any endpoint."""
        self._store = store
        self._table = table
        self._signatures = signatures
        self._kinds: list[Verdict] = [UNKNOWN]
        self._numbers: dict[tuple[Transport, object], int] = {}
        self._proofs: dict[int, Verdict | None] = {}
        self._texts: dict[int, bytes] = {}
        self._settled: dict[int, bytes] = {}
        self.learnings: list[tuple[Endpoint, Verdict]] = []
        """What the tracker said was learned; whoever looks empties it."""

    # -- as the tracker's cache ---------------------------------------------------------------------------------

    def verdict(self, endpoint: Endpoint, now_s: float) -> Verdict | None:
        """The cached verdict while it is valid."""
        return None if self._store is None else self._store.verdict(endpoint, now_s)

    def may_ask(self, endpoint: Endpoint, now_s: float) -> bool:
        """Whether earlier failures allow to ask again."""
        until_s = 0.0 if self._store is None else self._store.rests_until(endpoint, now_s)
        if until_s:
            self._leave(endpoint, until_s)
        return not until_s

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        """An endpoint was identified."""
        self.learnings.append((endpoint, verdict))
        if self._store is not None:
            self._store.learned(endpoint, verdict, now_s)
            self._tell(endpoint, now_s)

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        """Asking gave no label."""
        if self._store is not None:
            self._store.failed(endpoint, outcome, now_s, verdict)
            self._tell(endpoint, now_s)

    def forget(self, endpoint: Endpoint) -> None:
        """A flow's own bytes contradict the cached verdict."""
        if self._store is not None:
            self._store.forget(endpoint)
            self._know(endpoint, 0, 0.0, 0.0)

    # -- to the table -------------------------------------------------------------------------------------------

    def load(self, now_s: float) -> None:
        """Tell the table all that the store believes."""
        if self._store is not None:
            for endpoint, verdict in self._store.believed(now_s):
                self._know(endpoint, self._number(endpoint.transport, verdict), *self._store.times(endpoint))

    def own(self, endpoint: Endpoint) -> None:
        """A socket of ours: what flows through it is for Python, which knows our questions."""
        self._know(endpoint, UNSURE, _FOREVER_S, 0.0)

    def settles(self, number: int, verdict: Verdict, text: bytes = b"") -> None:
        """Flows that come to the verdict of this number are not asked about, if it is sure.

        Those of peers' services are followed nevertheless: who speaks with peers is remembered (`verdicts.peerhosts`).
        """
        if number in self._settled or verdict.confidence is not Confidence.CONFIRMED or is_opaque(verdict):
            return
        signature = self._signatures.services.get(verdict.service or "")
        if signature is not None and not signature.peers:
            self._settled[number] = text
            self._table.settle(number)

    def began(self, told: int) -> Began:
        """What stands beside the event of a flow that is reopened."""
        view, number = told >> 16 & 3, told & 0xFFFF
        return Began(self._kinds[number] if number else None, _SIDES[view], told >> 18 & 63)

    def proves(self, number: int, text: bytes, transport: Transport, verdict: Verdict | None) -> bool:
        """Flows that come to the verdict of this number prove this of their responder.

        False where the same text has proven something else before.
        """
        if verdict is not None:
            verdict = verdict._replace(evidence=tuple(piece._replace(data=b"") for piece in verdict.evidence))
        if number in self._proofs:
            return self._proofs[number] == verdict
        if verdict is not None:
            kind = self._number(transport, verdict)
            if kind == UNSURE:
                return False
            if self._store is not None:
                self._table.teach(number, kind)
        self._proofs[number] = verdict
        self._texts[number] = text
        return True

    def _tell(self, endpoint: Endpoint, now_s: float) -> None:
        assert self._store is not None
        verdict = self._store.verdict(endpoint, now_s)
        if verdict is None or verdict.service is None:
            self._know(endpoint, 0, 0.0, 0.0)
        else:
            self._know(endpoint, self._number(endpoint.transport, verdict), *self._store.times(endpoint))

    def _know(self, endpoint: Endpoint, number: int, expires_s: float, renew_s: float) -> None:
        protocol = _PROTOCOLS.get(endpoint.transport)
        if protocol is not None:
            self._table.know(_packed(endpoint.address), endpoint.port, protocol, number, int(expires_s), int(renew_s))

    def _leave(self, endpoint: Endpoint, until_s: float) -> None:
        protocol = _PROTOCOLS.get(endpoint.transport)
        if protocol is not None:
            self._table.leave(_packed(endpoint.address), endpoint.port, protocol, int(until_s))

    def _number(self, transport: Transport, verdict: Verdict) -> int:
        """The number of what flows inherit from an endpoint of this verdict."""
        kind = (transport, remembered(verdict))
        number = self._numbers.get(kind)
        if number is None:
            number = self._numbers[kind] = self._added(transport, verdict)
        return number

    def _added(self, transport: Transport, verdict: Verdict) -> int:
        texts = (verdict.product, verdict.version, verdict.cpe)
        if any(HELLO_REST in text for text in texts if text):  # it would be taken for a hole
            return UNSURE
        mark = sha256(repr((transport.value, *remembered(verdict))).encode("utf-8", "backslashreplace"))[:_MARK_BYTES]
        number = self._table.add_known(mark, *(self._early(transport, verdict, view) for view in range(len(_SIDES))))
        if number != UNSURE:
            assert number == len(self._kinds)
            self._kinds.append(verdict._replace(evidence=()))
        return number

    def _early(self, transport: Transport, verdict: Verdict, view: int) -> int:
        """What is told of a flow that begins with this, as the tracker tells it; 0 for nothing."""
        signatures = self._signatures
        pieces = from_side((remembered(verdict),), _SIDES[view], signatures, midstream=_MIDSTREAM[view])
        label = fuse(pieces, signatures.traffic_class, None, signatures.parents)
        if label.confidence.rank < _LIKELY:
            return 0
        number = self._table.add_verdict(verdict_template(label, proto(transport, "")))
        self.settles(number, label)
        return number

    # -- from the table -----------------------------------------------------------------------------------------

    def hear(self, now_s: float) -> None:
        """Tell the store what responders of the fast lane's flows have proven to be."""
        heard = self._table.heard()
        if self._store is None:
            return
        for address, port, protocol, number, said in heard:
            verdict = self._proofs[number]
            assert verdict is not None
            if said and len(verdict.evidence) == 1:
                verdict = verdict._replace(evidence=(verdict.evidence[0]._replace(data=said),))
            self._store.learned(Endpoint(TRANSPORTS[protocol], address_text(address), port), verdict, now_s)

    # -- kept ---------------------------------------------------------------------------------------------------

    def keep(self) -> bytes:
        """What proves what, and what leaves nothing to ask, for another run."""
        proofs = [
            (self._texts[number].decode("ascii"), None if verdict is None else pack_verdict(verdict).decode())
            for number, verdict in self._proofs.items()
        ]
        return orjson.dumps((proofs, [text.decode("ascii") for text in self._settled.values() if text]))

    def recall(self, kept: bytes) -> None:
        """Take what another run kept. Raises ValueError where it is not well-formed."""
        proofs, settled = orjson.loads(kept)
        for text in settled:
            raw = text.encode("ascii")
            number = self._table.add_verdict(raw)
            self._settled[number] = raw
            self._table.settle(number)
        for text, packed in proofs:
            raw = text.encode("ascii")
            verdict = None if packed is None else unpack_verdict(packed.encode())
            transport = Transport.TCP if raw.startswith(b'"proto":"TCP"') else Transport.UDP
            self.proves(self._table.add_verdict(raw), raw, transport, verdict)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
