from flowsonar.probes.moves import Seen, clamp


def test_clamp():
    assert [clamp(value, 1, 3) for value in (0, 2, 9)] == [1, 2, 3]


def test_what_two_conversations_saw_is_their_own():
    one, other = Seen(), Seen()
    one.tried.append((None, None))
    one.spread.add(None)
    assert (other.tried, other.spread) == ([], set())
