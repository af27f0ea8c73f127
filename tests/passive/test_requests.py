"""Requests by their lengths: all conditions together, and nothing of it by chance."""

from __future__ import annotations

import random
from typing import Final

import pytest

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence
from flowsonar.passive import PassiveReader
from flowsonar.passive.requests import Requests, like_requests
from flowsonar.signatures import Matcher, load_signatures

BLOCK: Final = 16397
# Length and what was acknowledged before it, of connections with encryption required
ARIA2: Final = [(17, 16397), (17, 32794), (17, 49191)]  # aria2 1.36 sends to libtorrent 2.1.1
TRANSMISSION: Final = [(17, 15000), (26, 30000), (17, 48000)]  # transmission 3.00 to aria2
NAT: Final = [(34, 30000), (9, 30000), (34, 60000)]  # transmission 3.00 to libtorrent 2.1.1


def payloads(said: list[tuple[int, int]], *, seed: int = 5, start: int = 4_294_950_000) -> list[Payload]:
    pick, offset, made = random.Random(seed), 0, []
    for index, (length, came) in enumerate(said):
        data = pick.randbytes(length)
        made.append(Payload(1, index * 1000, 1, index, offset, data, length, 0, (start + came) % (1 << 32)))
        offset += length
    return made


def told(said: list[Payload], other: bytes = b"") -> Confidence:
    flow = Requests(1)
    found = [one for one in (flow.feed(one, other) for one in said) if one is not None]
    assert len(found) <= 1
    return found[0].confidence if found else Confidence.UNKNOWN


@pytest.mark.parametrize("said", [ARIA2, TRANSMISSION, NAT])
def test_peers_that_fetch(said: list[tuple[int, int]]) -> None:
    assert told(payloads(said)) is Confidence.LIKELY
    assert told(payloads(said), random.Random(1).randbytes(256)) is Confidence.LIKELY


@pytest.mark.parametrize(
    "said",
    [
        [(17, 0), (17, 100), (17, 200)],  # nothing came for it
        [(17, 0), (17, 60_000), (17, 120_000)],  # far too much came
        [(17, 0), (18, BLOCK), (17, 2 * BLOCK)],
        [(17, 0), (26, 2 * BLOCK)],  # two are enough only of requests alone
        [(9, 0), (9, BLOCK), (17, 2 * BLOCK)],  # only one request
        [(36, 0), (36, BLOCK), (36, 2 * BLOCK)],  # SSH's shortest
        [(17 * 9, 0), (17, BLOCK), (17, 2 * BLOCK)],
    ],
)
def test_other_lengths_and_amounts(said: list[tuple[int, int]]) -> None:
    assert told(payloads(said)) is Confidence.UNKNOWN


def test_what_is_seen_of_it_must_look_enciphered_and_be_whole() -> None:
    said = payloads(ARIA2)
    assert told(said, b"220 ready, and more text") is Confidence.UNKNOWN
    assert told([one._replace(data=b"GET / HTTP/1.1\r\n\r"[:17]) for one in said]) is Confidence.UNKNOWN
    records = [one._replace(data=b"\x17\x03\x03\x00\x0c" + one.data[5:]) for one in said]
    assert told(records) is Confidence.UNKNOWN
    assert told([said[0], said[1]._replace(offset=80), said[2]._replace(offset=97)]) is Confidence.UNKNOWN
    assert told([one._replace(acknowledges=0) for one in said]) is Confidence.UNKNOWN


def test_a_fourth_payload_and_the_other_direction_change_nothing() -> None:
    flow, said = Requests(1), payloads(ARIA2)
    assert flow.feed(said[0]._replace(direction=0), b"") is None
    assert [flow.feed(one, b"") is None for one in said] == [True, False, True]
    flow = Requests(1)
    assert [flow.feed(one, b"") is None for one in payloads(NAT)] == [True, True, False]
    assert flow.feed(said[2], b"") is None


def test_random_flows_hardly_ever_meet_it() -> None:
    pick, met, tries = random.Random(7), 0, 20_000
    for number in range(tries):
        came, said = 0, []
        for _ in range(3):
            said.append((pick.randint(1, 64), came))
            came += int(1000 * 100 ** pick.random())
        met += told(payloads(said, seed=number)) is not Confidence.UNKNOWN
    assert met <= tries // 500


def test_lengths() -> None:
    assert [length for length in range(200) if like_requests(length)] == [
        9, 17, 26, 34, 43, 51, 60, 68, 77, 85, 94, 102, 111, 119, 128, 136, 145,
    ]  # fmt: skip


@pytest.mark.parametrize(("midstream", "expected"), [(True, ["bittorrent"]), (False, [])])
def test_the_reader_asks_only_flows_from_the_middle(midstream: bool, expected: list[str]) -> None:
    signatures = load_signatures()
    reader = PassiveReader(Matcher(signatures, engine="re2"), signatures)
    flow = reader.open(Opened(1, 0, 6, bytes([10, 0, 0, 1]), 40000, bytes([10, 0, 0, 2]), 50000, 0, 0, midstream))
    block = random.Random(2).randbytes(1448)
    found = [reader.payload(flow, Payload(1, 0, 0, 0, 0, block, len(block), 0))]
    found += [reader.payload(flow, one) for one in payloads(TRANSMISSION)]
    assert [piece.service for one in found for piece in one.evidence] == expected
