"""`Line`: one connection, plain and in TLS, against an in-memory TLS server."""

import pytest

from flowsonar.model import Layer, Outcome
from flowsonar.probes.dialogue import Connected, Ended, Line, Received, Send, Sent, TimedOut, Wait
from flowsonar.probes.special.tls import TlsClient
from tests.probes.special.peer import TlsServer


def run(talk, do):
    try:
        command = next(talk)
        for _ in range(10_000):
            command = talk.send(do(command))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("without end")


def line() -> Line:
    return Line(Connected(0.0, 0.001, "10.0.0.1", 40000))


class Server:
    """Answers commands with a TLS server in memory; after the handshake it says `plain`."""

    def __init__(self, plain: bytes = b"", cut: int | None = None) -> None:
        self.server = TlsServer(plain)
        self.cut = cut
        self.given = 0

    def __call__(self, command):
        if isinstance(command, Send):
            self.server.feed(command.data)
            return Sent(1.0)
        assert isinstance(command, Wait)
        data = self.server.outgoing()
        if self.cut is not None:
            data = data[: max(0, self.cut - self.given)]
            self.given += len(data)
            if not data:
                return Ended(1.0, Outcome.CLOSED)
        return Received(1.0, data) if data else TimedOut(1.0 + command.seconds)


def test_plain_line_hands_through():
    one = line()
    assert run(one.say(b"hello", "http/get"), lambda _: Sent(2.0)) is True
    assert one.said
    assert one.over is None
    event = run(one.hear(1.0), lambda _: Received(3.0, b"x"))
    assert event == Received(3.0, b"x")
    assert one.now_s == 3.0


def test_an_ended_line_stays_ended():
    one = line()
    end = Ended(2.0, Outcome.CLOSED)
    assert run(one.hear(1.0), lambda _: end) == end
    assert run(one.hear(1.0), lambda _: pytest.fail("asked again")) == end
    assert run(one.say(b"x", "p"), lambda _: pytest.fail("said")) is False


def test_tls_line_carries_plain_bytes_both_ways():
    one, server = line(), Server(b"* OK hello\r\n")
    client = TlsClient("lab.example", ("imap",))
    run(one.secure(client, "tls", first_s=9, within_s=9), server)
    assert client.done
    assert one.over is Layer.TLS
    assert run(one.hear(1.0), server) == Received(1.0, b"* OK hello\r\n")
    run(one.say(b"a LOGOUT\r\n", "imap/x"), server)
    assert server.server.heard == b"a LOGOUT\r\n"


def test_records_without_content_do_not_hold_us():
    one, server = line(), Server()
    run(one.secure(TlsClient(), "tls", first_s=9, within_s=9), server)
    times = iter(range(2, 1000))
    event = run(one.hear(5.0), lambda _: Received(float(next(times)), b""))
    assert isinstance(event, TimedOut)


@pytest.mark.parametrize("cut", [*range(80), 200, 400, 600])
def test_a_handshake_that_breaks_off_anywhere(cut):
    one, server = line(), Server(cut=cut)
    client = TlsClient("lab.example")
    raw = run(one.secure(client, "tls", first_s=9, within_s=9), server)
    assert not client.done
    assert client.problem
    assert client.is_tls is (cut >= 7), "the first record says ServerHello once its seventh byte is there"
    assert len(raw) == cut


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16", b"\x16\x03\x03\x00\x00", b"\x00" * 70000, b"220 x\r\n"]
)
def test_a_server_that_does_not_speak_tls(data):
    one = line()
    client = TlsClient()
    answers = [Received(1.0, data), Ended(2.0, Outcome.CLOSED)]
    run(
        one.secure(client, "tls", first_s=9, within_s=9), lambda c: Sent(1.0) if isinstance(c, Send) else answers.pop(0)
    )
    assert not client.done
    assert not client.is_tls


def test_silence_in_the_handshake_is_waited_for_as_long_as_said():
    one = line()
    client = TlsClient()
    waits = []

    def silent(command):
        if isinstance(command, Send):
            return Sent(0.0)
        waits.append(command.seconds)
        return TimedOut(command.seconds)

    run(one.secure(client, "tls", first_s=0.5, within_s=2), silent)
    assert waits == [0.5]
    assert "in time" in client.problem
