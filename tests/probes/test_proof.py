"""The proof of a secret on two connections, in simulated time: who knows it, and who only looks so."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from flowsonar.config import Settings
from flowsonar.model import Confidence, Evidence
from flowsonar.probes.session import Session
from flowsonar.probes.special.mse import KEY_BYTES, Mse
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.simulation import Said, Server, Simulation
from tests.probes.world import question

SOON_S = 0.001
PICK = random.Random(5)


class Peer(Server):
    """The receiving side: answers 96 bytes with its key, waits for the hash within 512 bytes, closes when it is there.

    `closes_at` messages end it whatever they are, and so do bytes `after` so many; `deaf` never finds the hash.
    """

    def __init__(self, others: int, *, closes_at: int = 99, after: int = 9999, deaf: bool = False) -> None:
        super().__init__(others)
        self._pick = PICK
        self._closes_at, self._after, self._deaf = closes_at, after, deaf
        self._mse = Mse(self._pick)
        self._heard = b""
        self._messages = 0

    def does(self, data: bytes) -> list[Said]:
        said, closes = self.answer(data)
        return [(SOON_S, said)] * bool(said) + [(SOON_S, None)] * closes

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
    ("make", "confidence"),
    [
        (Peer, Confidence.CONFIRMED),
        (partial(Peer, deaf=True), Confidence.GUESS),
        (partial(Peer, closes_at=2, deaf=True), Confidence.GUESS),
        (partial(Peer, closes_at=3, deaf=True), Confidence.GUESS),
        (partial(Peer, closes_at=4, deaf=True), Confidence.GUESS),
        (partial(Peer, after=200, deaf=True), Confidence.GUESS),
        (partial(Peer, after=204, deaf=True), Confidence.GUESS),
        (partial(Peer, after=300, deaf=True), Confidence.GUESS),
    ],
)
@pytest.mark.parametrize("trip_s", [0.0001, 0.03])
@pytest.mark.parametrize("suspect", [True, False], ids=["suspect", "not suspect"])
def test_only_who_knows_the_secret_is_confirmed(
    make: Callable[[int], Peer], confidence: Confidence, suspect: bool, trip_s: float
) -> None:
    known = load_signatures().services["bittorrent"]
    evidence = _ask(SignatureSet([known]), make, suspect=suspect, trip_s=trip_s)
    assert max(piece.confidence.rank for piece in evidence if piece.service == "bittorrent") == confidence.rank


class Hasty(Peer):
    """Closes by itself, so long after its key; the hash says nothing to it."""

    def __init__(self, others: int, *, after_s: float) -> None:
        super().__init__(others, deaf=True)
        self._after_s = after_s

    def does(self, data: bytes) -> list[Said]:
        return [*super().does(data), (self._after_s, None)]


@pytest.mark.parametrize("after_s", [0.001, 0.004, 0.012, 0.024])
def test_an_end_that_comes_sooner_than_a_round_trip_is_no_answer(after_s: float) -> None:
    told: list[Evidence] = []
    signatures = SignatureSet([load_signatures().services["bittorrent"]])
    _ask(signatures, lambda others: Hasty(others, after_s=after_s), suspect=True, trip_s=0.03, note=told.append)
    assert max(piece.confidence.rank for piece in told) <= Confidence.GUESS.rank


class Impatient(Peer):
    """Finds the hash only where it comes right after the key, as webtorrent does: bytes before it make it deaf."""

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        key, closes = super().answer(data)
        return key, closes and self._messages == 2 and len(self._heard) < 200


class Asleep(Peer):
    """Gives its key, and takes whatever comes."""

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        return super().answer(data)[0], False


@pytest.mark.parametrize(
    ("make", "confidence"), [(Impatient, Confidence.LIKELY), (Asleep, Confidence.GUESS)], ids=["hash", "nothing"]
)
def test_who_finds_the_hash_only_at_once_is_likely(make: Callable[[int], Peer], confidence: Confidence) -> None:
    known = load_signatures().services["bittorrent"]
    evidence = _ask(SignatureSet([known]), make)
    assert max(piece.confidence.rank for piece in evidence if piece.service == "bittorrent") == confidence.rank


def test_who_does_not_answer_the_key_is_not_shown_it_again() -> None:
    keys = 0

    class Silent(Peer):
        """Takes everything and says nothing; counts the keys that it is shown."""

        def answer(self, data: bytes) -> tuple[bytes, bool]:
            nonlocal keys
            keys += len(data) in {KEY_BYTES, KEY_BYTES + 54}
            return b"", False

    _ask(SignatureSet([load_signatures().services["bittorrent"]]), Silent)
    assert keys == 1


def test_a_thousand_random_servers_are_nobody_s_peers() -> None:
    services = load_signatures().services
    signatures = SignatureSet([services["bittorrent"], services["skype"]])
    matcher = Matcher(signatures, engine="re2")
    for seed in range(1000):
        chance = random.Random(seed)

        class Babbler(Server):
            """Answers each message with random bytes of any number, and ends the connection at any time, or never."""

            def does(self, data: bytes, chance: random.Random = chance) -> list[Said]:
                often = chance.choice((0.2, 1.0))
                said = chance.randbytes(chance.choice((1, 14, 96, 100, 200, 600, 700)))
                words: list[Said] = [(SOON_S, said)] if chance.random() < often else []
                return [*words, (SOON_S, None)] if chance.random() < 0.2 else words

        for suspect in (False, True):
            found = _ask(signatures, Babbler, matcher, suspect=suspect, trip_s=(0.0001, 0.03)[seed % 2])
            assert not [piece.signature for piece in found if piece.confidence.rank >= Confidence.LIKELY.rank], seed


class OneOfAnAddress(Peer):
    """transmission: a second handshake of one address is turned away."""

    def does(self, data: bytes) -> list[Said]:
        return [(0.0, None)] if self.others else super().does(data)


@pytest.mark.parametrize("suspect", [True, False], ids=["suspect", "not suspect"])
def test_who_takes_one_connection_of_an_address_is_asked_one_after_the_other(suspect: bool) -> None:
    evidence = _ask(SignatureSet([load_signatures().services["bittorrent"]]), OneOfAnAddress, suspect=suspect)
    assert max(piece.confidence.rank for piece in evidence) == Confidence.CONFIRMED.rank


def test_what_the_first_connection_shows_is_told_before_the_second_is_done() -> None:
    told: list[Evidence] = []
    _ask(SignatureSet([load_signatures().services["bittorrent"]]), Peer, suspect=True, note=told.append)
    proved = [piece.confidence for piece in told if piece.signature == "bittorrent/mse"]
    assert proved == [Confidence.LIKELY, Confidence.CONFIRMED]


def _ask(
    signatures: SignatureSet,
    make: Callable[[int], Server],
    matcher: Matcher | None = None,
    *,
    suspect: bool = False,
    trip_s: float = 0.0001,
    note: Callable[[Evidence], None] = lambda _evidence: None,
) -> tuple[Evidence, ...]:
    session = Session(
        question("10.0.0.9:6881", candidates=("bittorrent",) if suspect else ()), signatures=signatures,
        matcher=matcher or Matcher(signatures, engine="re2"), settings=Settings(), now_s=0.0, pick=random.Random(7),
        note=note,
    )  # fmt: skip
    Simulation(make, trip_s=trip_s).run(session.talk())
    return session.evidence
