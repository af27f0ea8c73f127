"""What goes to the maps and when, and the thread on a real kernel."""

import socket
from contextlib import closing
from pathlib import Path

from flowsonar.model import TrafficClass
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.nftmessages import Drop, Put
from flowsonar.shaping.nftrules import Rules, Treatment, render
from flowsonar.shaping.queues import Line, plan
from flowsonar.shaping.windowing import Elements, Windowing
from flowsonar.shaping.windowrules import OLDER, YOUNG
from flowsonar.shaping.windows import Served, Windows
from tests.needs import needs_program, needs_root
from tests.shaping.world import World

from .test_queues import SMALL

PLACE = plan(SMALL, [Line(wan="wan", down_kbit=18_400, lan=("lan",))]).places[0]


def test_elements_are_put_once_changed_where_the_window_is_another_and_put_anew_in_time() -> None:
    windows, elements = Windows(18_400), Elements(DEFAULT_CLASSES)
    first = elements.changes(windows, 5.0)
    assert {(one.place.map, type(one)) for one in first} == {(YOUNG, Put), (OLDER, Put)}
    assert len(first) == 6 * 15
    assert elements.changes(windows, 5.1) == []
    again = elements.changes(windows, 5.9)
    assert [type(one) for one in again[:2]] == [Drop, Put]
    assert [one for one in again if isinstance(one, Put)] == first
    elements.forget()
    assert elements.changes(windows, 5.9) == first


def test_what_is_without_a_limit_has_no_element() -> None:
    windows, elements = Windows(18_400), Elements(DEFAULT_CLASSES)
    windows.of = lambda name: None if name is TrafficClass.DEFAULT else 5000  # type: ignore[method-assign]
    puts = elements.changes(windows, 5.0)
    assert len(puts) == 3 * 15  # connections without a label and young bulk, and older bulk
    windows.of = lambda _: None  # type: ignore[method-assign]
    assert all(isinstance(one, Drop) for one in elements.changes(windows, 5.1) if one.place.map == OLDER)


@needs_root()
@needs_program("nft")
@needs_program("tc")
def test_the_thread_fills_the_maps_and_ends(lab: World, tmp_path: Path) -> None:
    rules = Rules(treatments=tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES), outside=("wan",), windows=True)
    lab.nft("-f", "-", given=render(rules))
    (tmp_path / "rx_bytes").write_text("0\n")
    lab.run(lab.gateway, "tc", *["qdisc", "add", "dev", "lan", "root", "handle", "1:", "htb", "default", "50"])
    lab.run(
        lab.gateway, "tc", *["class", "add", "dev", "lan", "parent", "1:", "classid", "1:50", "htb", "rate", "9mbit"]
    )
    windowing = lab.within(
        lab.gateway, lambda: started(Windowing(PLACE, DEFAULT_CLASSES, counter=tmp_path / "rx_bytes"))
    )
    for _ in range(100):
        if "elements" in (listed := lab.nft("list", "map", "inet", "flowsonar", YOUNG)):
            break
    windowing.stop()
    assert "goto window_" in listed


def test_without_an_interface_nothing_is_lowered() -> None:
    windowing = started(Windowing(PLACE, DEFAULT_CLASSES))
    windowing.stop()
    assert windowing.windows.of(TrafficClass.BULK) == 14_600


def started(windowing: Windowing) -> Windowing:
    windowing.start()
    return windowing


def test_an_idle_line_is_left_alone() -> None:
    windows = Windows(18_400)
    with closing(socket.socket()):
        for step in range(50):
            windows.step(1 + step / 100, 1000, {TrafficClass.DEFAULT: Served(1, 0)})
    assert windows.of(TrafficClass.DEFAULT) == int(0.025 * 18_400 * 125)
