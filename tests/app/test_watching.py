"""Live, in a network namespace of the test's own (`unshare --net`): real servers, real packets, the real program."""

import asyncio
import json
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import flowsonar
from flowsonar.app.clock import Clock
from flowsonar.config import Settings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import FlowEvent
from flowsonar.outputs.eve import encode
from tests.app.servers import web
from tests.needs import needs_native, needs_program, needs_root

PROGRAM = """
import asyncio, json, socket, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
import flowsonar
from flowsonar.config import Settings
from tests.app.servers import greeter, web

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
folder = Path(sys.argv[1])

def talk(port, data):
    with socket.create_connection(("127.0.0.1", port)) as line:
        if data:
            line.sendall(data)
        line.settimeout(10)
        return line.recv(1)

async def main(http, ssh):
    settings = Settings(store=folder / "v.db", **{settings})
    watching = flowsonar.watch("lo", settings=settings, write=folder / "kept.pcapng")
    flows, ends, talked = [], 0, False
    async for batch in watching.batches():
        if not talked:
            talked = True
            await asyncio.to_thread(talk, http, b"GET / HTTP/1.0\\r\\n\\r\\n")
            await asyncio.to_thread(talk, http, bytes(range(128, 168)) + b"\\r\\n\\r\\n")
            await asyncio.to_thread(talk, ssh, b"")
        for record in batch:
            key = record.key
            flows.append([record.type, key.responder_port, record.verdict.service, record.verdict.confidence,
                          [piece.kind for piece in record.verdict.evidence]])
            ends += record.type == "flow"
        if ends >= {flows}:
            watching.stop()
    told = {{"flows": flows, "counters": watching.counters(), "problems": watching.problems, "http": http, "ssh": ssh}}
    print(json.dumps(told))

with web() as http, greeter() as ssh:
    asyncio.run(asyncio.wait_for(main(http, ssh), 30))
"""


def run(tmp_path: Path, *, settings: dict[str, object], flows: int = 3) -> dict[str, object]:
    root = str(Path(__file__).resolve().parents[2])
    program = textwrap.dedent(PROGRAM).format(root=root, settings=settings, flows=flows)
    result = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@needs_root()
@needs_program("unshare")
@needs_program("ip")
def test_live_flows_are_labelled_and_kept(tmp_path: Path) -> None:
    told = run(tmp_path, settings={})
    ends = [flow for flow in told["flows"] if flow[0] == "flow"]  # type: ignore[attr-defined]
    assert sorted((flow[1], flow[2]) for flow in ends) == sorted(
        [(told["http"], "http"), (told["http"], "http"), (told["ssh"], "ssh")]
    )
    assert any(flow[0] == "verdict" for flow in told["flows"])  # type: ignore[attr-defined]
    assert told["problems"] == []
    assert told["counters"]["kernel_drops"] == 0  # type: ignore[index]
    assert (tmp_path / "kept.pcapng").stat().st_size > 500


@needs_root()
@needs_program("unshare")
@needs_program("ip")
def test_passive_asks_nothing(tmp_path: Path) -> None:
    told = run(tmp_path, settings={"passive": True})
    kinds = {kind for flow in told["flows"] for kind in flow[4]}  # type: ignore[attr-defined]
    assert "reply" not in kinds
    assert "questions" not in told["counters"] or told["counters"]["questions"] == 0  # type: ignore[index, operator]


def test_an_interface_that_is_not_there_is_an_error() -> None:
    async def watch() -> None:
        async for _ in flowsonar.watch("no-such-if0"):
            pass

    with pytest.raises(CaptureError):
        asyncio.run(watch())


class Quiet:
    """A source of nothing that counts how often it is looked after."""

    interfaces = ()
    settle_s = 0.0
    checks = 0

    def open(self) -> None: ...

    def descriptors(self) -> list[int]:
        return []

    def events(self) -> Iterator[Sequence[FlowEvent]]:
        return iter(())

    def expire(self, now_ns: int) -> Sequence[FlowEvent]:
        return ()

    def finish(self) -> Sequence[FlowEvent]:
        return ()

    def follow(self, flow: int) -> None: ...

    def release(self, flow: int) -> None: ...

    def check(self) -> list[str]:
        self.checks += 1
        return []

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> list[str]:
        return []


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_is_set_neither_stops_nor_floods_the_housekeeping(tmp_path: Path, jump_s: int) -> None:
    """Every turn takes half a second of the clock that never jumps; the wall clock is set in the middle."""
    watching = flowsonar.watch("none0", settings=Settings(passive=True, store=tmp_path / "v.db"))
    source = Quiet()
    wall_ns, steady_ns, turns = 1_700_000_000 * 1_000_000_000, 0, 0

    async def main() -> None:
        nonlocal wall_ns, steady_ns, turns
        async for _ in watching.batches():
            turns += 1
            wall_ns += 500_000_000 + (jump_s * 1_000_000_000 if turns == 10 else 0)
            steady_ns += 500_000_000
            watching._wake.set()
            if turns == 20:
                watching.stop()

    watching._source = source
    watching._clock = Clock(lambda: wall_ns, lambda: steady_ns)
    asyncio.run(asyncio.wait_for(main(), 30))
    assert source.checks == 11  # of 21 turns, the one at the end among them


@needs_root()
@needs_native()
def test_lines_come_from_the_fast_lane(tmp_path: Path) -> None:
    """The second of two flows is told of as it begins: the first has shown what serves there."""

    async def watch() -> tuple[list[bytes], Mapping[str, int]]:
        watching = flowsonar.watch("lo", settings=Settings(passive=True, store=tmp_path / "v.db"))
        lines: list[bytes] = []
        sent = 0
        with web() as port:
            ours = b'"dest_port":%d' % port
            async for ended in watching.lines():
                for one in ended:
                    lines += one.splitlines() if isinstance(one, bytes) else [encode(one)]
                ends = sum(ours in line and b'"event_type":"flow"' in line for line in lines)
                if ends == sent < 2:
                    sent += 1
                    await asyncio.to_thread(_asks, port)
                elif ends == 2:
                    watching.stop()
        return [line for line in lines if ours in line], watching.counters()

    lines, counts = asyncio.run(asyncio.wait_for(watch(), 30))
    told = [json.loads(line) for line in lines]
    assert [one["event_type"] for one in told][-2:] == ["verdict", "flow"]
    assert {one["app_proto"] for one in told if one["event_type"] == "flow"} == {"http"}
    assert told[-2]["flowsonar"]["evidence"][0]["detail"] == "known from before"
    assert counts["lane_flows"] >= 0


def _asks(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while line.recv(4096):
            pass
