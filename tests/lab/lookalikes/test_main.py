"""What is told of those who were asked."""

from __future__ import annotations

from lab.lookalikes.__main__ import ENTRIES, PEERS, summary


def test_none_and_some_that_are_called_what_they_are_not() -> None:
    lines, false = summary([["chrony", "udp", 123, 3, []], ["random", "tcp", 4000, 0, []]])
    assert false == 0
    assert lines[-1] == "2 endpoints, 3 answers: 0 called what they are not"
    lines, false = summary([["chrony", "udp", 123, 3, ["skype/nack likely"]]])
    assert false == 1
    assert "chrony udp/123: skype/nack likely" in lines[1]


def test_a_peer_may_be_called_one_and_nothing_else() -> None:
    assert summary([["transmission", "udp", 51413, 2, ["bittorrent confirmed (bittorrent/krpc)"]]])[1] == 0
    assert summary([["transmission", "udp", 51413, 2, ["skype likely (skype/nack)"]]])[1] == 1
    assert set(ENTRIES) >= PEERS
