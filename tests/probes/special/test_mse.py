"""Message stream encryption: both sides come to one secret, and only the hash of it ends the conversation."""

from __future__ import annotations

import hashlib
import random

import pytest

from flowsonar.config import Settings
from flowsonar.model import Confidence, Evidence, Outcome
from flowsonar.probes.dialogue import (
    Beside,
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Received,
    Send,
    Sent,
    TimedOut,
)
from flowsonar.probes.session import Session
from flowsonar.probes.special.mse import KEY_BYTES, Mse
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.world import question


def test_both_sides_come_to_one_secret() -> None:
    ours, theirs = Mse(random.Random(1)), Mse(random.Random(2))
    assert ours.hash(theirs.public_key) == theirs.hash(ours.public_key)
    assert ours.hash(theirs.public_key) != Mse(random.Random(3)).hash(theirs.public_key)


def test_the_key_is_made_anew_for_each_try() -> None:
    assert Mse(random.Random(1)).public_key != Mse(random.Random(2)).public_key
    assert len(Mse(random.Random(1)).public_key) == KEY_BYTES


@pytest.mark.parametrize("theirs", [bytes(KEY_BYTES), b"\xff" * KEY_BYTES, b"\x01" * 600])
def test_any_key_of_theirs_gives_a_hash(theirs: bytes) -> None:
    assert len(Mse(random.Random(1)).values([theirs])["hash"]) == hashlib.sha1(usedforsecurity=False).digest_size


def test_the_hash_is_for_the_latest_key() -> None:
    ours, first, second = Mse(random.Random(1)), Mse(random.Random(2)), Mse(random.Random(3))
    replies = [first.public_key, b"", b"short", second.public_key + b"padding", b""]
    assert ours.values(replies)["hash"] == second.hash(ours.public_key)
    assert ours.values([])["hash"] == bytes(20)


def test_who_closed_slowly_elsewhere_gets_longer_to_prove_that_it_stays() -> None:
    assert Mse.patience_s(closes=True, slowest_s=0.0, rtt_s=0.0, seconds=1.5) == 1.5
    assert Mse.patience_s(closes=False, slowest_s=0.0, rtt_s=0.0, seconds=1.6) < 0.3
    assert Mse.patience_s(closes=False, slowest_s=1.0, rtt_s=0.1, seconds=1.6) == 1.5
    assert Mse.patience_s(closes=False, slowest_s=9.0, rtt_s=0.1, seconds=1.6) == 1.6


def test_a_round_trip_is_waited_for_beside_what_who_closes_at_once_may_take() -> None:
    assert Mse.patience_s(closes=False, slowest_s=0.02, rtt_s=0.02, seconds=1.6) == pytest.approx(0.07)
    assert Mse.patience_s(closes=False, slowest_s=0.2, rtt_s=0.2, seconds=1.6) == pytest.approx(0.3)


def test_what_was_sent_with_the_key_is_waited_for_from_then_on() -> None:
    assert Mse.patience_s(closes=False, slowest_s=0.0, rtt_s=0.02, seconds=1.6, since_s=0.03) == pytest.approx(0.04)
    assert Mse.patience_s(closes=False, slowest_s=0.0, rtt_s=0.02, seconds=1.6, since_s=1.0) == pytest.approx(0.02)
    assert Mse.patience_s(closes=True, slowest_s=0.0, rtt_s=0.02, seconds=1.5, since_s=1.0) == 1.5


class Peer:
    """The receiving side: answers 96 bytes with its key, waits for the hash within 512 bytes, closes when it is there.

    `closes_at` messages end it whatever they are, and so do bytes `after` so many; `deaf` never finds the hash.
    """

    def __init__(self, *, closes_at: int = 99, after: int = 9999, deaf: bool = False) -> None:
        self._pick = random.Random(5)
        self._closes_at, self._after, self._deaf = closes_at, after, deaf
        self.begin()

    def begin(self) -> None:
        self._mse = Mse(self._pick)
        self._heard = b""
        self._messages = 0

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        self._messages += 1
        before, self._heard = self._heard, self._heard + data
        if self._messages >= self._closes_at or len(self._heard) >= self._after:
            return b"", True
        if len(before) < KEY_BYTES <= len(self._heard):
            return self._mse.public_key + self._pick.randbytes(40), False
        if len(before) >= KEY_BYTES:
            found = self._mse.hash(self._heard[:KEY_BYTES]) in self._heard[KEY_BYTES:]
            return b"", found and not self._deaf
        return b"", False


