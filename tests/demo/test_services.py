import asyncio
import json
import random
import warnings

import pytest

from flowsonar.demo.plan import Plan, Planned, make_plan
from flowsonar.demo.worker import Setting

with warnings.catch_warnings():  # pyftpdlib uses asyncore of Python 3.11
    warnings.simplefilter("ignore", DeprecationWarning)
    from flowsonar.demo.services import _STARTS, Services, _babble, _echo


def setting(tmp_path, *planned):
    return Setting(Plan(planned), tmp_path, ("127.0.0.1",), ipv6=False)


def test_every_planned_service_can_be_started(monkeypatch):
    monkeypatch.setattr("flowsonar.demo.plan.find_program", lambda name: name)
    assert {planned.key for planned in make_plan(random.Random(1)).planned} == set(_STARTS)


def test_a_port_that_is_taken_is_told_and_left_out(tmp_path, capsys):
    async def run():
        holder = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = holder.sockets[0].getsockname()[1]
        taken = Planned(key="echo", title="Echo", service="echo", address="127.0.0.1", port=port)
        await Services(setting(tmp_path, taken)).start()
        holder.close()
        await holder.wait_closed()

    asyncio.run(run())
    message = json.loads(capsys.readouterr().out)
    assert (message["event"], message["name"]) == ("failed", "Echo")
    assert "in use" in message["error"]


@pytest.mark.parametrize(("talk", "same"), [(_echo, True), (_babble, False)])
def test_what_is_said_comes_back_or_not(talk, same):
    async def run():
        async def serve(reader, writer):
            await talk(reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"is anybody there?")
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    answer = asyncio.run(run())
    assert len(answer) >= 8
    assert (answer == b"is anybody there?") is same
