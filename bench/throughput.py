"""Endpoints identified a second: nginx on many ports of loopback, flowsonar beside plain event loops and nmap -sV.

Each of ours runs in a process of its own on one core (`taskset`), nginx on another where there is one; what counts on
a machine that others use too is the processor's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.peers import debian

__all__ = ["throughput"]

_FIRST, _PORTS = 30500, 1000
"""No service of ours is at home there: where its server speaks first, one port is listened to for half a second."""
_HELD = 64
_QUESTION = b"GET / HTTP/1.0\r\n\r\n"


@contextlib.contextmanager
def nginx() -> Iterator[None]:
    """One worker that listens on all the ports."""
    program = debian("nginx", "nginx-light")
    with tempfile.TemporaryDirectory() as folder:
        listens = "\n".join(f"listen 127.0.0.1:{port};" for port in range(_FIRST, _FIRST + _PORTS))
        paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
        config = Path(folder, "nginx.conf")
        config.write_text(
            f"daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1;\n"
            "events { worker_connections 8192; }\n"
            f'http {{ access_log off; {paths} server {{ {listens} location / {{ return 200 "hello\\n"; }} }} }}\n'
        )
        process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", _FIRST), timeout=1):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _bare() -> int:
    """The least a program can do: connect, ask, read, close, with nothing but epoll."""
    poll, live, done = select.epoll(), {}, 0
    ports = list(range(_FIRST, _FIRST + _PORTS))

    def begin() -> None:
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", ports.pop()))
        live[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLOUT)

    for _ in range(_HELD):
        begin()
    while live:
        for descriptor, mask in poll.poll():
            one = live[descriptor]
            if mask & select.EPOLLOUT and not mask & select.EPOLLIN:
                one.send(_QUESTION)
                poll.modify(descriptor, select.EPOLLIN)
                continue
            done += one.recv(65536).startswith(b"HTTP/")
            live.pop(descriptor).close()
            if ports:
                begin()
    return done


async def _streams() -> int:
    """What asyncio's streams cost, without knowing what was answered."""
    slots = asyncio.Semaphore(_HELD)

    async def one(port: int) -> bool:
        async with slots:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_QUESTION)
            data = await reader.read(65536)
            writer.close()
            return data.startswith(b"HTTP/")

    return sum(await asyncio.gather(*(one(port) for port in range(_FIRST, _FIRST + _PORTS))))


async def _flowsonar() -> tuple[int, float, float]:
    """Identified endpoints; wall and processor seconds of the second of two rounds."""
    from flowsonar.app.parts import Parts  # noqa: PLC0415
    from flowsonar.cli.process import collect_rarely  # noqa: PLC0415
    from flowsonar.config import BudgetSettings, Settings  # noqa: PLC0415
    from flowsonar.model import Answer, Endpoint, Question, Transport  # noqa: PLC0415
    from flowsonar.probes import Prober  # noqa: PLC0415
    from flowsonar.verdicts.fusion import fuse  # noqa: PLC0415

    free = dict.fromkeys(("rate", "per_host_rate", "per_prefix_rate"), 1000000.0)
    bursts = dict.fromkeys(("burst", "per_host_burst", "per_prefix_burst"), 10**6)
    settings = Settings(budget=BudgetSettings(per_host_parallel=256, **free, **bursts))  # type: ignore[arg-type]
    parts = Parts.load(settings)
    prober = Prober(parts.signatures, parts.matcher, settings, audit=lambda _entry: None)
    collect_rarely()  # as the program does
    known, wall_s, cpu_s = 0, 0.0, 0.0
    for _ in range(2):
        answers: list[Answer] = []
        over = asyncio.Event()

        def told(answer: Answer, answers: list[Answer] = answers, over: asyncio.Event = over) -> None:
            answers.append(answer)
            if len(answers) == _PORTS:
                over.set()

        began, began_cpu = time.monotonic(), time.process_time()
        for port in range(_FIRST, _FIRST + _PORTS):
            prober.put(Question(endpoint=Endpoint(Transport.TCP, "127.0.0.1", port)), told)
        await over.wait()
        wall_s, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
        verdicts = [fuse(answer.evidence, parts.signatures.traffic_class) for answer in answers]
        known = sum(verdict.service == "http" for verdict in verdicts)
    await prober.close()
    return known, wall_s, cpu_s


def one(name: str) -> None:
    """Run one of them in this process and print what it took as JSON."""
    loop = asyncio
    if name.endswith("uvloop"):
        import uvloop as loop  # type: ignore[no-redef]  # noqa: PLC0415
    began, began_cpu = time.monotonic(), time.process_time()
    if name.startswith("flowsonar"):
        known, wall_s, cpu_s = loop.run(_flowsonar())
    else:
        known = _bare() if name == "bare epoll" else loop.run(_streams())
        wall_s, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
    print(json.dumps([known, wall_s, cpu_s]))


def throughput(runs: int = 3, nmap_ports: int = 3) -> list[str]:
    """The table, as Markdown lines."""
    names = ("bare epoll", "asyncio streams", "streams on uvloop", "flowsonar", "flowsonar on uvloop")
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    with nginx():
        for _ in range(runs):
            for name in names:
                program = f"from bench.throughput import one; one({name.replace(' on ', '-')!r})"
                command = ["taskset", "-c", "0", sys.executable, "-c", program]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                taken[name].append(json.loads(output))
        began = time.monotonic()
        span = f"{_FIRST}-{_FIRST + nmap_ports - 1}"
        nmap = debian("nmap", "nmap")
        subprocess.run([nmap, "-sV", "-Pn", "-n", "-p", span, "127.0.0.1"], capture_output=True, check=False)
        nmap_s = time.monotonic() - began
    lines = ["| who | endpoints a second | a processor second | answered as HTTP |", "|---|---|---|---|"]
    for name, results in taken.items():
        wall = median(_PORTS / wall_s for _, wall_s, _ in results)
        cpu = median(_PORTS / cpu_s for _, _, cpu_s in results)
        known = min(known for known, _, _ in results)
        lines.append(f"| {name} | {wall:,.0f} | {cpu:,.0f} | {known:.0f} of {_PORTS} |")
    lines.append(f"| nmap -sV ({nmap_ports} ports) | {nmap_ports / nmap_s:.2f} | | |")
    return lines
