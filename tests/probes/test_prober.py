"""The prober on real loopback sockets, with servers of every kind; the signatures are those of `world`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import resource
import socket
import ssl
import warnings

import pytest
import uvloop

from flowsonar.config import BudgetSettings, ScopeSettings, Settings
from flowsonar.errors import StoreError
from flowsonar.model import Confidence, Endpoint, FlowKey, Hints, Outcome, Question, Transport
from flowsonar.probes import AuditAction, Prober
from flowsonar.probes import engine as engine_module
from flowsonar.probes import prober as prober_module
from flowsonar.probes.reactor import Reactor
from tests.probes.special.peer import server_context
from tests.probes.world import SIGNATURES, matcher

FAST = BudgetSettings(rate=1e6, burst=100_000, per_host_rate=1e6, per_host_burst=100_000, per_prefix_rate=1e6,
                      per_prefix_burst=100_000, per_host_parallel=64, timeout_s=1.0, control=False)  # fmt: skip


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    def runner(coroutine):
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as inside:
            complaints = []
            inside.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
            result = inside.run(coroutine)
        gc.collect()
        assert complaints == []
        return result

    return runner


def make(audit=None, budget=FAST, prior=None, **settings) -> Prober:
    return Prober(
        SIGNATURES, matcher(), Settings(budget=budget, **settings), audit=audit or (lambda _entry: None), prior=prior
    )


@contextlib.asynccontextmanager
async def tcp_server(handler, host="127.0.0.1", tls=None):
    tasks = set()

    async def guarded(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    server = await asyncio.start_server(guarded, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Endpoint(Transport.TCP, host, port)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply):
        self.reply = reply
        self.heard = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.heard.append((data, address))
        answer = self.reply(data)
        if answer is not None:
            self.transport.sendto(answer, address)


async def http(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\nhello")


async def asked(handler, *, prober=None, tls=None, host="127.0.0.1", **hints):
    prober = prober or make()
    try:
        async with tcp_server(handler, host, tls) as endpoint:
            return await prober.ask(Question(endpoint=endpoint, hints=Hints(**hints)))
    finally:
        await prober.close()


async def until(predicate):
    while not predicate():  # noqa: ASYNC110 - counters have no event, and the test has its own end
        await asyncio.sleep(0)


def labels(answer):
    return [(one.service, one.over, one.confidence.value) for one in answer.evidence if one.service]


# -- answers ----------------------------------------------------------------------------------------------------


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


# -- hostile servers --------------------------------------------------------------------------------------------


async def endless(reader, writer):
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def ten_megabytes_without_line_end(reader, writer):
    writer.write(b"220 " + b"y" * 10_000_000)
    await writer.drain()


async def drip(reader, writer):
    while True:
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(0)


async def reset(reader, writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def reset_after_question(reader, writer):
    await reader.read(1)
    await reset(reader, writer)


async def hang_up(reader, writer):
    pass


async def half_a_reply(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 2")


async def nothing_but_zeros(reader, writer):
    await reader.read(1)
    writer.write(b"\0" * 300_000)
    await writer.drain()


async def half_a_server_hello(reader, writer):
    await reader.read(1)
    writer.write(bytes.fromhex("160303007a020000760303") + b"\x11" * 20)
    await asyncio.sleep(60)


async def broken_server_hello(reader, writer):
    await reader.read(1)
    writer.write(bytes.fromhex("160303002a020000260303") + b"\xff" * 400)
    await asyncio.sleep(60)


async def alert_storm(reader, writer):
    while True:
        writer.write(bytes.fromhex("15030300020100") * 1000)
        await writer.drain()


async def every_encoding(reader, writer):
    await reader.read(1)
    writer.write("żółć \ufeff 漢字\r\n".encode("utf-16") + bytes(range(256)) + b"\x1b[2J\x07\r\n")


HOSTILE = [endless, ten_megabytes_without_line_end, drip, reset, reset_after_question, hang_up, half_a_reply,
           nothing_but_zeros, half_a_server_hello, broken_server_hello, alert_storm, every_encoding]  # fmt: skip


@pytest.mark.parametrize("first", ["plain", "tls"])
@pytest.mark.parametrize("handler", HOSTILE)
def test_hostile_servers_end_in_an_answer(run, handler, first):
    hints = {"candidates": ("tls",)} if first == "tls" else {}
    answer = run(asked(handler, **hints))
    assert answer.outcome in (Outcome.ANSWERED, Outcome.CLOSED, Outcome.SILENT, Outcome.REFUSED, Outcome.GARBLED)
    assert answer.took_ms < 1500
    assert answer.connections <= (5 if answer.outcome is not Outcome.CLOSED else 65)
    assert all(len(one.data) <= 256 for one in answer.evidence)
    assert all(one.service in (None, "tls", "ftp", "smtp") for one in answer.evidence)


def test_a_server_hello_that_breaks_off_is_still_tls(run):
    answer = run(asked(half_a_server_hello, candidates=("tls",)))
    assert labels(answer) == [("tls", None, "confirmed")]


# -- guards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "settings"),
    [
        (Endpoint(Transport.TCP, "198.51.100.1", 80), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 9100), {}),
        (Endpoint(Transport.UDP, "127.0.0.1", 47808), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"scope": ScopeSettings(exclude=(":80",))}),
        (Endpoint(Transport.TCP, "224.0.0.1", 80), {"scope": ScopeSettings(allow=("0.0.0.0/0",))}),
        (Endpoint(Transport.SCTP, "127.0.0.1", 80), {}),
        (Endpoint(Transport.TCP, "nonsense", 80), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"passive": True}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"dry_run": True}),
    ],
)
def test_what_is_not_permitted_makes_no_socket(run, endpoint, settings, monkeypatch):
    def no_socket(*_args, **_kwargs):
        raise AssertionError("a socket was opened")

    async def go():
        entries = []
        prober = make(entries.append, **settings)
        monkeypatch.setattr(engine_module.socket, "socket", no_socket)
        answer = await prober.ask(Question(endpoint=endpoint))
        monkeypatch.undo()
        await prober.close()
        return answer, entries

    answer, entries = run(go())
    assert answer.outcome is Outcome.NOT_PERMITTED
    assert answer.detail
    assert entries == []


def test_no_dialogue_gets_round_the_gate(run):
    """Even a conversation that is run without the prober's first look meets the scope where sockets are opened."""

    async def go():
        entries = []
        gate = engine_module.Gate(Settings(), entries.append)
        answers = []
        for endpoint in (Endpoint(Transport.TCP, "127.0.0.1", 9100), Endpoint(Transport.UDP, "198.51.100.1", 53)):
            channel = engine_module.Channel(gate, Reactor(), engine_module.Routes(), endpoint, endpoint.address)
            session = prober_module.Session(
                Question(endpoint=endpoint), signatures=SIGNATURES, matcher=matcher(), settings=Settings(), now_s=0.0
            )
            channel.start(session.talk(), lambda answer, _problem: answers.append(answer))
        return answers, entries

    answers, entries = run(go())
    assert [answer.outcome for answer in answers] == [Outcome.NOT_PERMITTED] * 2
    assert entries == []


