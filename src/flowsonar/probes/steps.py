"""How far a probe's steps have come, and what was said and heard on the way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from copy import copy

from flowsonar.probes.special.computed import computed
from flowsonar.signatures.language import ProbeSpec, Signature, Step
from flowsonar.signatures.matcher import Reply

__all__ = ["Steps"]

_RTT_UNKNOWN_S = 0.05
STAYS_S = 1.6
"""The longest wait to see that a connection goes on."""


class Steps:
    """One probe being put. `starttls`: the signature's steps to TLS come first where the probe wants them."""

    def __init__(self, probe: ProbeSpec, services: Mapping[str, Signature], pick: random.Random) -> None:
        before = services[probe.service].starttls if probe.starttls else ()
        self.probe = probe
        self.steps: tuple[Step, ...] = (*before, *probe.steps)
        self._computed = computed(probe.special, pick)
        self._before = len(before)
        self._begin()

    def anew(self) -> Steps:
        """The same steps from the beginning, with the same keys: for a connection that is compared to this one's."""
        other = copy(self)
        other._begin()
        return other

    def _begin(self) -> None:
        self.number = 0
        self.first = True  # no step was made on a connection yet
        self.known: dict[str, bytes] = {}
        self.groups: dict[str, str] = {}
        self.messages: list[bytes] = []
        self.previous: list[bytes] = []
        self.slowest_s = 0.0
        self.said_s = 0.0  # when the last message was sent
        self.first_s = 0.0  # how long the first reply took
        self.reached = False  # something was proved half-way

    def compute(self) -> None:
        """Values that take arithmetic, for the next message."""
        if self._computed is not None:
            self.known.update(self._computed.values(self.previous))

    def whole(self, step: Step) -> int:
        """How many bytes are enough of a reply to compute with, where the next step's may begin with the rest."""
        after = self.steps[self.number + 1] if self.number + 1 < len(self.steps) else None
        length, rest = (one.expect.length if one and one.expect else None for one in (step, after))
        if self._computed is None or length is None or rest is None or rest[1] < length[1] - length[0]:
            return 0
        return length[0]

    def patience_s(self, step: Step, seconds: float, rtt_s: float | None, now_s: float) -> float:
        """How long to wait for a step's reply; `rtt_s` of the connection where it is known."""
        expect = step.expect
        if self._computed is None or expect is None or expect.closed is None:
            return seconds
        trip_s = _RTT_UNKNOWN_S if rtt_s is None else rtt_s
        return self._computed.patience_s(
            closes=expect.closed, slowest_s=max(self.slowest_s, trip_s), rtt_s=trip_s, seconds=seconds,
            since_s=0.0 if step.send is not None else now_s - self.said_s,
        )  # fmt: skip

    def stays_s(self, *, rtt_s: float | None, closes_s: float, now_s: float) -> float:
        """How long from now a connection has to stand to show that it goes on; `closes_s`: one was closed in."""
        assert self._computed is not None
        trip_s = _RTT_UNKNOWN_S if rtt_s is None else rtt_s
        return self._computed.patience_s(
            closes=False, slowest_s=max(closes_s, trip_s), rtt_s=trip_s, seconds=STAYS_S, since_s=now_s - self.said_s
        )

    @property
    def step(self) -> Step | None:
        """The next one; None when all were made."""
        return self.steps[self.number] if self.number < len(self.steps) else None

    @property
    def is_last_before_tls(self) -> bool:
        """The handshake begins as soon as the next step is said, where nothing is expected of it."""
        return 0 < self._before == self.number + 1

    @property
    def turns_to_tls(self) -> bool:
        """The last step was the one after which the handshake begins."""
        return 0 < self._before == self.number

    @property
    def secured(self) -> bool:
        """Further steps are made inside TLS."""
        return 0 < self._before <= self.number

    def heard(self, reply: Reply, held: dict[str, str]) -> None:
        """A step's reply was as expected."""
        self.groups.update(held)
        self.known.update({name: value.encode("latin-1", "replace") for name, value in held.items()})
        self.previous.append(reply.data)
        self.number += 1
        self.first = False

    def skip(self, reply: Reply) -> None:
        """The first step was answered before."""
        self.messages.append(reply.message)
        self.previous.append(reply.data)
        self.number += 1
