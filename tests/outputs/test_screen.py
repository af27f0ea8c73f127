import io

import pytest
from rich.console import Console
from rich.text import Text

from flowsonar.model import FlowCounters, RecordType
from flowsonar.outputs import screen as module
from flowsonar.outputs.row import HEADINGS
from flowsonar.outputs.screen import Screen
from flowsonar.outputs.tally import Tally
from tests.outputs.samples import endpoint, flow, hostile_verdict


def make(width=200, height=14, **options):
    terminal = io.StringIO()
    console = Console(file=terminal, width=width, height=height, force_terminal=True, **options)
    return Screen(console, Tally(), clock=lambda: 0.0), terminal


def shown(screen, width=200):
    out = io.StringIO()
    Console(file=out, width=width, height=14).print(screen.render())
    return out.getvalue().splitlines()


def numbered(number, size=100, **fields):
    return flow(flow_id=number, counters=FlowCounters(bytes_toserver=size), interface=f"{number}", **fields)


def test_newest_first_and_one_row_a_flow():
    screen, _ = make()
    screen.add(flow(flow_id=1, type=RecordType.VERDICT))
    screen.add(endpoint())
    screen.add(flow(flow_id=1))
    lines = shown(screen)
    assert lines[0].startswith("packets 0")
    assert lines[1].split() == list(HEADINGS)
    assert "vsFTPd" in lines[2]
    assert "[2001:db8::1]:53" in lines[3]
    assert len(lines) == 4


def test_a_third_of_the_places_is_for_the_heaviest():
    screen, _ = make()
    for number in range(100):
        screen.add(numbered(number, 10**9 if number in (3, 4) else number))
    chosen = [kept.record.flow_id for kept in screen._chosen(9)]
    assert chosen == [99, 98, 97, 96, 95, 94, 3, 4, 93] or chosen == [99, 98, 97, 96, 95, 94, 4, 3, 93]
    assert len(shown(screen)) == 12


def test_rows_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 10)
    screen, _ = make()
    for number in range(100):
        screen.add(numbered(number))
    assert len(screen._kept) == 10


@pytest.mark.parametrize(("width", "left_out"), [(80, 5), (110, 3), (130, 2), (145, 1), (200, 0)])
def test_narrow_terminals_have_fewer_columns(width, left_out):
    screen, _ = make(width=width)
    screen.add(flow())
    lines = shown(screen, width)
    assert len(lines[1].split()) == len(HEADINGS) - left_out
    assert all(len(line) <= width for line in lines)


def test_it_is_drawn_in_place_and_not_too_often():
    now = [0.0]
    terminal = io.StringIO()
    screen = Screen(Console(file=terminal, width=200, height=14, force_terminal=True), Tally(), clock=lambda: now[0])
    asked = []
    with screen:
        screen.add(flow())
        for now[0] in (0.0, 0.1, 0.2, 0.25, 0.3):
            screen.refresh(lambda: asked.append(now[0]) or {"frames": 1})
    assert asked == [0.0, 0.25]
    assert "\x1b[1A\x1b[2K" in terminal.getvalue()  # up a line, erase it: drawn over


def test_what_is_said_stays_above():
    screen, terminal = make()
    with screen:
        screen.say(Text("something is wrong"))
    assert terminal.getvalue().index("something is wrong") < terminal.getvalue().rindex("packets")


def test_hostile_text_does_not_steer_the_terminal():
    screen, _ = make()
    screen.add(flow(verdict=hostile_verdict(), interface="\x1b"))
    lines = shown(screen)
    assert all(line.isprintable() for line in lines)


def test_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen, terminal = make()
    with screen:
        screen.add(flow())
        screen.refresh(lambda: {"kernel_drops": 3})
    assert "\x1b[32m" not in terminal.getvalue()
    assert ";32m" not in terminal.getvalue()
    assert "31m" not in terminal.getvalue()
