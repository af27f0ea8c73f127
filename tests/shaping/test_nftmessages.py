import struct

import pytest

from flowsonar.errors import MalformedError
from flowsonar.model import Endpoint, FlowKey, Transport
from flowsonar.shaping.nftmessages import ALIVE, Drop, Place, Put, batch, endpoint_place, failures, flow_places

KEY = FlowKey(Transport.TCP, "10.0.0.1", 1024, "10.0.0.2", 80)


def kinds(data: bytes) -> list[tuple[int, int, int]]:
    """Type, flags and sequence of each message."""
    found, place = [], 0
    while place < len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, place)
        found.append((kind, flags, sequence))
        place += (length + 3) & ~3
    assert place == len(data)
    return found


def test_a_flow_stands_in_both_directions() -> None:
    places = flow_places(KEY)
    assert places is not None
    there, back = places
    assert there == Place("flows4", bytes.fromhex("06000000 0a000001 04000000 0a000002 00500000"))
    assert back.key == bytes.fromhex("06000000 0a000002 00500000 0a000001 04000000")


def test_ipv6_has_maps_of_its_own() -> None:
    places = flow_places(FlowKey(Transport.UDP, "fd00::1", 1, "fd00::2", 2))
    assert places is not None
    assert places[0].map == "flows6"
    assert len(places[0].key) == 44
    assert endpoint_place(Endpoint(Transport.UDP, "fe80::1%eth0", 1), "peers") == Place(
        "peers6", bytes.fromhex("11000000 fe800000000000000000000000000001 00010000")
    )


@pytest.mark.parametrize(
    "key",
    [
        FlowKey(Transport.ICMP, "10.0.0.1", 0, "10.0.0.2", 0),
        FlowKey(Transport.TCP, "nonsense", 1, "10.0.0.2", 2),
        FlowKey(Transport.TCP, "10.0.0.1", 1, "fd00::2", 2),
    ],
    ids=["no ports", "no address", "two families"],
)
def test_what_the_kernel_cannot_look_up_has_no_place(key: FlowKey) -> None:
    assert flow_places(key) is None


def test_a_batch_is_one_transaction_with_one_answer() -> None:
    place = Place("flows4", bytes(20))
    found = kinds(batch([Drop(place), Put(place, 1, 1000), Put(Place("flows6", bytes(44)), 1, 1000)], 7))
    assert [kind for kind, _, _ in found] == [0x10, 0xA0E, 0xA0C, 0xA0C, 0x11]
    assert [sequence for _, _, sequence in found] == [7, 8, 9, 10, 11]
    assert [bool(flags & 4) for _, flags, _ in found] == [False, False, False, True, False]


def test_many_elements_are_cut_where_a_list_ends() -> None:
    found = kinds(batch([Put(Place("flows6", bytes(44)), 1, 1000)] * 600, 1))
    assert len(found) == 2 + 3


def test_elements_of_a_set_have_no_value() -> None:
    assert len(batch([Put(ALIVE[0], None, 30_000)], 1)) < len(batch([Put(Place("alive", b"\2"), 1, 30_000)], 1))


def test_answers_are_read() -> None:
    done = struct.pack("=IHHIIi", 36, 2, 0x100, 9, 0, 0) + bytes(16)
    refused = struct.pack("=IHHIIi", 36, 2, 0, 8, 0, -2) + bytes(16)
    assert failures(refused + done) == [(8, 2), (9, 0)]
    assert failures(b"") == []
    assert failures(struct.pack("=IHHII", 16, 3, 0, 1, 0)) == []


@pytest.mark.parametrize("length", [0, 15, 400])
def test_an_answer_that_lies_about_its_length(length: int) -> None:
    with pytest.raises(MalformedError):
        failures(struct.pack("=IHHIIi", length, 2, 0, 1, 0, 0) + bytes(16))