def test_a_question_with_a_large_answer_stays_at_home(run):
    async def go(settings):
        loop = asyncio.get_running_loop()
        heard = Datagrams(lambda data: b"FOUND")
        transport, _ = await loop.create_datagram_endpoint(lambda: heard, ("127.0.0.1", 0))
        endpoint = Endpoint(Transport.UDP, "127.0.0.1", transport.get_extra_info("sockname")[1])
        prober = make(**settings)
        answer = await prober.ask(Question(endpoint=endpoint, hints=Hints(candidates=("loud",))))
        await prober.close()
        transport.close()
        return labels(answer), heard.heard

    found, heard = run(go({}))
    assert found == [("loud", None, "confirmed")]
    assert heard[0][0] == b"SEARCH"


def test_the_audit_log_is_written_before_the_packet_leaves(run):
    async def go():
        heard = []
        entries = []

        async def server(reader, writer):
            heard.append([entry.action for entry in entries])
            await http(reader, writer)

        answer = await asked(server, prober=make(entries.append))
        return answer, entries, heard

    answer, entries, heard = run(go())
    assert heard[0][0] is AuditAction.CONNECT
    assert [entry.action for entry in entries] == [AuditAction.CONNECT, AuditAction.SEND, AuditAction.END]
    assert [entry.probe for entry in entries][:2] == ["listen", "http/get"]
    assert entries[1].bytes == answer.bytes_sent > 0
    assert entries[2].outcome is Outcome.ANSWERED
    assert all(entry.endpoint == answer.endpoint for entry in entries)


