"""Hosts that speak with peers: who told them apart, and for how long."""

from __future__ import annotations

import pytest

from flowsonar.model import Confidence, Verdict
from flowsonar.signatures.loader import load_signatures
from flowsonar.verdicts import peerhosts
from flowsonar.verdicts.peerhosts import PeerHosts

S = 1_000_000_000


@pytest.fixture(scope="module")
def signatures():
    return load_signatures()


def verdict(service, confidence=Confidence.LIKELY):
    return Verdict(service=service, confidence=confidence)


def test_a_host_counts_for_a_minute_after_its_last_flow_with_a_peer(signatures):
    hosts = PeerHosts(signatures)
    hosts.told("10.0.0.1", verdict("bittorrent"), 5 * S)
    assert hosts.speaks("10.0.0.1", 65 * S)
    assert not hosts.speaks("10.0.0.1", 66 * S)
    assert not hosts.speaks("10.0.0.2", 5 * S)


@pytest.mark.parametrize(
    "told", [verdict("http"), verdict("bittorrent", Confidence.GUESS), verdict(None, Confidence.UNKNOWN)]
)
def test_nothing_else_makes_one(signatures, told):
    hosts = PeerHosts(signatures)
    hosts.told("10.0.0.1", told, 0)
    assert not hosts.speaks("10.0.0.1", 0)


def test_the_longest_ago_is_forgotten_first(signatures, monkeypatch):
    monkeypatch.setattr(peerhosts, "HOSTS", 2)
    hosts = PeerHosts(signatures)
    for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3"):
        hosts.told(host, verdict("bittorrent"), 0)
    assert [hosts.speaks(f"10.0.0.{number}", 0) for number in (1, 2, 3)] == [True, False, True]
