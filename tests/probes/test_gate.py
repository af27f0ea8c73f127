"""What the gate works out for sockets; that it forbids is shown with the prober and the scope."""

import socket

import pytest

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Transport
from flowsonar.probes import gate as gate_module
from flowsonar.probes.gate import Gate, socket_address


@pytest.mark.parametrize(
    ("address", "family", "host"),
    [
        ("10.0.0.1", socket.AF_INET, "10.0.0.1"),
        ("::ffff:10.0.0.1", socket.AF_INET, "10.0.0.1"),
        ("fd00::1", socket.AF_INET6, "fd00::1"),
        ("fe80::1%lo", socket.AF_INET6, "fe80::1"),
        ("fe80::1%nosuch", socket.AF_INET6, "fe80::1"),
    ],
)
def test_addresses_as_the_kernel_wants_them(address, family, host):
    found, target = socket_address(address, 80)
    assert (found, target[0], target[1]) == (family, host, 80)
    if address.endswith("%lo"):
        assert target[3] == socket.if_nametoindex("lo")


def test_the_route_to_a_host_is_looked_up_once_a_second(monkeypatch):
    gate = Gate(Settings(), lambda _entry: None)
    assert gate.local_address(socket.AF_INET, ("127.0.0.1", 80), 10.0) == "127.0.0.1"

    def none_left(*_args, **_kwargs):
        raise OSError("no socket is needed")

    monkeypatch.setattr(gate_module.socket, "socket", none_left)
    assert gate.local_address(socket.AF_INET, ("127.0.0.1", 81), 10.9) == "127.0.0.1"
    with pytest.raises(OSError, match="no socket"):
        gate.local_address(socket.AF_INET, ("127.0.0.1", 80), 11.5)


@pytest.mark.parametrize(("settings", "word"), [({"passive": True}, "passive"), ({"dry_run": True}, "dry run")])
def test_nothing_leaves_in_passive_mode_and_in_a_dry_run(settings, word):
    gate = Gate(Settings(**settings), lambda _entry: None)
    endpoint = Endpoint(Transport.TCP, "127.0.0.1", 80)
    assert word in gate.forbids(endpoint)
    assert gate.permits(endpoint) is None
