"""One letter changed, on connections side by side, in simulated time: who knows the word, and who does not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from flowsonar.config import Settings
from flowsonar.model import Confidence, Evidence
from flowsonar.probes import contrast
from flowsonar.probes.session import Session
from flowsonar.probes.special.mse import KEY_BYTES, Mse
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.simulation import Said, Server, Simulation
from tests.probes.world import question

WORD = b"\x13BitTorrent protocol"
PICK = random.Random(5)


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


@pytest.mark.parametrize("turn_s", [0.02 + 0.005 * place for place in range(24)])
@pytest.mark.parametrize("closes_s", [0.001, 0.05, 5.0])
def test_three_connections_are_enough_whenever_the_key_comes(
    known: tuple[SignatureSet, Matcher], turn_s: float, closes_s: float
) -> None:
    class Busy(Required):
        """It closes late what it does not take."""

        def does(self, data: bytes) -> list[Said]:
            said = super().does(data)
            return [(closes_s, None)] if self.heard.startswith(WORD) and said else said

    Busy.turn_s = turn_s
    found, connections = _asked(known, Busy)
    best = _best(found, "bittorrent/mse")
    assert best is not None
    assert best.rank >= Confidence.LIKELY.rank
    assert best is Confidence.CONFIRMED or closes_s > contrast.CLOSES_S
    assert connections <= 3


@pytest.mark.parametrize("make", [Turning, Counting, OneByOne, Closing, Deaf])
def test_who_does_not_know_the_word(known: tuple[SignatureSet, Matcher], make: Callable[[int], Server]) -> None:
    found, _ = _asked(known, make)
    assert not [one for one in found if one.confidence.rank >= Confidence.LIKELY.rank]


@pytest.mark.parametrize("number", range(18, 160, 2))
def test_who_counts_bytes_does_not_know_the_word(known: tuple[SignatureSet, Matcher], number: int) -> None:
    class Measured(Server):
        """It has read a whole message, as the length in it says; YAZ takes the word's `B` for one in BER."""

        def does(self, data: bytes) -> list[Said]:
            return [(0.001, None)] if self.heard[0] == WORD[0] and len(self.heard) >= number else []

    found, _ = _asked(known, Measured)
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
    assert false <= 1  # it takes four such chances in a row: less than one in ten thousand


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


def test_what_the_flow_says_meanwhile_ends_questions_that_were_put_blindly() -> None:
    signatures = load_signatures()
    asked = question("10.0.0.9:26881")
    connections = 0

    def make(others: int) -> Server:
        nonlocal connections
        connections += 1
        if connections == 4:
            asked.hints.candidates = ("bittorrent",)
        return Required(others)

    session = Session(
        asked, signatures=signatures, matcher=Matcher(signatures, engine="re2"), settings=Settings(), now_s=0.0,
        pick=random.Random(7),
    )  # fmt: skip
    Simulation(make).run(session.talk())
    assert _best(list(session.evidence), "bittorrent/mse") is Confidence.CONFIRMED
    assert connections <= 7


def test_nothing_is_put_beside_where_the_flow_shows_nothing(known: tuple[SignatureSet, Matcher]) -> None:
    signatures, matcher = known
    session = Session(
        question("10.0.0.9:26881"), signatures=signatures, matcher=matcher, settings=Settings(), now_s=0.0,
        pick=random.Random(7),
    )  # fmt: skip
    Simulation(Required).run(session.talk())
    assert _best(list(session.evidence), f"bittorrent/{contrast.CONTRAST}") is None
    assert _best(list(session.evidence), "bittorrent/handshake") is None
