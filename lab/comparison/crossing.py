"""Every question to every program: `python -m lab.comparison.crossing ENDPOINTS.json`, one JSON line an endpoint.

The first message of every probe goes to each endpoint on a socket of its own, in clear and, where it takes TLS, inside
that. Every answer is shown to all reply patterns by itself. Told is what another service than the endpoint's own claims
for itself, `likely` or more: no order of questions, and no earlier answer, stands between it and a wrong label.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowsonar.model import Confidence, Layer, Transport
from flowsonar.probes.weighing import tells_tls
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Match, Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts, Message, render

__all__ = ["Place", "Told", "claims", "read_told"]

_CONNECT_S = 2.0
_WAIT_S = 0.25
_PAUSE_S = 0.05
"""Between the pieces of one answer."""
_ANSWER_BYTES = 8192
_REFUSALS = 12
"""So many connections that did not come to stand, and it is left alone."""
_WHOLE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An endpoint, and what is true of it."""

    name: str
    transport: str
    address: str
    port: int
    service: str
    layers: tuple[str, ...] = ()
    """`tls` or `quic` where it runs inside that."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What came of one endpoint."""

    name: str
    asked: int = 0
    answered: int = 0
    foreign: list[list[str]] = field(default_factory=list)
    """Probe, service, confidence, pattern and the beginning of the answer."""


def claims(matcher: Matcher, signatures: SignatureSet, place: Place, reply: Reply) -> Iterator[Match]:
    """What other services than the place's own say of an answer, `likely` or more."""
    found = [one for one in matcher.reply(reply) if not one.soft and one.confidence.rank >= Confidence.LIKELY.rank]
    if reply.over is None and "tls" in place.layers and tells_tls(reply, found):
        return  # it wants TLS: nobody takes that for its last word
    for match in found:
        kin = {match.service, *signatures.ancestors(match.service)}
        own = {place.service, *signatures.ancestors(place.service), *place.layers}
        if kin.isdisjoint(own):
            yield match


def read_told(lines: Iterable[str]) -> list[Told]:
    """What a run printed."""
    return [Told(**json.loads(line)) for line in lines if line.startswith("{")]


class _Crossing:
    def __init__(self, place: Place, signatures: SignatureSet, matcher: Matcher) -> None:
        self._place = place
        self._signatures = signatures
        self._matcher = matcher
        self._pick = random.Random(place.port)
        self.told = Told(name=place.name)

    async def ask(self) -> None:
        """All questions, one after the other: some programs serve one client at a time."""
        if self._place.transport == "udp":
            for probe in self._probes(Transport.UDP):
                await self._datagram(probe)
            return
        await self._connections(None)
        if "tls" in self._place.layers:
            await self._connections(Layer.TLS)

    def _probes(self, transport: Transport) -> Iterator[ProbeSpec]:
        for one in self._signatures.services.values():
            for probe in one.probes:
                if probe.transport is transport and probe.special is None and probe.steps and probe.steps[0].send:
                    yield probe

    async def _connections(self, over: Layer | None) -> None:
        refusals = 0
        for probe in self._probes(Transport.TCP):
            if probe.over not in (None, over):
                continue
            self.told.asked += 1
            try:
                connecting = asyncio.open_connection(
                    self._place.address, self._place.port, ssl=_anybody() if over else None
                )
                reader, writer = await asyncio.wait_for(connecting, _CONNECT_S)
            except (OSError, TimeoutError):
                refusals += 1
                if refusals > _REFUSALS:
                    return
                await asyncio.sleep(_PAUSE_S)
                continue
            message = self._message(probe, writer.get_extra_info("sockname"))
            data = b""
            with contextlib.suppress(OSError, TimeoutError):
                writer.write(message.data)
                data = await _answer(reader)
            writer.transport.abort()
            self._judge(probe, message, data, over)

    async def _datagram(self, probe: ProbeSpec) -> None:
        self.told.asked += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.setblocking(False)
            own.connect((self._place.address, self._place.port))
            message, data = self._message(probe, own.getsockname()), b""
            with contextlib.suppress(OSError, TimeoutError):
                own.send(message.data)
                receiving = asyncio.get_running_loop().sock_recv(own, 1 << 16)
                data = await asyncio.wait_for(receiving, _WAIT_S)
        self._judge(probe, message, data, None)

    def _message(self, probe: ProbeSpec, own: tuple[str, int]) -> Message:
        facts = ConnectionFacts(
            target_address=socket.inet_aton(self._place.address), target_port=self._place.port,
            prober_address=socket.inet_aton(own[0]), prober_port=own[1], target_host=None,
        )  # fmt: skip
        template = probe.steps[0].send
        assert template is not None
        return render(template, facts, {}, self._pick)

    def _judge(self, probe: ProbeSpec, message: Message, data: bytes, over: Layer | None) -> None:
        if not data:
            return
        self.told.answered += 1
        reply = Reply(
            probe=probe.id, step=0, data=data, transport=probe.transport, sent=dict(message.sent),
            message=message.data, over=over,
        )  # fmt: skip
        for match in claims(self._matcher, self._signatures, self._place, reply):
            begin = data[:60].decode("latin-1")
            self.told.foreign.append([probe.id, match.service, match.confidence.value, match.pattern, begin])


async def _answer(reader: asyncio.StreamReader) -> bytes:
    data, wait_s = b"", _WAIT_S
    while len(data) < _ANSWER_BYTES:
        try:
            got = await asyncio.wait_for(reader.read(_ANSWER_BYTES), wait_s)
        except (OSError, TimeoutError):
            break
        if not got:
            break
        data, wait_s = data + got, _PAUSE_S
    return data


def _anybody() -> ssl.SSLContext:
    """TLS with whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def _main(places: list[dict[str, Any]]) -> None:
    signatures = load_signatures()
    matcher = Matcher(signatures)
    crossings = [
        _Crossing(Place(**{**place, "layers": tuple(place["layers"])}), signatures, matcher) for place in places
    ]
    tasks = [asyncio.create_task(crossing.ask()) for crossing in crossings]
    _, late = await asyncio.wait(tasks, timeout=_WHOLE_S)
    for task in late:
        task.cancel()
    for crossing in crossings:
        told = crossing.told
        print(json.dumps({slot: getattr(told, slot) for slot in told.__slots__}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
