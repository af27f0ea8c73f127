import io

import pytest

from flowsonar.outputs import open_progress
from flowsonar.outputs.progress import ProgressBar, cleared


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def one_hundred_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")


def bar(terminal):
    now = [0.0]
    return ProgressBar(terminal, clock=lambda: now[0]), now


def test_shows_share_speed_and_time_left():
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        progress("day.pcap", 0, 1000)
        now[0] = 2.0
        progress("day.pcap", 500, 1000)
        assert "day.pcap" in terminal.getvalue()
        assert " 50%  500B  250B/s  2 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_an_unknown_size():
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        now[0] = 1.0
        progress("-", 5_000_000, None)
    assert "-  5.0MB" in terminal.getvalue()
    assert "%" not in terminal.getvalue()


def test_not_drawn_too_often():
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        for now[0] in (0.0, 0.05, 0.1, 0.15, 0.19):
            progress("x", 1, 2)
        assert terminal.getvalue().count("\r") == 1


def test_who_writes_to_the_terminal_takes_it_away_first():
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        assert cleared() == b""
        now[0] = 1.0
        progress("x", 1, 2)
        assert cleared() == b"\r\x1b[K"
        assert cleared() == b""
        before = terminal.getvalue()
    assert terminal.getvalue() == before  # nothing left to take away


def test_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        now[0] = 1.0
        progress("a-very-long-name-of-a-capture-file.pcap", 1, 2)
        assert len(terminal.getvalue().removeprefix("\r\x1b[K")) < 20


@pytest.mark.parametrize(("name", "position", "size"), [("\x1b[2J\n", 1, 2), ("x", 5, 2), ("x", 5, 0), ("x", 0, 9)])
def test_odd_values(name, position, size):
    terminal = Terminal()
    progress, now = bar(terminal)
    with progress:
        now[0] = 1.0
        progress(name, position, size)
        drawn = terminal.getvalue()
    assert drawn.removeprefix("\r\x1b[K").isprintable()


def test_nothing_without_a_terminal():
    stream = io.StringIO()
    progress, now = bar(stream)
    with progress:
        now[0] = 5.0
        progress("x", 1, 2)
        assert cleared() == b""
    assert stream.getvalue() == ""


def test_a_terminal_that_goes_away():
    class Gone(Terminal):
        def write(self, text):
            raise OSError(5, "Input/output error")

    progress, now = bar(Gone())
    with progress:
        now[0] = 1.0
        progress("x", 1, 2)
        now[0] = 2.0
        progress("x", 2, 2)


def test_open_progress(capsys):
    with open_progress() as progress:
        progress("x", 1, 2)
        progress.close()
    assert capsys.readouterr().err == ""
