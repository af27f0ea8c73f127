"""What TCP's flags make of one flow. The table's own tests have the rest, on both tables."""

import pytest

from flowsonar.flows._reference_decode import ACK, FIN, RST, SYN, TCP, Packet
from flowsonar.flows._reference_flow import Flow, Side
from flowsonar.flows.events import CloseReason

CLIENT: Side = (b"\x0a\0\0\1", 40000)
SERVER: Side = (b"\x0a\0\0\2", 80)


def flow() -> Flow:
    return Flow(1 << 32, (TCP, 0, CLIENT, SERVER), CLIENT, 0, 1_000)


def packet(flags: int, sequence: int = 100, ack: int = 0, payload: int = 0) -> Packet:
    made = Packet()
    made.flags, made.sequence, made.ack, made.payload_wire = flags, sequence, ack, payload
    return made


def test_the_handshake_is_timed_from_the_last_syn() -> None:
    one = flow()
    one.begins(0, packet(SYN), 1_000)
    one.begins(0, packet(SYN), 5_000)
    one.begins(1, packet(SYN | ACK, 900), 7_000)
    assert (one.handshake_ns, one.syn_at) == (2_000, None)
    assert one.same_start(CLIENT, packet(SYN, 100))
    assert not one.same_start(CLIENT, packet(SYN, 101))


@pytest.mark.parametrize(
    ("direction", "flags", "accepts"),
    [
        *[(1, SYN | ACK, True), (0, ACK, True), (1, ACK | FIN, True)],
        *[(0, SYN | ACK, False), (1, ACK | RST, False), (1, SYN, False)],
    ],
)
def test_what_shows_that_the_responder_accepted(direction: int, flags: int, accepts: bool) -> None:
    assert Flow.accepts(direction, packet(flags)) is accepts


def test_it_ends_when_both_fins_are_acknowledged() -> None:
    one = flow()
    assert one.ends(0, packet(FIN | ACK, 100, payload=10)) is None
    assert one.ends(1, packet(ACK, 900, ack=110)) is None  # all but the FIN
    assert one.ends(1, packet(FIN | ACK, 900, ack=111)) is None
    assert one.ends(0, packet(ACK, 111, ack=901)) is CloseReason.FIN
    assert flow().ends(1, packet(RST)) is CloseReason.RST


def test_what_is_told_at_its_end() -> None:
    one = flow()
    one.packet_count, one.byte_count, one.tcp_flags = [2, 1], [80, 40], [SYN | ACK, SYN | ACK]
    told = one.closed(CloseReason.IDLE, 9_000)
    assert (told.flow, told.time_ns, told.reason) == (1 << 32, 9_000, int(CloseReason.IDLE))
    assert (told.packets_toserver, told.packets_toclient, told.bytes_toserver) == (2, 1, 80)