def test_what_cannot_be_written_down_is_not_done(run):
    def full(_entry):
        raise StoreError("disk full")

    async def go():
        came = []

        async def server(reader, writer):
            came.append(1)

        return await asked(server, prober=make(full)), came

    answer, came = run(go())
    assert (answer.outcome, came) == (Outcome.NOT_PERMITTED, [])
    assert "disk full" in answer.detail


def test_own_traffic_is_known_from_the_first_packet_and_after_the_end(run):
    async def go():
        prober = make()
        known = []

        async def server(reader, writer):
            theirs, ours = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
            known.append(prober.is_own(FlowKey(Transport.TCP, ours[0], ours[1], theirs[0], theirs[1])))
            known.append(prober.is_own(FlowKey(Transport.TCP, theirs[0], theirs[1], ours[0], ours[1])))
            known.append(prober.is_own(FlowKey(Transport.TCP, theirs[0], theirs[1], ours[0], ours[1] ^ 1)))
            keys.append(FlowKey(Transport.TCP, ours[0], ours[1], theirs[0], theirs[1]))
            await http(reader, writer)

        keys = []
        async with tcp_server(server) as endpoint:
            await prober.ask(Question(endpoint=endpoint))
        after = prober.is_own(keys[0])
        await prober.close()
        return known, after

    known, after = run(go())
    assert known == [True, True, False]
    assert after


# -- many -------------------------------------------------------------------------------------------------------


def test_concurrent_questions_about_one_endpoint_share_one_conversation(run):
    async def go():
        prober = make()
        told = []
        async with tcp_server(http) as endpoint:
            question = Question(endpoint=endpoint)
            answers = await asyncio.gather(*(prober.ask(question, on_evidence=told.append) for _ in range(50)))
        counters = prober.counters()
        await prober.close()
        return answers, told, counters

    answers, told, counters = run(go())
    assert len({id(answer) for answer in answers}) == 1
    assert counters["connections"] == 1
    assert counters["shared"] == 49
    assert len(told) == 50


def test_heavier_questions_go_first_and_few_at_a_time(run, monkeypatch):
    monkeypatch.setattr(prober_module, "EASE_AFTER_S", 60.0)

    async def go():
        order, now, most = [], 0, 0

        def server_for(number):
            async def server(reader, writer):
                nonlocal now, most
                order.append(number)
                now += 1
                most = max(most, now)
                await http(reader, writer)
                now -= 1

            return server

        budget = BudgetSettings(per_host_parallel=1, burst=1000, per_host_burst=1000, per_prefix_burst=1000)
        prober = make(budget=budget)
        async with contextlib.AsyncExitStack() as stack:
            endpoints = [await stack.enter_async_context(tcp_server(server_for(number))) for number in range(6)]
            questions = [Question(endpoint=endpoint, weight=number) for number, endpoint in enumerate(endpoints)]
            await asyncio.gather(*(prober.ask(question) for question in questions))
        await prober.close()
        return order, most

    order, most = run(go())
    assert order == [0, 5, 4, 3, 2, 1], "the first one starts at once, then the heaviest"
    assert most == 1


