"""The rules on a real kernel: what a receiver announces, and what its sender gets to read."""

import socket
import struct
from contextlib import closing

import pytest

from flowsonar.shaping.classes import CLASS_MASK, DEFAULT_CLASSES, SCALE_MASK
from flowsonar.shaping.nftmessages import Place, Put
from flowsonar.shaping.nftrules import Rules, Treatment, render
from flowsonar.shaping.nftsocket import ElementSocket
from flowsonar.shaping.windowrules import OLDER, SHIFTS, YOUNG, key_of, target_of, units, window_rules
from tests.needs import needs_program, needs_root
from tests.shaping.world import SERVER, World

ALL = tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES)
RULES = Rules(treatments=ALL, outside=("wan",), inside=("lan",), windows=True)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("octets", [1, 2920, 14_600, 100_000, 10**9])
def test_units_are_a_step_that_has_a_chain_and_not_below_what_was_meant(octets: int, shift: int) -> None:
    found = units(octets, shift)
    assert 1 <= found <= 0xFFFF
    assert found << shift >= min(octets, 0xFFFF << shift)
    assert found == 0xFFFF or found <= -(-octets >> shift) * 1.34
    assert f"chain {target_of(found)} {{" in render(RULES)


def test_keys_are_within_their_bits() -> None:
    keys = {key_of(number, shift) for number in range(7) for shift in SHIFTS}
    assert len(keys) == 7 * 15
    assert all(key & ~(CLASS_MASK | SCALE_MASK) == 0 and key & SCALE_MASK for key in keys)


def test_without_windows_and_without_an_outside_there_is_none_of_it() -> None:
    assert "tcp window" in render(RULES)
    assert "tcp window" not in render(Rules(treatments=ALL, outside=("wan",)))
    assert "tcp window" not in render(Rules(treatments=ALL, windows=True))


def test_exceptions_come_first() -> None:
    for _, lines, hook in window_rules(["wan"], ["first"]):
        assert (hook is None) or lines[0] == "first"


class Sniffer:
    """Reads TCP at the server's interface: window and shift of what comes."""

    def __init__(self, lab: World) -> None:
        self.socket = lab.within(lab.server, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0x0008))
        self.socket.settimeout(20)

    def close(self) -> None:
        self.socket.close()

    def window(self, *, syn: bool = False) -> int:
        """The window's field in the next acknowledgement, or SYN."""
        while True:
            packet, about = self.socket.recvfrom(2048)
            at = (packet[0] & 15) * 4
            if about[2] == socket.PACKET_OUTGOING or packet[9] != 6 or bool(packet[at + 13] & 2) != syn:
                continue
            (window,) = struct.unpack_from("!H", packet, at + 14)
            return int(window)


@pytest.fixture
def lowered(lab: World) -> World:
    lab.nft("-f", "-", given=render(RULES))
    return lab


def connected(lab: World) -> tuple[socket.socket, socket.socket]:
    listening = lab.within(lab.server, lambda: socket.create_server((SERVER, 5301)))
    with closing(listening):
        client = lab.within(lab.client, lambda: socket.create_connection((SERVER, 5301), 20))
        return client, listening.accept()[0]


@needs_root()
@needs_program("nft")
def test_a_window_is_lowered_to_what_its_class_and_age_may(lowered: World) -> None:
    sending = lowered.within(lowered.gateway, ElementSocket)
    with closing(sending), closing(Sniffer(lowered)) as sniffer:
        for name, octets in ((YOUNG, 4096), (OLDER, 32_768)):
            puts = [
                Put(Place(name, struct.pack("=I", key_of(0, shift))), target_of(units(octets, shift)), 60_000)
                for shift in SHIFTS
            ]
            assert sending.apply(puts) == 0
        client, server = connected(lowered)
        with closing(client), closing(server):
            assert sniffer.window(syn=True) > 4096
            young = sniffer.window()
            server.sendall(bytes(100_000))
            left = 100_000
            while left:
                left -= len(client.recv(left))
            client.sendall(b"x")
            assert server.recv(1) == b"x"
            older = [sniffer.window()]
            sniffer.socket.setblocking(False)
            try:
                while True:
                    older.append(sniffer.window())
            except BlockingIOError:
                pass
    shift = next(shift for shift in SHIFTS if units(4096, shift) == young)
    assert max(older) == units(32_768, shift)


@needs_root()
@needs_program("nft")
def test_without_an_element_a_window_stays(lowered: World) -> None:
    with closing(Sniffer(lowered)) as sniffer:
        client, server = connected(lowered)
        with closing(client), closing(server):
            announced = sniffer.window(syn=True)
            assert sniffer.window() >= announced >> 14
            mark = lowered.run(lowered.gateway, "nft", "list", "map", "inet", "flowsonar", OLDER)
            assert "elements" not in mark
