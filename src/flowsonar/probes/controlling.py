"""Control connections, and the answers that wait for them: whether a host takes connections to any port."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Generic, TypeVar

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Endpoint, Question, Transport
from flowsonar.probes.audit import CONTROL
from flowsonar.probes.control import Controls, Host, taken
from flowsonar.probes.engine import Channel
from flowsonar.probes.gate import Gate
from flowsonar.probes.moves import clamp
from flowsonar.probes.proof import PROOF
from flowsonar.probes.reactor import Reactor
from flowsonar.probes.routes import Routes
from flowsonar.probes.session import Session, planner_for
from flowsonar.probes.thrift import winner
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher

__all__ = ["CONTROL_FLOOR_S", "CONTROL_S", "Controlling"]

CONTROL_S: Final = 1.0
"""A control connection is over within this: it is to be seen whether it is taken, and what is said on it."""
CONTROL_FLOOR_S: Final = 0.1
"""Answers wait for a control connection to stand three round trips and this long; then its port is filtered."""

_T = TypeVar("_T")


class Controlling(Generic[_T]):
    """Belongs to one prober; a `_T` is one of its conversations. `close` it at the end.

    `settle` is told an answer for what it is worth, `pump` that a place may be free.
    """

    def __init__(
        self,
        signatures: SignatureSet,
        matcher: Matcher,
        settings: Settings,
        gate: Gate,
        routes: Routes,
        pick: random.Random,
        *,
        settle: Callable[[_T, Answer], None],
        pump: Callable[[], None],
    ) -> None:
        self._wanted = settings.budget.control
        self._signatures = signatures
        self._matcher = matcher
        budget = replace(settings.budget, max_probes=2, max_unanswered=0, timeout_s=CONTROL_S)
        self._settings = replace(settings, budget=budget)
        self._planner = planner_for(signatures, self._settings)
        self._gate = gate
        self._routes = routes
        self._pick = pick
        self._settle = settle
        self._pump = pump
        self._controls = Controls()
        self._channels: dict[str, Channel] = {}  # by host, while its control connection is under way
        self._held: dict[str, list[tuple[_T, Answer]]] = {}  # answers that wait for it

    def suspects(self, question: Question) -> bool:
        """Whether a connection is made as soon as the host turns out to be there: asked on no service's port.

        Where the flow points to who proves a secret (`proof`), it is made only where nothing was proved.
        """
        services = (self._signatures.services.get(name) for name in question.hints.candidates)
        secret = any(probe.special == PROOF for one in services if one is not None for probe in one.probes)
        return not secret and self._is_odd(question.endpoint)

    def _is_odd(self, endpoint: Endpoint) -> bool:
        wanted = self._wanted and endpoint.transport is Transport.TCP and endpoint.port >= 1024
        return wanted and not self._signatures.by_port(Transport.TCP, endpoint.port)

    def _is_unsure(self, answer: Answer) -> bool:
        """Whether who answers anything could have answered so: on no service's port, and no secret was proved."""
        proved = (
            self._signatures.probe(one.probe or "") for one in answer.evidence if one.confidence is Confidence.CONFIRMED
        )
        return self._is_odd(answer.endpoint) and not any(one is not None and one.special is not None for one in proved)

    def weigh(self, talk: _T, address: str, answer: Answer, reactor: Reactor | None) -> None:
        """Tell an answer, once it is known whether everything answers on its host."""
        if not self._wanted or not taken(answer) or reactor is None:
            self._settle(talk, answer)
            return
        host = self._controls.host(address, time.monotonic())
        if host is None and (winner(answer.evidence) is None or self._is_unsure(answer)):
            host = self.connect(address, reactor)
        if host is None or host.known_s is not None:
            self._settle(talk, answer if host is None else Controls.weighed(host, answer))
            return
        held = self._held.setdefault(address, [])
        held.append((talk, answer))
        if len(held) == 1:
            wait_s = clamp(3 * (answer.rtt_ms or 0.0) / 1000, 0.0, CONTROL_S) + CONTROL_FLOOR_S
            asyncio.get_running_loop().call_later(wait_s, self._hold_no_longer, address)

    def connect(self, address: str, reactor: Reactor) -> Host | None:
        """Make the next control connection to a host, unless it is known what it does."""
        host = self._controls.host(address, time.monotonic())
        if address in self._channels or (host is not None and host.known_s is not None):
            return host
        endpoint = Controls.port(address, self._pick, self._gate.forbids)
        host = host or self._controls.begin(address)
        if endpoint is None:
            host.known_s = time.monotonic()
            return host
        session = Session(
            Question(endpoint=endpoint),
            signatures=self._signatures,
            planner=self._planner,
            matcher=self._matcher,
            settings=self._settings,
            now_s=time.monotonic(),
            pick=self._pick,
            purpose=CONTROL,
        )
        channel = self._channels[address] = Channel(self._gate, reactor, self._routes, endpoint, address)
        self._gate.budget.take(address, time.monotonic())
        channel.start(session.talk(), partial(self._ended, address, host, reactor))
        return host

    def close(self) -> None:
        """End all; what waited for them was told by its conversation's end."""
        for channel in list(self._channels.values()):
            channel.cancel()
        self._channels.clear()
        self._held.clear()

    def _ended(
        self, address: str, host: Host, reactor: Reactor, answer: Answer | None, _problem: Exception | None
    ) -> None:
        self._channels.pop(address, None)
        if answer is None:
            host.known_s = time.monotonic()
        elif Controls.answered(host, answer, time.monotonic()):
            self.connect(address, reactor)
        if host.known_s is not None:
            for talk, held in self._held.pop(address, ()):
                self._settle(talk, Controls.weighed(host, held))
            self._pump()

    def _hold_no_longer(self, address: str) -> None:
        """A control connection that does not even stand is no sign: its port is filtered."""
        channel = self._channels.get(address)
        if channel is None or channel.stands:
            return
        for talk, held in self._held.pop(address, ()):
            self._settle(talk, held)
        self._pump()