def test_a_silent_port_does_not_hold_up_the_others_of_its_host(run):
    async def go():
        async def mute(reader, writer):
            await reader.read()
            writer.close()

        prober = make(budget=BudgetSettings(per_host_parallel=1, timeout_s=60.0))
        async with tcp_server(mute) as silent, tcp_server(http) as endpoint:
            waiting = asyncio.ensure_future(prober.ask(Question(endpoint=silent)))
            answer = await prober.ask(Question(endpoint=endpoint))
            assert not waiting.done()
            assert prober.counters()["active"] == 1
            await prober.close()
            await waiting
        assert prober.counters()["active"] == 0
        return answer

    assert labels(run(go())) == [("http", None, "confirmed")]


def test_thousands_of_questions_at_once(run):
    async def go():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        try:
            prober = make(budget=BudgetSettings(rate=1e6, burst=10**6, per_host_rate=1e6, per_host_burst=10**6,
                                                per_prefix_rate=1e6, per_prefix_burst=10**6, per_host_parallel=1000,
                                                parallel=100_000, timeout_s=1.0))  # fmt: skip
            async with tcp_server(http) as endpoint:
                questions = [
                    Question(endpoint=Endpoint(Transport.TCP, f"127.0.{n >> 8}.{n & 255}", 1)) for n in range(3000)
                ]
                questions += [Question(endpoint=endpoint)]
                answers = await asyncio.gather(*(prober.ask(question) for question in questions))
            counters = prober.counters()
            await prober.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return answers, counters

    answers, counters = run(go())
    assert {answer.outcome for answer in answers[:-1]} == {Outcome.REFUSED}
    assert labels(answers[-1]) == [("http", None, "confirmed")]
    assert (counters["waiting"], counters["active"]) == (0, 0)


def test_close_ends_everything_and_every_asker_gets_an_answer(run):
    async def go():
        async def mute(reader, writer):
            await asyncio.sleep(60)

        prober = make(budget=BudgetSettings(per_host_parallel=2))
        async with contextlib.AsyncExitStack() as stack:
            endpoints = [await stack.enter_async_context(tcp_server(mute)) for _ in range(5)]
            asking = [asyncio.ensure_future(prober.ask(Question(endpoint=endpoint))) for endpoint in endpoints]
            await until(lambda: prober.counters()["connections"] >= 2)
            await prober.close()
            answers = await asyncio.gather(*asking)
            answers.append(await prober.ask(Question(endpoint=endpoints[0])))
        return answers

    answers = run(go())
    assert [answer.outcome for answer in answers] == [Outcome.CANCELLED] * 6


def test_when_the_last_asker_goes_the_conversation_ends(run):
    async def go():
        gone = asyncio.Event()

        async def mute(reader, writer):
            await reader.read()
            gone.set()

        prober = make(budget=BudgetSettings(timeout_s=60.0))
        async with tcp_server(mute) as endpoint:
            first = asyncio.ensure_future(prober.ask(Question(endpoint=endpoint)))
            second = asyncio.ensure_future(prober.ask(Question(endpoint=endpoint)))
            await until(lambda: prober.counters()["connections"] > 0)
            first.cancel()
            await asyncio.sleep(0)
            assert prober.counters()["active"] == 1
            second.cancel()
            await gone.wait()
        await until(lambda: not prober.counters()["active"])
        await prober.close()

    run(go())


def test_a_budget_that_is_used_up_makes_questions_wait_not_fail(run):
    async def go():
        prober = make(budget=BudgetSettings(rate=200.0, burst=1, per_host_burst=1, per_host_rate=200.0))
        async with contextlib.AsyncExitStack() as stack:
            endpoints = [await stack.enter_async_context(tcp_server(http)) for _ in range(4)]
            answers = await asyncio.gather(*(prober.ask(Question(endpoint=endpoint)) for endpoint in endpoints))
        counters = prober.counters()
        await prober.close()
        return answers, counters

    answers, counters = run(go())
    assert all(labels(answer) == [("http", None, "confirmed")] for answer in answers)
    assert counters["connections"] == 4


