import errno
import io
import os
import subprocess
import sys

import pytest

from flowsonar.errors import OutputError
from flowsonar.outputs import lines
from flowsonar.outputs.lines import LineWriter
from tests.needs import needs_program, needs_root


def test_lines_arrive_in_order_when_flushed(tmp_path):
    with (tmp_path / "out").open("wb", buffering=0) as file:
        writer = LineWriter(file)
        writer.write(b"one\n")
        assert (tmp_path / "out").read_bytes() == b""
        writer.write(b"two\n")
        writer.flush()
        writer.flush()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"


def test_much_is_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BUFFER_BYTES", 8)
    with (tmp_path / "out").open("wb", buffering=0) as file:
        writer = LineWriter(file)
        writer.write(b"12345678\n")
        assert (tmp_path / "out").read_bytes() == b"12345678\n"


def test_a_stream_that_is_no_file():
    stream = io.BytesIO()
    writer = LineWriter(stream)
    writer.write(b"x\n")
    writer.flush()
    assert stream.getvalue() == b"x\n"


def test_a_reader_that_has_gone_is_told_once():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as file:
        writer = LineWriter(file)
        writer.write(b"x\n")
        with pytest.raises(BrokenPipeError):
            writer.flush()
        writer.write(b"y\n")
        writer.flush()


def test_a_non_blocking_pipe_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = b"z" * 99 + b"\n"
    drain = "import sys; print(len(sys.stdin.buffer.read()))"
    with os.fdopen(writing, "wb", buffering=0) as file, os.fdopen(reading, "rb") as source:
        reader = subprocess.Popen([sys.executable, "-c", drain], stdin=source, stdout=subprocess.PIPE)
        writer = LineWriter(file)
        for _ in range(10_000):
            writer.write(text)
        writer.flush()
    assert int(reader.communicate(timeout=60)[0]) == 1_000_000


FULL = """
import resource, signal, sys
from flowsonar.errors import OutputError
from flowsonar.outputs.lines import LineWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1005, resource.RLIM_INFINITY))
with open(sys.argv[1], "wb", buffering=0) as file:
    writer = LineWriter(file, "the place")
    for _ in range(50):
        writer.write(b"123456789\\n")
    writer.flush()
    for number in range(200):
        writer.write(b"abcdefghi\\n")
    try:
        writer.flush()
    except OutputError as error:
        print(error, writer.lost)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.write(b"space again\\n")
    writer.flush()
"""


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split("(")[0] == "the place: records cannot be written "
    assert done.stdout.endswith("free some space 150\n")
    assert path.read_bytes() == b"123456789\n" * 50 + b"abcdefghi\n" * 50 + b"space again\n"


@needs_root()
@needs_program("unshare")
def test_a_really_full_disk(tmp_path):
    script = 'mount -t tmpfs -o size=16k tmpfs "$1" && "$2" -c "$3" > "$1/out"; tail -c 3 "$1/out" | od -c'
    program = """
import sys
from flowsonar.errors import OutputError
from flowsonar.outputs.lines import LineWriter
writer = LineWriter(sys.stdout.buffer)
try:
    for number in range(100000):
        writer.write(b"1234567\\n" * 3 + b"xyz\\n")
except OutputError as error:
    print(error, file=sys.stderr)
"""
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "No space left on device): free some space" in done.stderr
    assert done.stdout.split()[1:4][-1] == "\\n"


def test_other_failures_say_where(tmp_path):
    (tmp_path / "out").touch()
    with (tmp_path / "out").open("rb", buffering=0) as file:  # not open for writing
        writer = LineWriter(file, "the place")
        writer.write(b"x\n")
        with pytest.raises(OutputError, match=f"the place: .*{os.strerror(errno.EBADF)}.*check where it goes"):
            writer.flush()
    assert writer.lost == 1


def test_the_progress_bar_is_taken_away_on_a_terminal():
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "wb", buffering=0) as file:
        writer = LineWriter(file, before=lambda: b"<clear>")
        writer.write(b"x")
        writer.flush()
        assert os.read(controller, 100) == b"<clear>x"
    os.close(controller)
