"""Classic Skype over UDP: what one flow's datagrams prove by their sequence, and what many flows of one port prove.

| rule | what is seen | confidence |
|---|---|---|
| reply | 11 bytes, identifier echoed, function 5 or 7, the requester's own address (68 bits fit) | confirmed |
| reply, NAT | the same with another address | likely; confirmed once two peers report the same address |
| sent again | function 3, five bytes longer, same identifier and CRC, the destination's address | confirmed |
| fragments | function 15, the request's identifier; two of them | likely; confirmed |
| repeated | the same identifier and CRC under a new IV, all other bytes changed | likely |
| call | three datagrams of function 13 after a payload | likely |
| exchange | payloads both ways | guess; likely if the answer has a probe's usual length, or after two more rounds |
| port, steps | identifiers in small steps over five or twelve flows, IVs unlike each other | likely; confirmed |
| port | a datagram of the right shape on a port that is proven by one of the above | as the port is |
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.passive.addresses import address_text, is_unicast_ipv4
from flowsonar.protocols import skype

__all__ = ["SkypeDatagrams", "SkypePort", "SkypePorts", "worth_reading"]

MAX_PORTS: Final = 1 << 15
"""Endpoints remembered; the oldest is forgotten first. 200 bytes each."""
_MAX_STEP: Final = 64
"""Identifiers of one client go on by 2, by more where other flows had the ones between."""
_PROBE_LENGTH: Final = 64
"""Probes were at most 47 bytes long in both recorded clients; later requests are longer."""
_MEDIA_LIKELY: Final = 3
"""Datagrams of a call after a payload: each has five bits that fit."""
_FLOWS_LIKELY: Final = 5
_FLOWS_CONFIRMED: Final = 12
_GUESS, _LIKELY, _CONFIRMED = Confidence.GUESS.rank, Confidence.LIKELY.rank, Confidence.CONFIRMED.rank
_BY_RANK: Final = {_GUESS: Confidence.GUESS, _LIKELY: Confidence.LIKELY, _CONFIRMED: Confidence.CONFIRMED}
_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)


def worth_reading(opened: Opened, data: bytes) -> bool:
    """Whether a flow's first datagram may be Skype's: a payload, between hosts, not on the ports of others."""
    if len(data) < 11 or not is_unicast_ipv4(opened.initiator) or not is_unicast_ipv4(opened.responder):
        return False
    for port in (opened.initiator_port, opened.responder_port):
        if port < 1024 and port not in {80, 443}:
            return False
    if data[0] == 0x30 and data[1] == len(data) - 2:
        return False  # a BER sequence: SNMP
    what = data[2] & skype.FUNCTION_MASK
    return (
        skype.is_payload(data)
        or (len(data) == skype.REPLY_LENGTH and what in {skype.ACKNOWLEDGE, skype.NACK})
        or (what == skype.FRAGMENT and data[6] == skype.PAYLOAD and len(data) >= skype.MIN_PAYLOAD)
    )


class SkypePort:
    """What all flows of one address and UDP port showed together."""

    __slots__ = ("_last", "_likes", "_steps", "flows", "mirrored", "proof", "rank")

    def __init__(self) -> None:
        self.rank = 0
        """Rank of what is proven of this port."""
        self.proof = ""
        """How, for people."""
        self.flows = 0
        """Flows in which this port began with a payload."""
        self.mirrored: tuple[bytes, bytes] | None = None
        """The address that a peer says it has, and that peer's address."""
        self._last = b""
        self._steps = 0
        self._likes = 0

    def began(self, data: bytes) -> None:
        """Count a flow in which this port sent `data` first."""
        last, self._last = self._last, data[:11]
        self.flows += 1
        if not last:
            return
        step = ((data[0] << 8 | data[1]) - (last[0] << 8 | last[1])) & 0xFFFF
        if 0 < step <= _MAX_STEP and skype.ciphertext_differs(data, last):
            self._steps += 1
            self._likes += step == 2
        if self.rank < _LIKELY and self.flows >= _FLOWS_LIKELY and self._steps * 5 >= (self.flows - 1) * 4:
            self.prove(_LIKELY, f"identifiers going on over {self.flows} flows of one port")
        if (
            self.rank < _CONFIRMED
            and self.flows >= _FLOWS_CONFIRMED
            and self._steps * 5 >= (self.flows - 1) * 4
            and self._likes * 2 >= self.flows
        ):
            self.prove(_CONFIRMED, f"identifiers going on by 2 over {self.flows} flows of one port")

    def prove(self, rank: int, how: str) -> None:
        """Raise what is proven."""
        if rank > self.rank:
            self.rank = rank
            self.proof = how

    def mirror(self, address: bytes, peer: bytes) -> bool:
        """A peer says that this port's address is `address`: True when another peer said the same before."""
        before, self.mirrored = self.mirrored, (address, peer)
        return before is not None and before[0] == address and before[1] != peer


