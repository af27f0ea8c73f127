"""Link types by number, name and hardware type."""

import pytest

from flowsonar.capture import linktypes


@pytest.mark.parametrize(
    ("said", "meant"), [(1, 1), (101, 101), (12, 101), (14, 101), (0x54000001, 1), (276, 276), (0, 0)]
)
def test_normal(said: int, meant: int) -> None:
    assert linktypes.normal(said) == meant


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "Ethernet"), (113, "Linux cooked v1"), (276, "Linux cooked v2"), (101, "raw IP"), (9999, "link type 9999")],
)
def test_name(number: int, name: str) -> None:
    assert linktypes.name(number) == name


@pytest.mark.parametrize(
    ("hardware", "ethernet", "monitor"),
    [
        (1, True, False),  # ARPHRD_ETHER
        (772, True, False),  # ARPHRD_LOOPBACK
        (512, False, False),  # ARPHRD_PPP
        (65534, False, False),  # ARPHRD_NONE: tun, wireguard
        (768, False, False),  # ARPHRD_TUNNEL
        (803, False, True),  # ARPHRD_IEEE80211_RADIOTAP
    ],
)
def test_hardware(hardware: int, ethernet: bool, monitor: bool) -> None:
    assert linktypes.is_ethernet_hardware(hardware) is ethernet
    assert linktypes.is_monitor_hardware(hardware) is monitor
