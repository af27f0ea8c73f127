"""The prober on real loopback sockets: what servers of every kind are taken for."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import warnings

import pytest

from flowsonar.model import Endpoint, Hints, Outcome, Question, Transport
from flowsonar.probes import engine as engine_module
from tests.probes.sockets import FAST, Datagrams, asked, http, labels, make, tcp_server
from tests.probes.special.peer import server_context


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_http(run, host):
    answer = run(asked(http, host=host))
    assert labels(answer) == [("http", None, "confirmed")]
    assert (answer.evidence[0].product, answer.evidence[0].version) == ("nginx", "1.22.1")
    assert (answer.outcome, answer.connections) == (Outcome.ANSWERED, 1)
    assert answer.rtt_ms is not None


def test_https_on_a_port_that_says_nothing_of_it(run):
    answer = run(asked(http, tls=server_context()))
    assert ("http", "tls", "confirmed") in labels(answer)
    assert answer.connections == 2
    assert any("lab.example" in one.detail for one in answer.evidence)


def test_https_with_the_flows_own_name_and_offer(run):
    names = []
    context = server_context(alpn=("http/1.1", "h2"))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    answer = run(asked(http, tls=context, server_name="www.lab.example", alpn=("h2", "http/1.1")))
    assert labels(answer) == [("http", "tls", "confirmed")]
    assert names == ["www.lab.example"]
    assert answer.connections == 1
    assert any("ALPN http/1.1" in one.detail for one in answer.evidence)


def test_a_server_that_speaks_first_inside_tls(run):
    async def imap(reader, writer):
        writer.write(b"* OK ready\r\n")
        await reader.read(1)

    answer = run(asked(imap, tls=server_context(), candidates=("tls",)))
    assert labels(answer) == [("imap", "tls", "confirmed")]
    assert answer.connections == 1


def test_tls_that_nobody_can_look_into_is_tls(run):
    async def mute(reader, writer):
        await reader.read(1 << 16)
        await asyncio.sleep(60)

    answer = run(asked(mute, tls=server_context(), candidates=("tls",)))
    assert labels(answer) == [("tls", None, "confirmed")]
    assert answer.outcome is Outcome.ANSWERED


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_that_wants_our_certificate_is_tls(run, version):
    context = server_context(client_certificate=True)
    context.minimum_version = context.maximum_version = version
    answer = run(asked(http, tls=context, candidates=("tls",)))
    assert ("tls", None, "confirmed") in labels(answer)


def test_old_and_weak_tls_is_looked_into(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = server_context()
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    answer = run(asked(http, tls=context, candidates=("tls",)))
    assert ("http", "tls", "confirmed") in labels(answer)
    assert any("TLSv1;" in one.detail for one in answer.evidence)


def test_a_protocol_offer_that_the_server_refuses_is_taken_back(run):
    async def strict(reader, writer):
        """Answers a ClientHello with ALPN by the alert `no_application_protocol`, one without by handshake_failure."""
        hello = await reader.read(4096)
        writer.write(b"\x15\x03\x03\x00\x02\x02" + (b"\x78" if b"imap" in hello else b"\x28"))

    answer = run(asked(strict, alpn=("imap",)))
    assert labels(answer) == [("tls", None, "confirmed")]
    assert answer.connections == 2


def test_starttls(run):
    async def mail(reader, writer):
        writer.write(b"MAIL here\r\n")
        await reader.readuntil(b"STARTTLS\r\n")
        writer.write(b"READY\r\n")
        await writer.drain()
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(
            writer.transport, writer.transport.get_protocol(), server_context(), server_side=True
        )
        assert (await reader.readuntil(b"\r\n")) == b"WHO\r\n"
        transport.write(b"ME\r\n")
        await reader.read(1)
        transport.close()

    async def go():
        prober = make()
        try:
            async with tcp_server(mail) as endpoint:
                return await prober.ask(Question(endpoint=endpoint, hints=Hints(candidates=("mail",))))
        finally:
            await prober.close()

    with asyncio.Runner() as runner:  # asyncio's own loop: uvloop's start_tls of a server side differs
        answer = runner.run(go())
    assert ("mail", "tls", "confirmed") in labels(answer)
    assert answer.connections == 1


@pytest.mark.parametrize(
    ("from_address", "words", "service"),
    [("127.0.0.1", b"NONE", "file"), ("127.0.0.2", b"NONE", None), ("127.0.0.1", b"", None)],
    ids=["another port", "another address", "our own words from another port"],
)
def test_an_answer_from_another_port_counts_and_from_another_address_never(run, from_address, words, service):
    loop_of = asyncio.get_running_loop

    class Files(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.other.bind((from_address, 0))

        def datagram_received(self, data, source):
            if data.startswith(b"READ"):
                self.other.sendto(words or data, source)

        def connection_lost(self, problem):
            self.other.close()

    async def go():
        prober = make(budget=dataclasses.replace(FAST, timeout_s=0.6))
        transport, _ = await loop_of().create_datagram_endpoint(Files, ("127.0.0.1", 0))
        endpoint = Endpoint(Transport.UDP, *transport.get_extra_info("sockname"))
        answer = await prober.ask(Question(endpoint=endpoint, hints=Hints(candidates=("file",))))
        await prober.close()
        transport.close()
        await asyncio.sleep(0)
        return answer

    answer = run(go())
    assert [one.service for one in answer.evidence if one.service] == ([service] if service else [])


def test_udp_answers_refuses_and_keeps_silent(run):
    async def go():
        loop = asyncio.get_running_loop()
        prober = make()
        answers = {}
        for name, reply in (("dns", lambda data: data[:2] + b"\x80\x00\x00\x01"), ("silent", lambda data: None)):
            transport, _ = await loop.create_datagram_endpoint(lambda r=reply: Datagrams(r), ("127.0.0.1", 0))
            endpoint = Endpoint(Transport.UDP, "127.0.0.1", transport.get_extra_info("sockname")[1])
            answers[name] = await prober.ask(Question(endpoint=endpoint))
            transport.close()
        answers["refused"] = await prober.ask(Question(endpoint=endpoint))
        await prober.close()
        return answers

    answers = run(go())
    assert labels(answers["dns"]) == [("dns", None, "confirmed")]
    assert answers["dns"].datagrams == 1
    assert answers["silent"].outcome is Outcome.SILENT
    assert 1 <= answers["silent"].datagrams <= 10
    assert answers["refused"].outcome is Outcome.REFUSED


def test_refused(run):
    async def go():
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        prober = make()
        answer = await prober.ask(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", port)))
        await prober.close()
        return answer

    answer = run(go())
    assert (answer.outcome, answer.connections, answer.evidence) == (Outcome.REFUSED, 1, ())


def test_a_full_backlog_is_silence_not_a_hang(run):
    async def go():
        prober = make()
        with socket.socket() as listener, contextlib.ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            answer = await prober.ask(Question(endpoint=Endpoint(Transport.TCP, *listener.getsockname())))
        await prober.close()
        return answer

    assert run(go()).outcome is Outcome.SILENT


def test_never_connected_to_itself(run, monkeypatch):
    """A free port that our own socket happens to get would answer everything we say with itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tries = []

    class Unlucky(socket.socket):
        def bind(self, address):
            tries.append(address)
            super().bind((address[0], port if len(tries) == 1 else 0))

    async def go():
        monkeypatch.setattr(engine_module.socket, "socket", Unlucky)
        prober = make()
        answer = await prober.ask(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", port)))
        await prober.close()
        monkeypatch.undo()
        return answer

    assert run(go()).outcome is Outcome.REFUSED
    assert len(tries) == 2
