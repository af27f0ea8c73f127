"""Numbers of tunnels: equal for equal ones, put together where directions differ, free again when nobody uses them."""

from flowsonar.flows._reference_paths import PATH_FIRST, PATHS, Paths
from flowsonar.flows._reference_tunnels import Hop, Tunnel

A, B, X, Y = b"aaaa", b"bbbb", b"xxxx", b"yyyy"


def vxlan(vni: int, source: bytes = A, destination: bytes = B) -> Hop:
    return Hop(Tunnel.VXLAN, source, destination, vni)


def gtp(teid: int, source: bytes = A, destination: bytes = B) -> Hop:
    return Hop(Tunnel.GTP, source, destination, teid)


def test_without_tunnels_it_is_the_vlan() -> None:
    paths = Paths()
    assert paths.enter(7, [], X, Y) == 7
    paths.use(7)
    paths.drop(7)
    assert paths.hops(7) == ()


def test_both_directions_and_the_vlan() -> None:
    paths = Paths()
    one = paths.enter(0, [vxlan(1)], X, Y)
    paths.use(one)
    assert one == PATH_FIRST
    assert paths.enter(0, [vxlan(1, B, A)], Y, X) == one
    assert len({paths.enter(0, [vxlan(2)], X, Y), paths.enter(5, [vxlan(1)], X, Y), one}) == 3
    assert paths.hops(one) == (vxlan(1),)


def test_directions_are_put_together_by_what_is_inside() -> None:
    paths = Paths()
    one = paths.enter(0, [gtp(1)], X, Y)
    paths.use(one)
    other = paths.enter(0, [gtp(2)], X, Y)
    paths.use(other)
    assert other != one
    assert paths.enter(0, [gtp(9, B, A)], b"another", X) not in (one, other)
    assert paths.enter(0, [gtp(3, B, A)], Y, X) == other  # the one that began last
    assert paths.enter(0, [gtp(4, B, A)], Y, X) == one
    assert paths.enter(0, [gtp(3, B, A)], b"anything", X) == other


def test_a_path_goes_with_its_last_user_and_takes_those_around_it() -> None:
    paths = Paths()
    inner = paths.enter(0, [vxlan(1), gtp(2)], X, Y)
    paths.use(inner)
    paths.use(inner)
    paths.drop(inner)
    assert paths.hops(inner) == (vxlan(1), gtp(2))
    paths.drop(inner)
    assert paths.enter(0, [gtp(5)], X, Y) == PATH_FIRST  # the first number is free again


def test_room_is_bounded() -> None:
    paths = Paths()
    for number in range(PATHS):
        paths.use(paths.enter(0, [vxlan(number)], X, Y))
    assert paths.enter(3, [vxlan(PATHS)], X, Y) == 3
    assert paths.full == 1
