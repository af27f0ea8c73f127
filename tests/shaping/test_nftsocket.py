from collections.abc import Iterator
from contextlib import closing

import pytest

from flowsonar.errors import ShapingError
from flowsonar.model import Endpoint, FlowKey, Transport
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.nftmessages import ALIVE, Drop, Operation, Put, endpoint_place, flow_places
from flowsonar.shaping.nftrules import Rules, Treatment, render
from flowsonar.shaping.nftsocket import ElementSocket
from tests.needs import needs_program, needs_root
from tests.shaping.world import World

pytestmark = [needs_root(), needs_program("nft")]

ALL = tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES)
REALTIME, BULK = ALL[1], ALL[5]


def key(number: int, family: int = 4) -> FlowKey:
    high, low = divmod(number, 250)
    first = f"10.0.{high}.{low}" if family == 4 else f"fd00::{number:x}"
    return FlowKey(Transport.TCP, first, 1024, "10.1.0.2" if family == 4 else "fd01::2", 80)


def puts(flow: FlowKey, treatment: Treatment = REALTIME, timeout_ms: int = 60_000) -> list[Operation]:
    places = flow_places(flow)
    assert places is not None
    return [Put(place, treatment.value, timeout_ms) for place in places]


def drops(flow: FlowKey) -> list[Operation]:
    return [Drop(place) for place in flow_places(flow) or ()]


@pytest.fixture
def elements(lab: World) -> Iterator[ElementSocket]:
    lab.nft("-f", "-", given=render(Rules(treatments=ALL)))
    with closing(lab.within(lab.gateway, ElementSocket)) as made:
        yield made


def test_elements_come_change_and_go(lab: World, elements: ElementSocket) -> None:
    assert elements.apply([*puts(key(1)), *puts(key(1, 6))]) == 0
    assert "tcp . 10.0.0.1 . 1024 . 10.1.0.2 . 80" in lab.nft("list", "map", "inet", "flowsonar", "flows4")
    assert "tcp . fd01::2 . 80 . fd00::1 . 1024" in lab.nft("list", "map", "inet", "flowsonar", "flows6")
    assert elements.apply([*drops(key(1)), *puts(key(1), BULK)]) == 0
    listed = lab.nft("list", "map", "inet", "flowsonar", "flows4")
    assert listed.count("506:60") == 2
    assert "b902:20" not in listed
    assert elements.apply(drops(key(1))) == 0
    assert "506:60" not in lab.nft("list", "map", "inet", "flowsonar", "flows4")


def test_one_that_is_gone_or_there_spoils_nothing(lab: World, elements: ElementSocket) -> None:
    elements.apply(puts(key(1)))
    assert elements.apply([*drops(key(2)), *puts(key(1), BULK), *puts(key(3))]) == 0
    listed = lab.nft("list", "map", "inet", "flowsonar", "flows4")
    assert listed.count("506:60") == 2
    assert listed.count("b902:20") == 2


def test_sets_and_other_maps(lab: World, elements: ElementSocket) -> None:
    place = endpoint_place(Endpoint(Transport.UDP, "10.1.0.2", 53), "peers")
    assert place is not None
    assert elements.apply([*(Drop(one) for one in ALIVE), *(Put(one, None, 5000) for one in ALIVE)]) == 0
    assert elements.apply([Put(place, BULK.value, 60_000)]) == 0
    assert "udp . 10.1.0.2 . 53" in lab.nft("list", "map", "inet", "flowsonar", "peers4")
    assert "timeout 5s" in lab.nft("list", "set", "inet", "flowsonar", "alive")


def test_many_at_once(lab: World, elements: ElementSocket) -> None:
    assert elements.apply([one for number in range(3000) for one in puts(key(number))]) == 0
    assert lab.nft("list", "map", "inet", "flowsonar", "flows4").count("b902:20") == 6000


def test_a_full_map_is_counted(lab: World) -> None:
    text = render(Rules(treatments=ALL)).replace("size 262144", "size 4")
    lab.nft("-f", "-", given=text)
    with closing(lab.within(lab.gateway, ElementSocket)) as elements:
        assert elements.apply([one for number in range(4) for one in puts(key(number))]) == 4
    assert lab.nft("list", "map", "inet", "flowsonar", "flows4").count("b902:20") == 4


def test_a_table_that_is_gone_is_told(lab: World, elements: ElementSocket) -> None:
    lab.nft("flush", "ruleset")
    with pytest.raises(ShapingError, match="gone"):
        elements.apply(puts(key(1)))
