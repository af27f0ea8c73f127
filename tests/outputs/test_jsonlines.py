import io
import json

import pytest

from flowsonar.errors import OutputError
from flowsonar.outputs import Format, open_output
from flowsonar.outputs.jsonlines import JsonOutput
from tests.outputs.samples import endpoint, flow


class Sometimes(io.BytesIO):
    """A disk that is full at times."""

    full = True

    def write(self, text):
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_records_are_lines(capsys):
    stream = io.BytesIO()
    with JsonOutput(live=False, stream=stream) as output:
        output.write([flow(), endpoint()])
        output.refresh(lambda: pytest.fail("programs need no screen"))
        output.summary({"frames": 3})
    assert [json.loads(line)["event_type"] for line in stream.getvalue().splitlines()] == ["flow", "endpoint"]
    assert capsys.readouterr().err == ""


def test_what_was_dropped_is_told_to_people(capsys):
    with JsonOutput(live=False, stream=io.BytesIO()) as output:
        output.problem("eth1 is \x1b[2Jgone")
        output.summary({"kernel_drops": 3})
    told = capsys.readouterr().err
    assert "kernel_drops 3" in told
    assert "eth1 is \\x1b[2Jgone" in told


def test_live_records_are_written_at_once():
    stream = io.BytesIO()
    with JsonOutput(live=True, stream=stream) as output:
        output.write([flow()])
        assert stream.getvalue().endswith(b"}\n")


def test_others_when_it_is_worth_it_or_asked():
    stream = io.BytesIO()
    with JsonOutput(live=False, stream=stream) as output:
        output.write([flow()])
        assert stream.getvalue() == b""
        output.flush()
        assert stream.getvalue() != b""


def test_a_full_disk_ends_a_run_over_captures():
    with pytest.raises(OutputError, match="No space left"), JsonOutput(live=False, stream=Sometimes()) as output:
        output.write([flow()])


def test_a_live_run_goes_on_and_says_at_the_end_what_is_missing(capsys):
    stream = Sometimes()
    with (  # noqa: PT012 - leaving the block raises
        pytest.raises(OutputError, match=r"No space left.*\(3 records are missing\)"),
        JsonOutput(live=True, stream=stream) as output,
    ):
        for _ in range(3):
            output.write([flow()])
        stream.full = False
        output.write([flow()])
    assert stream.getvalue().count(b"\n") == 1
    assert capsys.readouterr().err.count("No space left") == 1


def test_a_failed_run_fails_with_its_own_error():
    with pytest.raises(KeyError), JsonOutput(live=True, stream=Sometimes()) as output:  # noqa: PT012 - leaving the block raises
        output.write([flow()])
        raise KeyError


def test_open_output(capfdbinary):
    with open_output(Format.JSON, live=False) as output:
        output.write([flow()])
    with open_output(Format.TABLE, live=False) as output:
        output.write([flow()])
    first, heading, second = capfdbinary.readouterr().out.splitlines()
    assert json.loads(first)["app_proto"] == "ftp"
    assert heading.startswith(b"time")
    assert b"vsFTPd" in second
