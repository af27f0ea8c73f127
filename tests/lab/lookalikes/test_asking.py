"""An answer is matched as the prober matches it, and only what hides is told."""

from __future__ import annotations

import random

from lab.lookalikes.asking import likely

from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from flowsonar.signatures.templates import ConnectionFacts, render

FACTS = ConnectionFacts(
    target_address=bytes(4), target_port=1, prober_address=bytes(4), prober_port=2, target_host=None,
)  # fmt: skip


def test_a_dht_node_is_told_and_a_name_server_is_not() -> None:
    signatures = load_signatures()
    matcher = Matcher(signatures, engine="re2")
    probe = signatures.probe("bittorrent/krpc-ping")
    template = probe.steps[0].send
    assert template is not None
    message = render(template, FACTS, {}, random.Random(1))
    transaction = message.sent["transaction"]
    answer = b"d1:rd2:id20:" + bytes(range(20)) + b"e1:t4:" + transaction + b"1:y1:re"
    assert likely(matcher, probe, message, answer) == ["bittorrent/krpc confirmed"]
    assert likely(matcher, probe, message, bytes.fromhex("000081800001000000000000")) == []