class SkypePorts:
    """The ports seen to begin like Skype, bounded, and who was talked to by them."""

    __slots__ = ("_peers", "_ports", "hosts", "since_ns")

    def __init__(self) -> None:
        self._ports: dict[tuple[bytes, int], SkypePort] = {}
        self._peers: dict[tuple[bytes, int], SkypePort] = {}
        self.since_ns: int | None = None
        """Since when a port is proven, or a server by TCP; before that nothing inherits, and nobody needs to look."""
        self.hosts: dict[bytes, SkypePort] = {}
        """Addresses with a proven port."""

    def __len__(self) -> int:
        return len(self._ports)

    def port(self, address: bytes, port: int) -> SkypePort:
        """The state of an endpoint, made where it is new."""
        key = (address, port)
        found = self._ports.get(key)
        if found is None:
            found = SkypePort()
            if len(self._ports) >= MAX_PORTS:
                del self._ports[next(iter(self._ports))]
            self._ports[key] = found
        return found

    def find(self, address: bytes, port: int) -> SkypePort | None:
        """The state of an endpoint that is known as a port of Skype or as a peer of one; None if unknown."""
        key = (address, port)
        found = self._ports.get(key)
        if found is not None and found.rank:
            return found
        return self._peers.get(key)

    def proven(self, time_ns: int) -> None:
        """Something is, from now on: nanoseconds since the epoch."""
        if self.since_ns is None:
            self.since_ns = time_ns

    def port_rank(self, address: bytes, port: int) -> int:
        """What is proven of an endpoint itself."""
        found = self._ports.get((address, port))
        return 0 if found is None else found.rank

    def talked(self, ours: SkypePort, own: bytes, address: bytes, port: int) -> None:
        """Remember that `ours`, a port of host `own`, sent to an endpoint."""
        if len(self._peers) >= MAX_PORTS:
            del self._peers[next(iter(self._peers))]
        self._peers[(address, port)] = ours
        if own not in self.hosts:
            if len(self.hosts) >= MAX_PORTS:
                del self.hosts[next(iter(self.hosts))]
            self.hosts[own] = ours
        elif self.hosts[own].rank < ours.rank:
            self.hosts[own] = ours

    def host_rank(self, address: bytes) -> int:
        """What is proven of an address."""
        port = self.hosts.get(address)
        return 0 if port is None else port.rank