def test_a_broken_conversation_does_not_take_others_along(monkeypatch):
    async def go():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))

        class Broken:
            evidence = ()

            def __init__(self, *_args, **_kwargs):
                raise ZeroDivisionError

        prober = make()
        async with tcp_server(http) as endpoint:
            with monkeypatch.context() as patch:
                patch.setattr(prober_module, "Session", Broken)
                broken = await prober.ask(Question(endpoint=endpoint))
            fine = await prober.ask(Question(endpoint=endpoint))
        failed = prober.counters()["failed"]
        await prober.close()
        return broken, fine, failed, complaints

    broken, fine, failed, complaints = asyncio.run(go())
    assert broken.outcome is Outcome.CANCELLED
    assert "ZeroDivisionError" in broken.detail
    assert labels(fine) == [("http", None, "confirmed")]
    assert failed == len(complaints) == 1


# -- dry run and prior ------------------------------------------------------------------------------------------


def test_the_plan_names_what_would_be_asked_and_sends_nothing():
    entries = []
    prober = make(entries.append, dry_run=True)
    plan = prober.plan(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", 80)))
    assert "ask http/get" in plan[0]
    assert prober.plan(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", 9100)))[0].startswith("nothing: ")
    assert prober.plan(Question(endpoint=Endpoint(Transport.SCTP, "127.0.0.1", 80)))[0].startswith("nothing: ")
    assert entries == []


def test_what_neighbours_turned_out_to_be_is_asked_early():
    prober = make(prior=lambda endpoint: ("dns",) if endpoint.port == 4000 else ())
    plan = prober.plan(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", 4000)))
    assert "dns/root-tcp" in "".join(plan[:2])


def test_unknown_replies_are_results(run):
    async def riddle(reader, writer):
        await reader.read(1)
        writer.write(b"what do you want?\r\n")

    answer = run(asked(riddle))
    assert answer.outcome is Outcome.ANSWERED
    assert answer.evidence[0].confidence is Confidence.UNKNOWN
    assert answer.evidence[0].data == b"what do you want?\r\n"


# -- hosts where everything answers -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def everywhere(monkeypatch, handler, ports):
    """As if every port of the host were redirected to one server: the kernel is told of its port instead."""
    async with tcp_server(handler) as endpoint:
        real = engine_module.socket_address
        monkeypatch.setattr(engine_module, "socket_address", lambda address, _port: real(address, endpoint.port))
        yield [Endpoint(Transport.TCP, "127.0.0.1", port) for port in ports]


def everything(run, monkeypatch, handler, ports):
    async def go():
        entries = []
        prober = make(entries.append, budget=dataclasses.replace(FAST, control=True))
        async with everywhere(monkeypatch, handler, ports) as endpoints:
            answers = [await prober.ask(Question(endpoint=endpoint)) for endpoint in endpoints]
        counters = prober.counters()
        await prober.close()
        monkeypatch.undo()
        return answers, counters, entries

    return run(go())


def marks(answer):
    return [one.detail for one in answer.evidence if one.signature == "everything-answers"]


def test_the_same_answer_on_every_port_is_a_guess(run, monkeypatch):
    answers, counters, entries = everything(run, monkeypatch, http, (4444, 5555))
    for answer in answers:
        assert labels(answer) == [("http", None, "guess")]
        assert "said the same" in marks(answer)[0]
    assert (counters["controls"], counters["connections"]) == (2, 2)
    controls = [entry for entry in entries if entry.probe == "control" and entry.action is AuditAction.CONNECT]
    assert all(entry.endpoint.port >= 61000 for entry in controls)


def test_a_port_that_takes_connections_like_all_others_and_tells_nothing_is_named(run, monkeypatch):
    answers, counters, _ = everything(run, monkeypatch, hang_up, (4444,))
    assert labels(answers[0]) == []
    assert len(marks(answers[0])) == 1
    assert counters["controls"] >= 2


def test_a_host_that_refuses_the_control_connection_is_believed(run):
    prober = make(budget=dataclasses.replace(FAST, control=True))
    answer = run(asked(http, prober=prober))
    assert labels(answer) == [("http", None, "confirmed")]
    assert prober.counters()["controls"] == 1
    assert prober.counters()["connections"] == 1
