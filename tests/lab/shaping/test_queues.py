from lab.shaping.queues import rules, shared_queue


def test_the_hand_knows_every_peer() -> None:
    text = rules([("198.18.50.10", 4000), ("198.18.50.11", 4001)])
    assert "198.18.50.10 . 4000, 198.18.50.11 . 4001" in text
    assert text.count("meta priority set 1:60") == 2
    assert text.count("meta priority set 1:20 ip dscp set 46") == 2


def test_the_shared_queue_has_the_same_bandwidths() -> None:
    up, down = shared_queue()
    assert "dev wan root tbf rate 4800kbit" in up
    assert "dev lan root tbf rate" in down
