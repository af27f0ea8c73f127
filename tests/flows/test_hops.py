"""Names of tunnels."""

from flowsonar.flows._reference_tunnels import Hop, Tunnel
from flowsonar.flows.hops import HOP_BYTES, hop_names, pack_hop
from tests.flows.tunnels import A6, B6, A, B


def test_none() -> None:
    assert hop_names(b"") == ()


def test_several_and_every_kind() -> None:
    hops = [Hop(kind, A, B, 5) for kind in Tunnel] + [Hop(Tunnel.IPV4, A6, B6, 0)]
    packed = b"".join(pack_hop(hop) for hop in hops)
    assert len(packed) == HOP_BYTES * len(hops) == 40 * len(hops)
    names = hop_names(packed)
    assert names[0] == "ipip 192.0.2.1 > 192.0.2.2 5"
    assert names[-1] == "4in6 2001:db8::1 > 2001:db8::2"
    assert len({name.split()[0] for name in names}) == len(names)
