"""Asking: `flowsonar probe` beside `nmap -sV` on the same ports in the same run, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peers import debian

__all__ = ["asking"]


@contextlib.contextmanager
def services() -> Iterator[dict[str, int]]:
    """Real servers on odd ports of loopback: the standard library's and PyPI's of the demo, and a silent one."""
    import functools  # noqa: PLC0415
    import http.server  # noqa: PLC0415

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nobody reads a line for each of nmap's questions."""

    ports: dict[str, int] = {}
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory="docs"))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    ports["http"] = web.server_address[1]

    loop = asyncio.new_event_loop()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def begin() -> None:
        import asyncssh  # noqa: PLC0415
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415

        quiet = await asyncio.start_server(silent, "127.0.0.1", 0)
        ports["silent"] = quiet.sockets[0].getsockname()[1]
        shell = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])
        ports["ssh"] = shell.get_port()
        mail = await loop.create_server(lambda: SMTP(object(), loop=loop), "127.0.0.1", 0)
        ports["smtp"] = mail.sockets[0].getsockname()[1]

    loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        web.shutdown()


def asking(nmap_timeout_s: float = 300) -> list[str]:
    """The table, as Markdown lines."""
    nmap = debian("nmap", "nmap")
    flowsonar = str(Path(sys.executable).parent / "flowsonar")
    lines = [
        "| service | flowsonar: label, ms, connections | nmap -sV: label, s | ratio of times |",
        "|---|---|---|---|",
    ]
    with services() as ports:
        targets = [f"127.0.0.1:{port}" for port in ports.values()]
        output = subprocess.run(
            [flowsonar, "probe", "--json", *targets], check=True, capture_output=True, text=True
        ).stdout
        ours = {record["dest_port"]: record for record in map(json.loads, output.splitlines())}
        for service, port in ports.items():
            started = time.monotonic()
            command = [nmap, "-sV", "-Pn", "-n", "-p", str(port), "127.0.0.1"]
            told = subprocess.run(command, capture_output=True, text=True, timeout=nmap_timeout_s, check=False).stdout
            took = time.monotonic() - started
            row = next((line.split(None, 2)[2] for line in told.splitlines() if line.startswith(f"{port}/")), "?")
            mine = ours[port]["flowsonar"]
            took_ms = mine["verdict_ms"] or 0.0
            spent = ours[port]["flowsonar"]["connections"]
            label = f"{mine['service'] or 'unknown'} ({mine['confidence']}), {took_ms:.1f}, {spent}"
            lines.append(f"| {service} | {label} | {row.strip()}, {took:.1f} | {took * 1000 / max(took_ms, 0.1):.0f} |")
    return lines
