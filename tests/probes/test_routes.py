import socket

import pytest

from flowsonar.probes import routes as module
from flowsonar.probes.routes import Routes, socket_address


def test_the_route_to_a_host_is_looked_up_once_a_second(monkeypatch):
    routes = Routes()
    assert routes.local_address(socket.AF_INET, ("127.0.0.1", 80), 10.0) == "127.0.0.1"

    def none_left(*_args, **_kwargs):
        raise OSError("no socket is needed")

    monkeypatch.setattr(module.socket, "socket", none_left)
    assert routes.local_address(socket.AF_INET, ("127.0.0.1", 81), 10.9) == "127.0.0.1"
    with pytest.raises(OSError, match="no socket"):
        routes.local_address(socket.AF_INET, ("127.0.0.1", 80), 11.5)


@pytest.mark.parametrize(
    ("address", "family", "target"),
    [
        ("10.0.0.9", socket.AF_INET, ("10.0.0.9", 80)),
        ("::ffff:10.0.0.9", socket.AF_INET, ("10.0.0.9", 80)),
        ("fd00::9", socket.AF_INET6, ("fd00::9", 80, 0, 0)),
        ("fe80::1%7", socket.AF_INET6, ("fe80::1", 80, 0, 7)),
        ("fe80::1%lo", socket.AF_INET6, ("fe80::1", 80, 0, socket.if_nametoindex("lo"))),
        ("fe80::1%nosuch", socket.AF_INET6, ("fe80::1", 80, 0, 0)),
    ],
)
def test_addresses_as_the_kernel_wants_them(address, family, target):
    assert socket_address(address, 80) == (family, target)


@pytest.mark.parametrize(
    ("family", "level", "option"),
    [
        (socket.AF_INET, socket.IPPROTO_IP, socket.IP_TOS),
        (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    ],
)
def test_questions_may_be_served_before_others(family, level, option):
    routes = Routes()
    with routes.open(family, socket.SOCK_DGRAM) as plain:
        assert plain.getsockopt(level, option) == 0
    routes.preferred = (6, 16)  # a priority that needs no right
    with routes.open(family, socket.SOCK_STREAM) as preferred:
        assert preferred.getsockopt(level, option) == 16 << 2
        assert preferred.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 6
