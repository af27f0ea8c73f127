"""One letter changed, on connections side by side, in simulated time: who knows the word, and who does not."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest

from flowsonar.config import Settings
from flowsonar.model import Confidence, Evidence, Outcome
from flowsonar.probes import contrast
from flowsonar.probes.dialogue import (
    Attend,
    Attended,
    Begun,
    Beside,
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Part,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
)
from flowsonar.probes.session import Session
from flowsonar.probes.special.mse import KEY_BYTES, Mse
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.world import question

WORD = b"\x13BitTorrent protocol"
PICK = random.Random(5)
Said = tuple[float, bytes | None]
"""After how many seconds: bytes, or None for the end of the connection."""


class Server:
    """What one connection does; `others` of the same address stand already."""

    def __init__(self, others: int = 0) -> None:
        self.heard, self.others = b"", others

    def takes(self, data: bytes) -> list[Said]:
        self.heard += data
        return self.does(data)

    def does(self, data: bytes) -> list[Said]:
        return []


class Peer(Server):
    """A BitTorrent client with an upload limit: it reads at once, and sends at its next turn."""

    takes_clear, takes_key, turn_s = True, True, 0.9

    def does(self, data: bytes) -> list[Said]:
        if len(self.heard) < len(WORD):
            return []
        if self.heard.startswith(WORD):
            return [(0.001, None)] if not self.takes_clear or len(self.heard) >= 48 else []
        if not self.takes_key:
            return [(0.001, None)]
        if len(self.heard) >= KEY_BYTES and not hasattr(self, "mse"):
            self.mse = Mse(PICK)
            return [(self.turn_s, self.mse.public_key)]
        if hasattr(self, "mse") and self.mse.hash(self.heard[:KEY_BYTES]) in self.heard[KEY_BYTES:]:
            return [(0.001, None)]
        return []


class Required(Peer):
    takes_clear = False


class ClearOnly(Peer):
    takes_key = False


class OneOfAnAddress(Required):
    """transmission: a second handshake of one address is turned away."""

    def takes(self, data: bytes) -> list[Said]:
        return [(0.0, None)] if self.others else super().takes(data)


class Turning(Server):
    """It closes whatever comes at its next turn."""

    def does(self, data: bytes) -> list[Said]:
        return [(0.5, None)]


class Counting(Server):
    """It closes after so many bytes."""

    def does(self, data: bytes) -> list[Said]:
        return [(0.001, None)] if len(self.heard) >= 60 else []


class OneByOne(Turning):
    """It takes one connection of an address, and is silent on it."""

    def does(self, data: bytes) -> list[Said]:
        return [(0.0, None)] if self.others else []


class Closing(Server):
    """It closes at the first byte."""

    def does(self, data: bytes) -> list[Said]:
        return [(0.001, None)]


class Deaf(Server):
    """It waits for more."""


class Channel:
    """One conversation of the simulation."""

    def __init__(self, talk: Talk[object], parent: Channel | None) -> None:
        self.talk, self.parent = talk, parent
        self.children: list[Channel] = []
        self.server: Server | None = None
        self.coming: list[tuple[float, int, bytes | None]] = []
        self.ended = self.over = self.news = False
        self.wake: tuple[float, type] | None = None


class Simulation:
    """Runs conversations side by side against servers that `make` makes, one a connection."""

    def __init__(self, make: Callable[[int], Server]) -> None:
        self._make, self._now_s, self._serial = make, 0.0, count()
        self._channels: list[Channel] = []
        self.connections = 0

    def run(self, talk: Talk[object]) -> None:
        main = self._begin(talk, None)
        for _ in range(100_000):
            if main.over:
                return
            channel, when_s = min(
                ((one, self._due(one)) for one in self._channels if not one.over and one.wake), key=lambda item: item[1]
            )
            self._now_s = max(self._now_s, when_s)
            self._go_on(channel, self._event(channel))
        raise AssertionError("a conversation without end")

    def _begin(self, talk: Talk[object], parent: Channel | None) -> Channel:
        channel = Channel(talk, parent)
        self._channels.append(channel)
        self._go_on(channel, None)
        return channel

    def _due(self, channel: Channel) -> float:
        assert channel.wake is not None
        due_s, _ = channel.wake
        if channel.news and channel.wake[1] is Attend:
            return self._now_s
        if channel.coming or channel.ended:
            due_s = min(due_s, channel.coming[0][0] if channel.coming else self._now_s)
        return due_s

    def _event(self, channel: Channel) -> Event:
        assert channel.wake is not None
        waits, channel.wake = channel.wake[1], None
        readable = channel.ended or bool(channel.coming and channel.coming[0][0] <= self._now_s)
        if waits is Attend:
            channel.news = False
            return Attended(self._now_s, readable)
        if channel.coming and readable and not channel.ended:
            data = heapq.heappop(channel.coming)[2]
            if data is not None:
                return Received(self._now_s, data)
            channel.ended = True
        return Ended(self._now_s, Outcome.CLOSED) if channel.ended else TimedOut(self._now_s)

    def _go_on(self, channel: Channel, event: Event | None) -> None:
        try:
            command = next(channel.talk) if event is None else channel.talk.send(event)
            while (answer := self._do(channel, command)) is not None:
                command = channel.talk.send(answer)
        except StopIteration:
            self._end(channel)

    def _end(self, channel: Channel) -> None:
        for child in channel.children:
            if not child.over:
                child.talk.close()
                self._end(child)
        channel.over, channel.server = True, None
        if channel.parent is not None:
            channel.parent.news = True

    def _do(self, channel: Channel, command: Command) -> Event | None:
        self._now_s += 1e-5
        match command:
            case Connect():
                others = sum(one.server is not None for one in self._channels if one is not channel)
                channel.server, channel.coming, channel.ended = self._make(others), [], False
                self.connections += 1
                return Connected(self._now_s, 0.0001, "10.0.0.1", 40000)
            case Send(data=data):
                assert channel.server is not None
                for after_s, said in channel.server.takes(data):
                    heapq.heappush(channel.coming, (self._now_s + after_s, next(self._serial), said))
                return Sent(self._now_s)
            case Close():
                channel.server, channel.coming, channel.ended = None, [], False
                return Closed(self._now_s)
            case Beside(talk=talk):
                channel.children.append(self._begin(talk, channel))
                return Begun(self._now_s)
            case Part():
                for child in channel.children:
                    if not child.over:
                        child.talk.close()
                        self._end(child)
                return Closed(self._now_s)
        channel.wake = (self._now_s + command.seconds, type(command))
        return None


@pytest.fixture(scope="module")
def known() -> tuple[SignatureSet, Matcher]:
    signatures = SignatureSet([load_signatures().services["bittorrent"]])
    return signatures, Matcher(signatures, engine="re2")


def _asked(known: tuple[SignatureSet, Matcher], make: Callable[[int], Server]) -> tuple[list[Evidence], int]:
    signatures, matcher = known
    session = Session(
        question("10.0.0.9:26881", candidates=("bittorrent",)), signatures=signatures, matcher=matcher,
        settings=Settings(), now_s=0.0, pick=random.Random(7),
    )  # fmt: skip
    simulation = Simulation(make)
    simulation.run(session.talk())
    return [piece for piece in session.evidence if piece.service == "bittorrent"], simulation.connections


def _best(evidence: list[Evidence], signature: str) -> Confidence | None:
    return max(
        (one.confidence for one in evidence if one.signature == signature), key=lambda one: one.rank, default=None
    )


@pytest.mark.parametrize(
    ("make", "word", "proof"),
    [
        (Required, Confidence.LIKELY, Confidence.CONFIRMED),
        (Peer, Confidence.LIKELY, Confidence.CONFIRMED),
        (ClearOnly, Confidence.LIKELY, None),
        (OneOfAnAddress, None, Confidence.CONFIRMED),
    ],
)
def test_peers(
    known: tuple[SignatureSet, Matcher],
    make: Callable[[int], Server],
    word: Confidence | None,
    proof: Confidence | None,
) -> None:
    found, connections = _asked(known, make)
    assert _best(found, "bittorrent/handshake") is word
    assert _best(found, "bittorrent/mse") is proof
    assert connections <= 3


@pytest.mark.parametrize("make", [Turning, Counting, OneByOne, Closing, Deaf])
def test_who_does_not_know_the_word(known: tuple[SignatureSet, Matcher], make: Callable[[int], Server]) -> None:
    found, _ = _asked(known, make)
    assert not [one for one in found if one.confidence.rank >= Confidence.LIKELY.rank]


def test_a_thousand_servers_that_do_anything_are_nobody_s_peers(known: tuple[SignatureSet, Matcher]) -> None:
    class Anything(Server):
        """Its habits, and what it does with what it heard, are the same on all connections."""

        habit = 0

        def does(self, data: bytes) -> list[Said]:
            now = random.Random(f"{self.habit} {self.heard[:1].hex()} {len(self.heard)}")
            said: list[Said] = [(now.choice((0.001, 0.3)), now.randbytes(now.choice((4, 20, 96))))]
            ends: list[Said] = [(now.choice((0.001, 0.04, 0.5)), None)]
            return now.choice(([], [], said, ends, ends))

    for seed in range(1000):
        Anything.habit = seed
        found, _ = _asked(known, Anything)
        assert not [one.signature for one in found if one.confidence.rank >= Confidence.LIKELY.rank], seed


def test_who_closes_by_chance_is_nobody_s_peer(known: tuple[SignatureSet, Matcher]) -> None:
    chance = random.Random(4)

    class Moody(Server):
        def does(self, data: bytes) -> list[Said]:
            return [(0.001, None)] if chance.random() < 0.2 else []

    false = 0
    for _ in range(500):
        found, _ = _asked(known, Moody)
        false += any(one.confidence.rank >= Confidence.LIKELY.rank for one in found)
    assert false == 0


@pytest.mark.parametrize(("after_s", "likely"), [(0.001, False), (0.5, True)])
def test_only_who_works_in_turns_may_leave_the_second_key_unanswered(
    known: tuple[SignatureSet, Matcher], after_s: float, likely: bool
) -> None:
    keys = 0

    class Once(Server):
        """It answers the first key, and closes at what comes then; later it is silent."""

        mine = False

        def does(self, data: bytes) -> list[Said]:
            nonlocal keys
            if len(data) > KEY_BYTES and not keys:
                keys, self.mine = 1, True
                return [(after_s, PICK.randbytes(KEY_BYTES))]
            return [(0.001, None)] if self.mine else []

    found, _ = _asked(known, Once)
    assert any(one.confidence.rank >= Confidence.LIKELY.rank for one in found) is likely


def test_nothing_is_put_beside_where_the_flow_shows_nothing(known: tuple[SignatureSet, Matcher]) -> None:
    signatures, matcher = known
    session = Session(
        question("10.0.0.9:26881"), signatures=signatures, matcher=matcher, settings=Settings(), now_s=0.0,
        pick=random.Random(7),
    )  # fmt: skip
    Simulation(Required).run(session.talk())
    assert _best(list(session.evidence), f"bittorrent/{contrast.CONTRAST}") is None
    assert _best(list(session.evidence), "bittorrent/handshake") is None
