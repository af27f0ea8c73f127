"""A mode's truth and how labels are judged by it."""

from __future__ import annotations

import pytest
from lab.traffic.catalogue import families
from lab.traffic.mode import Expected, judged
from lab.truth import TLS, Judgement

RTP = Expected(service="rtp", transport="udp", low=5000, high=5010)
SIPS = Expected(service="sip", transport="tcp", low=5061, high=5061, over=TLS)
NOBODY = Expected(service="", transport="udp")
PARENTS = {"rtp": "dtls", "dtls": "stun", "turn": "stun"}


@pytest.mark.parametrize(
    ("expected", "service", "over", "judgement"),
    [
        (RTP, "rtp", None, Judgement.RIGHT),
        (RTP, "dtls", None, Judgement.OUTSIDE),
        (RTP, "stun", None, Judgement.OUTSIDE),
        (RTP, "rtp", "dtls", Judgement.OUTSIDE),
        (RTP, "skype", None, Judgement.WRONG),
        (RTP, None, None, Judgement.UNKNOWN),
        (SIPS, "sip", "tls", Judgement.RIGHT),
        (SIPS, "tls", None, Judgement.OUTSIDE),
        (SIPS, "sip", None, Judgement.OUTSIDE),
        (SIPS, "http", "tls", Judgement.WRONG),
        (NOBODY, None, None, Judgement.RIGHT),
        (NOBODY, "rtp", None, Judgement.WRONG),
        (Expected(service="ipsec", transport="udp", also=frozenset({"ike"})), "ike", None, Judgement.RIGHT),
        (Expected(service="raknet", transport="udp", outside=frozenset({"enet"})), "enet", None, Judgement.OUTSIDE),
    ],
)
def test_judging(expected: Expected, service: str | None, over: str | None, judgement: Judgement) -> None:
    assert judged(expected, service, over, PARENTS) is judgement


def test_ports_of_either_side_count() -> None:
    assert RTP.holds("udp", (40000, 5004))
    assert not RTP.holds("tcp", (40000, 5004))
    assert not RTP.holds("udp", (40000, 5011))


def test_modes_have_names_of_their_own_and_say_what_they_need() -> None:
    modes = [mode for found in families().values() for mode in found]
    names = [mode.name for mode in modes]
    assert len(names) == len(set(names))
    assert all(mode.packages or mode.pip or mode.standin for mode in modes)
    assert sum(mode.quick for mode in modes) >= 8
    real = {mode.program for mode in modes if not mode.standin}
    assert len(real) >= 25
