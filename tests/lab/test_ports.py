"""Random ports."""

from lab.ports import Ports


def test_the_same_seed_gives_the_same_ports_and_none_twice() -> None:
    first, second = Ports(5), Ports(5)
    ports = [first.one() for _ in range(3000)]  # the whole catalogue takes some five hundred
    assert ports == [second.one() for _ in range(3000)]
    assert len(set(ports)) == 3000
    assert Ports(6).one() != ports[0]


def test_ranges_do_not_meet_each_other_nor_single_or_ephemeral_ports() -> None:
    ports = Ports(1)
    singles = {ports.one() for _ in range(400)}
    ranges = [ports.range() for _ in range(30)]
    covered = [port for low, high in ranges for port in range(low, high + 1)]
    assert len(covered) == len(set(covered))
    assert not singles & set(covered)
    assert max(covered) < 32768
