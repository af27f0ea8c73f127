"""The demonstration itself: builds the private network, starts servers, flowsonar and clients, shows and judges.

A process of its own (`python -m flowsonar.demo.stage`), because only a process with one thread may enter a user
namespace, and so that everything vanishes with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.demo import namespaces
from flowsonar.demo.audit import read_asked
from flowsonar.demo.namespaces import CLIENTS, SERVERS, Link, NamespaceError, die_with_parent
from flowsonar.demo.plan import OPTIONAL, Plan, make_plan
from flowsonar.demo.results import FlowSeen, Results
from flowsonar.demo.screen import JsonScreen, Screen, TextScreen
from flowsonar.errors import FlowsonarError

__all__ = ["DemoError", "Stage", "main"]

READY_S = 20.0
"""For a worker or flowsonar to be ready; a slow machine needs a few seconds to import everything."""
COMPILED_S = 1.5
"""Signatures that were compiled before are loaded by then; otherwise people are told what takes so long."""
SETTLE_S = 4.0
"""After the last client: a silent port is given up within 3 s, and answers need a moment."""
END_S = 8.0
"""For a process to end when told; then it is killed."""
LINE_BYTES = 1 << 22
PACKET_SOCKETS = Path("/proc/net/packet")


def _load() -> None:
    Parts.load(Settings()).matcher.prepare(replies=True, payloads=True)


class DemoError(FlowsonarError):
    """A part of the demonstration did not start; the text says which and why."""


class Child:
    """A process of the demonstration: ends when we end, is told to end, or is killed."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process

    @classmethod
    async def start(cls, name: str, *arguments: str) -> Child:
        """Start `python -m arguments...`; a session of its own keeps Ctrl-C to the stage."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        return cls(name, process)

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """JSON objects as they come; other lines are passed over."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(line)
                if isinstance(value, dict):
                    yield value

    async def expect(self, event: str) -> list[dict[str, Any]]:
        """Wait for an event of a worker; gives what it said before. Raises DemoError when it ends or is late."""
        said: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(READY_S):
                async for message in self.lines():
                    if message.get("event") == event:
                        return said
                    said.append(message)
        except TimeoutError:
            raise DemoError(f"{self.name} did not start within {READY_S:.0f} s") from None
        reasons = [str(message.get("error")) for message in said if message.get("error")]
        raise DemoError(f"{self.name} ended early: {'; '.join(reasons) or await self.complaint()}")

    async def complaint(self) -> str:
        """The last line of its standard error."""
        assert self.process.stderr is not None
        text = (await self.process.stderr.read()).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"exit code {self.process.returncode}"

    def tell(self, value: object = None) -> None:
        """Send one JSON line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")

    async def end(self, number: int | None = signal.SIGTERM) -> None:
        """Ask it to end, unless it was asked already (None), then make it.

        A process that is just ending is not signalled: asyncio would lose its exit code.
        """
        if self.process.returncode is None and number is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        waiting = asyncio.ensure_future(self.process.communicate())
        try:
            await asyncio.wait_for(asyncio.shield(waiting), END_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await waiting


class Stage:
    """One run."""

    def __init__(self, screen: Screen, *, seconds: float, keep_capture: Path | None, folder: Path) -> None:
        self.screen = screen
        self.seconds = seconds
        self.keep_capture = keep_capture
        self.folder = folder
        self.children: list[Child] = []
        self.results = Results(Plan(()))
        self._held: dict[object, FlowSeen] = {}
        self._finished = asyncio.Event()
        self._changed = asyncio.Event()
        """A record came, or none will come any more."""

    async def run(self) -> int:
        """Everything from the namespaces to the summary; 0 when every label is right, 1 otherwise."""
        began = time.monotonic()
        ipv6 = namespaces.forward()
        plan = make_plan(random.Random(), ipv6=ipv6)
        self.screen.note("A private network: clients, a gateway with flowsonar, servers. Nothing leaves it.")
        await self._compile()
        servers, clients = await asyncio.gather(
            self._worker("servers", "flowsonar.demo.services", SERVERS, ipv6=ipv6),
            self._worker("clients", "flowsonar.demo.clients", CLIENTS, ipv6=ipv6),
        )
        self._brief(servers, SERVERS, plan, ipv6=ipv6)
        said = await servers.expect("ready")
        self._failures(said)
        plan = plan.without({str(message.get("key")) for message in said} & OPTIONAL)
        self.results = Results(plan)
        self._brief(clients, CLIENTS, plan, ipv6=ipv6)
        await clients.expect("ready")
        watch = await self._watch()
        self.screen.note(f"{len(plan.planned)} services on odd ports; flowsonar watches the gateway. Clients begin.\n")
        clients.tell()
        news = asyncio.create_task(self._news(clients))
        reading = asyncio.create_task(self._read(watch))
        try:
            await self._until_settled(reading)
            if reading.done():
                raise DemoError(f"flowsonar watch ended early: {await watch.complaint()}")
            watch.process.send_signal(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reading, END_S)
        finally:
            for task in (news, reading):
                task.cancel()
            await asyncio.gather(news, reading, return_exceptions=True)
        await watch.end(None)
        addresses = [planned.address for planned in plan.planned]
        asked = await asyncio.to_thread(read_asked, self._store, addresses)
        self.screen.summary(self.results, asked, time.monotonic() - began)
        return 0 if self.results.right() else 1

    async def close(self) -> None:
        """End every process; the namespaces go with the last one."""
        await asyncio.gather(*(child.end() for child in self.children))

    @property
    def _store(self) -> Path:
        return self.folder / "verdicts.db"

    async def _worker(self, name: str, module: str, link: Link, *, ipv6: bool) -> Child:
        child = await Child.start(name, module)
        self.children.append(child)
        await child.expect("separate")
        # Netlink runs a loop of its own.
        await asyncio.to_thread(namespaces.connect, link, child.process.pid, ipv6=ipv6)
        return child

    def _brief(self, child: Child, link: Link, plan: Plan, *, ipv6: bool) -> None:
        hosts = range(10, 60) if link is SERVERS else range(10, 11)
        addresses6 = [link.address6(host) for host in hosts] if ipv6 else []
        addresses4 = [link.address4(host) for host in hosts]
        child.tell(
            {"addresses4": addresses4, "addresses6": addresses6, "plan": plan.to_json(), "folder": str(self.folder)}
        )

    async def _compile(self) -> None:
        """Have the signatures compiled before anybody waits for a label; they are kept for later starts."""
        compiling = asyncio.create_task(asyncio.to_thread(_load))
        if not (await asyncio.wait({compiling}, timeout=COMPILED_S))[0]:
            self.screen.note("Compiling the signatures; only the first start does.")
        await compiling

    async def _watch(self) -> Child:
        """Start the real program and wait until it captures on both interfaces."""
        command = ["flowsonar.cli", "watch", "-i", CLIENTS.interface, "-i", SERVERS.interface, "--json"]
        command += ["--store", str(self._store), "--duration", str(self.seconds + READY_S)]
        if self.keep_capture is not None:
            command += ["--write", str(self.keep_capture)]
        child = await Child.start("flowsonar watch", *command)
        self.children.append(child)
        for _ in range(round(READY_S / 0.05)):
            if child.process.returncode is not None:
                raise DemoError(f"flowsonar watch ended early: {await child.complaint()}")
            if _packet_sockets() >= 2:
                return child
            await asyncio.sleep(0.05)
        raise DemoError(f"flowsonar watch did not begin to capture within {READY_S:.0f} s")

    async def _read(self, watch: Child) -> None:
        async for record in watch.lines():
            self._changed.set()
            seen = self.results.add(record)
            if seen is None:
                continue
            number = record.get("flow_id")
            if number not in self._held:
                asyncio.get_running_loop().call_later(self.screen.hold_s, self._show, number)
            self._held[number] = seen
        for number in tuple(self._held):
            self._show(number)
        self._changed.set()

    def _show(self, number: object) -> None:
        seen = self._held.pop(number, None)
        if seen is not None:
            self.screen.verdict(seen)

    async def _news(self, clients: Child) -> None:
        async for message in clients.lines():
            if message.get("event") == "finished":
                self._finished.set()
            self._failures([message])
        self._finished.set()

    def _failures(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message.get("event") == "failed":
                self.screen.problem(f"{message.get('name')} failed: {message.get('error')}")

    async def _until_settled(self, reading: asyncio.Task[None]) -> None:
        """Until the clients are done and all labels had their time, or flowsonar ended, or time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                finished = asyncio.ensure_future(self._finished.wait())
                await asyncio.wait({finished, reading}, return_when=asyncio.FIRST_COMPLETED)
                finished.cancel()
                end = time.monotonic() + SETTLE_S
                while not reading.done() and not self.results.settled() and (left := end - time.monotonic()) > 0:
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), left)


def _packet_sockets() -> int:
    """How many interfaces are captured from in this namespace; the first line is a heading."""
    return len(PACKET_SOCKETS.read_text().splitlines()) - 1


async def _run(arguments: argparse.Namespace) -> int:
    screen: Screen = JsonScreen() if arguments.json else TextScreen()
    with tempfile.TemporaryDirectory(prefix="flowsonar-demo-") as folder:
        stage = Stage(screen, seconds=arguments.seconds, keep_capture=arguments.keep_capture, folder=Path(folder))
        work = asyncio.ensure_future(stage.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            return await work
        except asyncio.CancelledError:
            screen.problem("interrupted")
            return 130
        finally:
            await stage.close()


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; 0 all labels right, 1 not, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m flowsonar.demo.stage")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep-capture", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args(argv)
    die_with_parent()
    try:
        namespaces.enter()
        return asyncio.run(_run(arguments))
    except (NamespaceError, DemoError) as error:
        print(f"flowsonar: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