class SkypeDatagrams:
    """One flow. Each direction's last request is kept to compare what comes after it."""

    __slots__ = (
        "_fragments",
        "_known",
        "_last_ns",
        "_lengths",
        "_media",
        "_opened",
        "_ports",
        "_requests",
        "_rounds",
        "_seen",
        "_started",
        "_tokens",
        "_told_seen",
        "data",
        "rank",
        "told",
    )

    def __init__(self, opened: Opened, ports: SkypePorts) -> None:
        self._opened = opened
        self._known = ports
        self._ports = (
            ports.port(opened.initiator, opened.initiator_port),
            ports.port(opened.responder, opened.responder_port),
        )
        self._requests = [b"", b""]
        """Last payload per direction, first 24 bytes."""
        self._lengths = [0, 0]
        self._tokens = [b"", b""]
        """Token of the last eleven-byte reply that a direction got."""
        self._started = [False, False]
        self._rounds = [0, 0]
        """Payloads per direction whose identifiers go on."""
        self._fragments = 0
        self._media = 0
        self._told_seen = 0
        self._last_ns = 0
        self._seen: list[str] = []
        """What was seen, in order, for people."""
        self.data = b""
        self.rank = 0
        self.told = 0
        """Rank that was already given out."""

    def feed(self, event: Payload) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        data = event.data
        direction = event.direction
        self._last_ns = event.time_ns
        if len(data) > 2:
            if not self.data:
                self.data = data[:32]
            what = data[2] & skype.FUNCTION_MASK
            if skype.is_payload(data):
                self._payload(direction, data, event.wire_length)
            elif what in {skype.ACKNOWLEDGE, skype.NACK}:
                self._reply(direction, data, what)
            elif what == skype.FORWARD:
                self._forward(direction, data, event.wire_length)
            elif what == skype.FRAGMENT:
                self._fragment(direction, data)
            elif what == skype.MEDIA and any(self._started):
                self._media += 1
                if self._media >= _MEDIA_LIKELY:
                    self._note(_LIKELY, "voice, video or a file (function 0d)")
        return self.conclude()

    def conclude(self, *, last: bool = False) -> Evidence | None:
        """Give evidence if the flow, or its ports, are surer than what was told; at the end also if more was seen."""
        if self.rank >= _LIKELY:
            for index in (0, 1):
                if self._started[index]:
                    self._ports[index].prove(self.rank, f"another flow of the port: {self._seen[-1]}")
        own = max(self._ports, key=lambda port: port.rank)
        inherited = own.rank > self.rank and bool(self._seen)
        rank = max(self.rank, own.rank) if self._seen else self.rank
        if own.rank >= _LIKELY:
            self._known.proven(self._last_ns)
        if rank <= self.told and not (last and self.told and len(self._seen) > self._told_seen):
            return None
        self.told = rank
        self._told_seen = len(self._seen)
        seen = "; ".join(self._seen)
        side = None
        if inherited:
            side = _SIDES[0 if own is self._ports[0] else 1]
        return Evidence(
            kind=EvidenceKind.ENDPOINT if inherited else EvidenceKind.PAYLOAD,
            service="skype",
            confidence=_BY_RANK[rank],
            side=side,
            signature="skype/udp-port" if inherited else "skype/udp-sequence",
            detail=f"{seen}; {own.proof}" if inherited else seen,
            data=self.data,
            specificity=70 if rank == _CONFIRMED else 30,
        )

    def _note(self, rank: int, text: str) -> None:
        self.rank = max(self.rank, rank)
        if len(self._seen) < 5 and text not in self._seen:
            self._seen.append(text)

    def _payload(self, direction: int, data: bytes, length: int) -> None:
        opened = self._opened
        before = self._requests[direction]
        if not self._started[direction]:
            self._started[direction] = True
            ours = self._ports[direction]
            ours.began(data)
            ends = ((opened.initiator, opened.initiator_port), (opened.responder, opened.responder_port))
            self._known.talked(ours, ends[direction][0], *ends[1 - direction])
            answer = self._started[1 - direction]
            self._note(0, f"{'payload' if answer else 'UDP probe'} of {length} bytes, identifier {data[:2].hex()}")
        elif before:
            if skype.repeats(data, before):
                self._note(_LIKELY, "repeated with a new IV and the same CRC")
            elif skype.ciphertext_differs(data, before):
                step = ((data[0] << 8 | data[1]) - (before[0] << 8 | before[1])) & 0xFFFF
                self._rounds[direction] += 0 < step <= 4 * _MAX_STEP
        other = self._requests[1 - direction]
        if other and other[:2] != data[:2] and skype.ciphertext_differs(data, other):
            usual = length in skype.ANSWER_LENGTHS and self._lengths[1 - direction] <= _PROBE_LENGTH
            self._note(_LIKELY if usual or min(self._rounds) >= 2 else _GUESS, "payloads both ways")
        self._requests[direction] = data[:24]
        self._lengths[direction] = length

    def _reply(self, direction: int, data: bytes, what: int) -> None:
        request = self._requests[1 - direction]
        if len(data) != skype.REPLY_LENGTH:
            return
        opened = self._opened
        requester = opened.initiator if direction else opened.responder
        replier = opened.responder if direction else opened.initiator
        address = data[3:7]
        name = skype.FUNCTIONS[what]
        if not request:
            if address == requester:
                self._note(_LIKELY, f"{name} with the requester's address")
            return
        if not skype.is_reply_to(data, request):
            return
        self._tokens[1 - direction] = data[7:11]
        if address == requester:
            self._note(_CONFIRMED, f"{name} with the requester's address {address_text(address)}")
        elif is_unicast_ipv4(address) and self._ports[1 - direction].mirror(address, replier):
            self._note(_CONFIRMED, f"{name} with the requester's address {address_text(address)}, as other peers say")
        elif is_unicast_ipv4(address):
            self._note(_LIKELY, f"{name} with address {address_text(address)}")

    def _forward(self, direction: int, data: bytes, length: int) -> None:
        request = self._requests[direction]
        target = self._opened.initiator if direction else self._opened.responder
        if request and skype.is_resend_of(data, request, self._lengths[direction], length):
            token = self._tokens[direction]
            sure = data[8:12] == target or (token and data[4:8] == token)
            self._note(_CONFIRMED if sure else _LIKELY, "probe sent again with the reply's token")

    def _fragment(self, direction: int, data: bytes) -> None:
        request = self._requests[1 - direction]
        if request and skype.is_fragment_of(data, request):
            self._fragments += 1
            self._note(_LIKELY if self._fragments < 2 else _CONFIRMED, "answer in fragments")
