import json
import subprocess
import sys
from pathlib import Path

import pytest

from flowsonar.app.cutting import Cutting
from flowsonar.app.packets import PacketSource
from flowsonar.config import CaptureSettings, FlowSettings
from flowsonar.errors import ConfigError
from flowsonar.flows.events import Closed, CloseReason, Opened
from tests.needs import needs_program, needs_root

A, B = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


class FakeKernel:
    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.counted: dict[bytes, tuple[int, int]] = {}

    def add(self, key: bytes) -> bool:
        if len(self.counted) >= self.room:
            return False
        self.counted[key] = (0, 0)
        return True

    def look(self, key: bytes) -> tuple[int, int]:
        return self.counted.get(key, (0, 0))

    def take(self, key: bytes) -> tuple[int, int]:
        return self.counted.pop(key, (0, 0))


class Sizes:
    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def bytes_of(self, flow: int) -> int:
        return self.sizes.get(flow, 0)


def _opened(flow: int, **more: object) -> Opened:
    fields = {
        "flow": flow, "time_ns": 1, "protocol": 6, "initiator": A, "initiator_port": 4000 + flow, "responder": B,
        "responder_port": 80, "vlan": 0, "interface": 0, "midstream": False,
    }  # fmt: skip
    return Opened(**{**fields, **more})  # type: ignore[arg-type]


def _closed(flow: int, reason: CloseReason = CloseReason.FIN) -> Closed:
    return Closed(flow, 9, reason, 1, 9, 10, 20, 1000, 2000, 0, 0, 0)


def test_what_the_kernel_counted_is_added() -> None:
    kernels, sizes = [FakeKernel(), FakeKernel()], Sizes()
    cutting = Cutting(kernels, sizes, cutoff_bytes=5000)
    assert cutting.seen([_opened(1), _opened(2), _opened(3, vlan=7), _opened(4, protocol=1)])
    for flow in (1, 3, 4):
        cutting.settled(flow)
    sizes.sizes = {1: 4999, 2: 9000, 3: 9000, 4: 9000}
    cutting.turn()
    assert cutting.count == 0
    sizes.sizes[1] = 5000
    cutting.turn()
    assert cutting.count == 1, "2 is not settled, 3 is in a VLAN, 4 has no ports"
    there, back = kernels[0].counted
    for kernel in kernels:
        kernel.counted = {there: (1, 100), back: (2, 200)}
    kernels[1].counted[there] = (3, 300)
    (interim,) = cutting.seen([_closed(1, CloseReason.ACTIVE)])
    assert isinstance(interim, Closed)
    assert (interim.packets_toserver, interim.bytes_toserver) == (13, 1300)
    assert (interim.packets_toclient, interim.bytes_toclient) == (22, 2200)
    assert cutting.seen([_closed(1)]) == [interim._replace(reason=CloseReason.FIN)]
    assert not kernels[0].counted
    assert cutting.seen([_closed(2)]) == [_closed(2)]
    cutting.turn()


def test_no_room_in_the_kernel() -> None:
    kernel, sizes = FakeKernel(room=1), Sizes()
    cutting = Cutting([kernel], sizes, cutoff_bytes=1)
    cutting.seen([_opened(1)])
    cutting.settled(1)
    sizes.sizes = {1: 10}
    cutting.turn()
    assert (cutting.count, cutting.no_room, kernel.counted) == (0, 1, {})
    assert cutting.seen([_closed(1)]) == [_closed(1)]


PROGRAM = """
import asyncio, json, socket, subprocess, sys, threading
import flowsonar
from flowsonar.config import CaptureSettings, Settings

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 8080))
turn = threading.Event()

def serve():
    line, _ = server.accept()
    line.recv(1000)
    line.sendall(b"HTTP/1.1 200 OK\\r\\nServer: n\\r\\nContent-Length: 2000000\\r\\n\\r\\n" + bytes(500_000))
    turn.wait(30)
    line.sendall(bytes(1_500_000))
    line.close()

def ask():
    client = socket.create_connection(("127.0.0.1", 8080))
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n")
    got = 0
    while data := client.recv(1 << 16):
        got += len(data)
    client.close()
    return got

async def main():
    settings = Settings(passive=True, store=sys.argv[1] + "/v.db", capture=CaptureSettings(cutoff_bytes=100_000))
    watching = flowsonar.watch("lo", settings=settings)
    found, asked = [], None
    async for batch in watching.batches():
        if asked is None:
            threading.Thread(target=serve).start()
            asked = asyncio.create_task(asyncio.to_thread(ask))
        found += [record for record in batch if record.type == "flow"]
        if watching.counters()["flows_cut"]:
            turn.set()
        if asked.done():
            watching.stop()
    record = next(record for record in found if record.key.responder_port == 8080)
    print(json.dumps({"service": record.verdict.service, "bytes": record.counters.bytes_toclient, "got": await asked,
                      "taken": watching.counters()["bytes"]}))

asyncio.run(asyncio.wait_for(main(), 40))
"""


@needs_root()
@needs_program("unshare")
@needs_program("ip")
def test_a_download_is_left_in_the_kernel_and_counted(tmp_path: Path) -> None:
    command = ["unshare", "--net", sys.executable, "-c", PROGRAM, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["service"] == "http"
    assert told["bytes"] > told["got"] > 2_000_000, "headers too"
    assert told["taken"] < 1_500_000, "most of it never came to us"


def test_no_filter_beside_it() -> None:
    with pytest.raises(ConfigError, match="takes the place"):
        PacketSource(["lo"], FlowSettings(), filter_expression="tcp", capture=CaptureSettings(cutoff_bytes=1))
    with pytest.raises(ConfigError, match="1 or more"):
        PacketSource(["lo"], FlowSettings(), capture=CaptureSettings(cutoff_bytes=0))
