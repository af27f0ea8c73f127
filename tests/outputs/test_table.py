import io

import pytest
from rich.console import Console

from flowsonar.errors import OutputError
from flowsonar.model import RecordType
from flowsonar.outputs.table import TableOutput
from tests.outputs.samples import HTTPS, endpoint, flow, hostile_verdict


class Full(io.BytesIO):
    """A disk without space."""

    def write(self, text):
        raise OSError(28, "No space left on device")


class Gone(io.BytesIO):
    """A pipe without a reader."""

    def write(self, text):
        raise BrokenPipeError


def plain(live=False, stream=None):
    stream = stream or io.BytesIO()
    return TableOutput(live=live, console=Console(file=io.StringIO(), width=200), stream=stream), stream


@pytest.mark.parametrize("live", [False, True])
def test_without_a_terminal_lines_are_appended(live):
    output, stream = plain(live)
    with output:
        output.write([flow(type=RecordType.VERDICT, verdict=HTTPS)])
        output.refresh(lambda: pytest.fail("there is no screen"))
        output.write([flow(), endpoint()])
        output.summary({"frames": 22, "flows": 1, "frames_not_ip": 1})
    lines = stream.getvalue().decode().splitlines()
    assert lines[0].split()[:2] == ["time", "proto"]
    assert "http (tls)" in lines[1]
    assert "vsFTPd" in lines[2]
    assert "[2001:db8::1]:53" in lines[3]
    assert lines[4] == ""
    assert "packets 22" in lines[-2]
    assert lines[-1] == "not counted or dropped: frames_not_ip 1"
    assert "\x1b" not in stream.getvalue().decode()


def test_live_lines_are_written_at_once():
    output, stream = plain(live=True)
    with output:
        output.write([flow()])
        assert b"vsFTPd" in stream.getvalue()


def test_on_a_terminal_a_live_table_and_the_summary_after_it():
    terminal, stream = io.StringIO(), io.BytesIO()
    console = Console(file=terminal, width=200, height=20, force_terminal=True)
    output = TableOutput(live=True, console=console, stream=stream)
    with output:
        output.write([flow()])
        output.refresh(lambda: {"frames": 22})
        output.problem("eth1 is gone")
        output.summary({"frames": 23})
    assert "vsFTPd" in terminal.getvalue()
    assert "eth1 is gone" in terminal.getvalue()
    assert "packets 23" in stream.getvalue().decode()
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1  # cursor shown again


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = io.BytesIO()
    console = Console(file=io.StringIO(), force_terminal=True)
    with TableOutput(live=True, console=console, stream=stream) as output:
        output.write([flow()])
    assert b"vsFTPd" in stream.getvalue()


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_unless_unwanted(monkeypatch, no_color, coloured):
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    stream = io.BytesIO()
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    with TableOutput(live=False, console=console, stream=stream) as output:
        output.write([flow()])
        output.summary({})
    assert (b"\x1b[" in stream.getvalue()) is coloured


def test_hostile_text_is_harmless():
    output, stream = plain()
    with output:
        output.write([flow(verdict=hostile_verdict()), endpoint(verdict=hostile_verdict())])
        output.summary({})
    assert all(line.isprintable() for line in stream.getvalue().decode().splitlines())


def test_a_full_disk_ends_a_run_over_captures():
    output, _ = plain(stream=Full())
    with pytest.raises(OutputError, match="No space left"), output:
        output.write([flow()])


def test_a_full_disk_is_told_once_in_a_live_run(capsys):
    output, _ = plain(live=True, stream=Full())
    with output:
        for _ in range(5):
            output.write([flow()])
        output.summary({})
    assert capsys.readouterr().err.count("No space left") == 1


@pytest.mark.parametrize("live", [False, True])
def test_a_reader_that_has_gone(live):
    output, _ = plain(live=live, stream=Gone())
    with pytest.raises(BrokenPipeError), output:
        output.write([flow()])


def test_the_end_of_a_failed_run_hides_nothing():
    output, stream = plain()
    with pytest.raises(KeyError), output:  # noqa: PT012 - leaving the block raises
        output.write([flow()])
        raise KeyError
    assert stream.getvalue() == b""


def test_an_encoding_that_knows_little():
    stream = io.BytesIO()
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with TableOutput(live=False, console=console, stream=stream) as output:
        output.write([flow(verdict=HTTPS)])
    assert stream.getvalue().isascii()
