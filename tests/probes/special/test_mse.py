"""Message stream encryption: both sides come to one secret, and only the hash of it ends the conversation."""

from __future__ import annotations

import hashlib
import random

import pytest

from flowsonar.probes.special.mse import KEY_BYTES, Mse


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


def test_a_key_reads_as_part_of_a_line() -> None:
    keys = [Mse(random.Random(seed)).public_key for seed in range(500)]
    assert len(set(keys)) == 500
    assert all(key[:1].decode("ascii").isprintable() and key[:1] != b" " for key in keys)
    assert not any(set(key) & {0, 10, 13} for key in keys)
    assert len({key[0] for key in keys}) > 80
    assert sum(len(set(key)) for key in keys) / 500 > 75  # as many as of random bytes: 80
