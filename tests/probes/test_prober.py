"""The prober on real loopback sockets: many questions, a dry run, hosts where everything answers."""

from __future__ import annotations

import asyncio
import contextlib
import resource

from flowsonar.config import BudgetSettings
from flowsonar.model import Confidence, Endpoint, Outcome, Question, Transport
from flowsonar.probes import prober as prober_module
from tests.probes.sockets import asked, http, labels, make, tcp_server, until

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


def test_a_question_that_was_expected_finds_its_connection(run):
    async def go():
        taken = 0

        async def counting(reader, writer):
            nonlocal taken
            taken += 1
            await http(reader, writer)

        prober = make()
        async with tcp_server(counting) as endpoint:
            prober.expect(endpoint)
            answer = await prober.ask(Question(endpoint=endpoint))
            counters = prober.counters()
            await prober.close()
        return answer, taken, counters

    answer, taken, counters = run(go())
    assert answer.outcome is Outcome.ANSWERED
    assert taken == answer.connections == counters["connections"]
    assert (counters["ahead"], counters["ahead_unused"]) == (1, 0)


def test_a_connection_that_nobody_asks_on_is_ended_with_the_prober(run):
    async def go():
        prober = make()
        async with tcp_server(http) as endpoint:
            prober.expect(endpoint)
            await prober.close()
            prober.expect(endpoint)
        return prober.counters()

    counters = run(go())
    assert (counters["ahead"], counters["ahead_unused"]) == (1, 1)


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