@pytest.mark.parametrize(
    ("peer", "confidence"),
    [
        (Peer(), Confidence.CONFIRMED),
        (Peer(deaf=True), Confidence.GUESS),
        (Peer(closes_at=2, deaf=True), Confidence.GUESS),
        (Peer(closes_at=3, deaf=True), Confidence.GUESS),
        (Peer(closes_at=4, deaf=True), Confidence.GUESS),
        (Peer(after=200, deaf=True), Confidence.GUESS),
        (Peer(after=300, deaf=True), Confidence.GUESS),
    ],
)
def test_only_who_knows_the_secret_is_confirmed(peer: Peer, confidence: Confidence) -> None:
    known = load_signatures().services["bittorrent"]
    evidence = _ask(SignatureSet([known]), peer)
    assert max(piece.confidence.rank for piece in evidence if piece.service == "bittorrent") == confidence.rank


class Impatient(Peer):
    """Finds the hash only where it comes right after the key, as webtorrent does: bytes before it make it deaf."""

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        key, closes = super().answer(data)
        return key, closes and self._messages == 2


class Asleep(Peer):
    """Gives its key, and takes whatever comes."""

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        return super().answer(data)[0], False


class Silent(Peer):
    """Takes everything and says nothing; counts the keys that it is shown."""

    keys = 0

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        self.keys += len(data) in {KEY_BYTES, KEY_BYTES + 54}
        return b"", False


@pytest.mark.parametrize(
    ("peer", "confidence"), [(Impatient(), Confidence.LIKELY), (Asleep(), Confidence.GUESS)], ids=["hash", "nothing"]
)
def test_who_finds_the_hash_only_at_once_is_likely(peer: Peer, confidence: Confidence) -> None:
    known = load_signatures().services["bittorrent"]
    evidence = _ask(SignatureSet([known]), peer)
    assert max(piece.confidence.rank for piece in evidence if piece.service == "bittorrent") == confidence.rank


def test_who_does_not_answer_the_key_is_not_shown_it_again() -> None:
    silent = Silent()
    _ask(SignatureSet([load_signatures().services["bittorrent"]]), silent)
    assert silent.keys == 1


class Babbler(Peer):
    """Answers each message with random bytes of any number, and ends the connection at any time, or never."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        super().__init__()

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        often = self._chance.choice((0.2, 1.0))
        said = self._chance.randbytes(self._chance.choice((1, 14, 96, 100, 200, 600, 700)))
        return said if self._chance.random() < often else b"", self._chance.random() < 0.2


def test_a_thousand_random_servers_are_nobody_s_peers() -> None:
    services = load_signatures().services
    signatures = SignatureSet([services["bittorrent"], services["skype"]])
    matcher = Matcher(signatures, engine="re2")
    for seed in range(1000):
        found = _ask(signatures, Babbler(seed), matcher)
        assert not [piece.signature for piece in found if piece.confidence.rank >= Confidence.LIKELY.rank], seed


def _ask(signatures: SignatureSet, peer: Peer, matcher: Matcher | None = None) -> tuple[Evidence, ...]:
    session = Session(
        question("10.0.0.9:6881"), signatures=signatures, matcher=matcher or Matcher(signatures, engine="re2"),
        settings=Settings(), now_s=0.0, pick=random.Random(7),
    )  # fmt: skip
    now_s, waiting = 0.0, (b"", False)

    def event(command: Command) -> Event:
        nonlocal now_s, waiting
        match command:
            case Connect():
                peer.begin()
                waiting = (b"", False)
                return Connected(now_s, 0.001, "10.0.0.1", 40000)
            case Send(data=data):
                waiting = peer.answer(data)
                return Sent(now_s)
            case Close():
                return Closed(now_s)
        data, ends = waiting
        if data:
            waiting = (b"", ends)
            return Received(now_s, data)
        if ends:
            return Ended(now_s, Outcome.CLOSED)
        now_s += command.seconds
        return TimedOut(now_s)

    talk = session.talk()
    command = next(talk)
    try:
        while not isinstance(command, Beside):  # what is asked side by side is asked of nobody who may be a peer
            command = talk.send(event(command))
    except StopIteration as stop:
        return tuple(stop.value.evidence)
    talk.close()
    return session.evidence
