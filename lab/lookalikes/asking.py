"""Asks every endpoint with every question there is: `python -m lab.lookalikes.asking ENDPOINTS.json`, one line each.

First the beginning of every probe of every signature, on a socket of its own; each answer is matched as the prober
matches it. Then the whole dialogues of the services that hide, by the prober, as if a flow had made them suspect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from flowsonar.config import BudgetSettings, Settings
from flowsonar.model import Confidence, Endpoint, Hints, Question, Transport
from flowsonar.probes import Prober
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts, Message, render

__all__ = ["HIDDEN", "likely"]

HIDDEN = ("bittorrent", "skype", "rtp")
_ALSO = ("tls", "dtls", "quic", "echo")
"""What the prober's own moves are of, and who sends our bytes back."""
_OWN = "127.0.0.1"
_WAIT_S = 0.25
_AT_A_TIME = 200
_BUDGET = BudgetSettings(
    rate=1e5, burst=100_000, per_host_rate=1e5, per_host_burst=100_000, per_prefix_rate=1e5, per_prefix_burst=100_000,
    per_host_parallel=64, control=False,
)  # fmt: skip
"""All of them are one host, and nobody else's."""


def likely(matcher: Matcher, probe: ProbeSpec, message: Message, data: bytes) -> list[str]:
    """What an answer would be labelled as, of the services that hide, at `likely` or above."""
    reply = Reply(
        probe=probe.id, step=0, data=data, transport=probe.transport, sent=dict(message.sent), message=message.data
    )
    found = [one for one in matcher.reply(reply) if one.service in HIDDEN]
    return [f"{one.pattern} {one.confidence}" for one in found if one.confidence.rank >= Confidence.LIKELY.rank]


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagram_received(self, data: bytes, _addr: tuple[str, int]) -> None:
        self.heard.append(data)


async def _datagram(port: int, message: Message) -> list[bytes]:
    loop = asyncio.get_running_loop()
    transport, answers = await loop.create_datagram_endpoint(_Answers, remote_addr=(_OWN, port))
    transport.sendto(message.data)
    await asyncio.sleep(_WAIT_S)
    transport.close()
    return answers.heard


async def _stream(port: int, message: Message) -> list[bytes]:
    heard: list[bytes] = []
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(_OWN, port)
        writer.write(message.data)
        with contextlib.suppress(OSError, TimeoutError):
            heard = [await asyncio.wait_for(reader.read(4096), _WAIT_S)]
        writer.close()
    return [data for data in heard if data]


async def _all_questions(
    endpoint: tuple[str, int], probes: Iterable[ProbeSpec], matcher: Matcher, limit: asyncio.Semaphore
) -> tuple[int, list[str]]:
    transport, port = endpoint
    facts = ConnectionFacts(
        target_address=bytes([127, 0, 0, 1]), target_port=port, prober_address=bytes([127, 0, 0, 1]),
        prober_port=40000, target_host=None,
    )  # fmt: skip
    pick = random.Random(port)

    async def one(probe: ProbeSpec) -> tuple[int, list[str]]:
        step = probe.steps[0]
        assert step.send is not None
        async with limit:
            message = render(step.send, facts, {}, pick)
            heard = await (_datagram if transport == "udp" else _stream)(port, message)
        return len(heard), [label for data in heard for label in likely(matcher, probe, message, data)]

    wanted = [
        probe
        for probe in probes
        if probe.transport == transport and probe.steps and probe.steps[0].send and not probe.special
    ]
    results = await asyncio.gather(*map(one, wanted))
    return sum(count for count, _ in results), [label for _, labels in results for label in labels]


async def _dialogues(endpoint: tuple[str, int], prober: Prober) -> list[str]:
    where = Endpoint(Transport(endpoint[0]), _OWN, endpoint[1])
    answer = await prober.ask(Question(endpoint=where, hints=Hints(candidates=HIDDEN)))
    return [
        f"{one.service} {one.confidence} ({one.signature})"
        for one in answer.evidence
        if one.service in HIDDEN and one.confidence.rank >= Confidence.LIKELY.rank
    ]


async def _main(places: list[list[object]]) -> None:
    signatures = load_signatures()
    matcher = Matcher(signatures)
    names = {one for name in (*HIDDEN, *_ALSO) for one in (name, *signatures.ancestors(name))}
    hidden = SignatureSet([one for name, one in signatures.services.items() if name in names])
    prober = Prober(hidden, Matcher(hidden), Settings(budget=_BUDGET), audit=lambda _entry: None)
    probes = [probe for one in signatures.services.values() for probe in one.probes]
    limit, few = asyncio.Semaphore(_AT_A_TIME), asyncio.Semaphore(64)

    async def one(kind: str, transport: str, port: int, wide: bool) -> None:
        async with few:
            answers, labels = await _all_questions((transport, port), probes, matcher, limit) if wide else (0, [])
            labels += await _dialogues((transport, port), prober)
        print(json.dumps([kind, transport, port, answers, labels]), flush=True)

    await asyncio.gather(*(one(str(a), str(b), int(str(c)), bool(d)) for a, b, c, d in places))
    await prober.close()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
