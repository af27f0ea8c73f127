"""The servers of the demonstration: real programs' libraries from PyPI and the standard library, in one worker process.

Run by the stage as `python -m flowsonar.demo.services` inside its own network namespace; says `ready` when all listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import asyncssh
from aiosmtpd.smtp import SMTP
from dnslib import QTYPE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from flowsonar.demo.certificate import make_certificate
from flowsonar.demo.namespaces import SERVERS, die_with_parent
from flowsonar.demo.plan import FTP_PASSWORD, FTP_USER, Planned, find_program
from flowsonar.demo.skype_standin import Node
from flowsonar.demo.worker import Setting, run_worker, say

__all__ = ["Services", "main"]

START_S = 5.0
"""For a program of the machine to listen."""
Start = Callable[["Services", list[Planned]], Awaitable[None]]


class Services:
    """Everything that listens, kept alive until the process ends."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.site = setting.folder / "site"
        self.certificate = setting.folder / "certificate.pem"
        self.kept: list[Any] = []
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Start all that is planned; a service that cannot start is told and left out."""
        self.site.mkdir(exist_ok=True)
        (self.site / "index.html").write_text("<!doctype html><title>demo</title><p>Hello from the demo.</p>\n")
        (self.site / "file.bin").write_bytes(secrets.token_bytes(60_000))
        make_certificate(self.certificate)
        for key in dict.fromkeys(planned.key for planned in self.setting.plan.planned):
            planned = self.setting.plan.find(key)
            try:
                await _STARTS[key](self, planned)
            except OSError as error:
                say("failed", name=planned[0].title, key=key, error=str(error) or "did not start")

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def http(self, planned: list[Planned]) -> None:
        """Serve the folder with http.server."""
        for one in planned:
            server = _http_server(one, self.site)
            self._in_thread(server.serve_forever)

    async def https(self, planned: list[Planned]) -> None:
        """Serve the same inside TLS."""
        for one in planned:
            server = _http_server(one, self.site)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            self._in_thread(server.serve_forever)

    # -- FTP ------------------------------------------------------------------------------------------------------

    async def ftp(self, planned: list[Planned], *, tls: bool = False) -> None:
        """Serve the folder with pyftpdlib, each server with its range of data ports."""
        logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
        authorizer = DummyAuthorizer()
        authorizer.add_user(FTP_USER, FTP_PASSWORD, str(self.site), perm="elrw")
        for control in (one for one in planned if not one.last_port):
            data = next(one for one in planned if one.last_port and one.address == control.address)
            attributes: dict[str, Any] = {
                "authorizer": authorizer,
                "passive_ports": range(data.port, data.last_port + 1),
            }
            if tls:
                attributes["certfile"] = str(self.certificate)
            handler = type("DemoHandler", (TLS_FTPHandler if tls else FTPHandler,), attributes)
            server = FTPServer((control.address, control.port), handler, ioloop=IOLoop())
            self._in_thread(partial(server.serve_forever, handle_exit=False))

    async def ftps(self, planned: list[Planned]) -> None:
        """Serve FTP that goes into TLS after AUTH TLS."""
        await self.ftp(planned, tls=True)

    # -- others ---------------------------------------------------------------------------------------------------

    async def smtp(self, planned: list[Planned]) -> None:
        """Take mail with aiosmtpd and drop it."""

        class Sink:
            async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:  # noqa: N802
                return "250 Message accepted"

        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        for one in planned:
            await self._listen(one, lambda: SMTP(Sink(), hostname="mail.demo.example"))

    async def ssh(self, planned: list[Planned]) -> None:
        """Offer a shell that says one line, with asyncssh."""

        class Server(asyncssh.SSHServer):  # type: ignore[misc]
            def begin_auth(self, _username: str) -> bool:
                return False

        def greet(process: Any) -> None:
            process.stdout.write("Hello from the demo.\n")
            process.exit(0)

        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        for one in planned:
            key = asyncssh.generate_private_key("ssh-ed25519")
            self.kept.append(
                await asyncssh.create_server(
                    Server, one.address, one.port, server_host_keys=[key], process_factory=greet
                )
            )

    async def dns(self, planned: list[Planned]) -> None:
        """Answer every A question with one address, with dnslib."""

        class Fixed(BaseResolver):  # type: ignore[misc]
            def resolve(self, request: Any, _handler: object) -> Any:
                reply = request.reply()
                if request.q.qtype == QTYPE.A:
                    reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(SERVERS.address4(10)), ttl=60))
                return reply

        for one in planned:
            server = DNSServer(
                Fixed(), address=one.address, port=one.port, tcp=one.transport == "tcp", logger=DNSLogger("-all")
            )
            self._in_thread(server.server.serve_forever)

    async def echo(self, planned: list[Planned]) -> None:
        """Repeat what is said (RFC 862)."""
        for one in planned:
            await self._serve(one, _echo)

    async def skype(self, planned: list[Planned]) -> None:
        """Start the stand-in: UDP and TCP on one port."""
        node = Node(planned[0].address, planned[0].port)
        await node.start()
        self.kept.append(node)

    # -- programs of the machine ----------------------------------------------------------------------------------

    async def redis(self, planned: list[Planned]) -> None:
        """Run redis-server without a file."""
        for one in planned:
            options = {"bind": one.address, "port": one.port, "save": "", "appendonly": "no", "protected-mode": "no"}
            arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            await self._program("redis-server", *arguments)
            await _listens(one)

    async def nginx(self, planned: list[Planned]) -> None:
        """Run nginx in one process, as the only user of the namespace, writing to the demo's folder only."""
        folder = self.setting.folder
        for one in planned:
            places = "".join(
                f"{name}_temp_path {folder}/nginx-{name};"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            text = (
                f"user root; daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null; events {{}}\n"
                f"http {{ access_log off; {places} server {{ listen {one.address}:{one.port}; root {self.site}; }} }}\n"
            )
            (folder / "nginx.conf").write_text(text)
            await self._program("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "/dev/null")
            await _listens(one)

    async def _program(self, name: str, *arguments: str) -> None:
        path = find_program(name)
        assert path is not None, name
        quiet = asyncio.subprocess.DEVNULL
        self.processes.append(
            await asyncio.create_subprocess_exec(
                path, *arguments, stdin=quiet, stdout=quiet, stderr=quiet, preexec_fn=die_with_parent
            )
        )

    # -- impostors ------------------------------------------------------------------------------------------------

    async def silent(self, planned: list[Planned]) -> None:
        """Accept, read and never say a byte."""
        for one in planned:
            await self._serve(one, _swallow)

    async def random(self, planned: list[Planned]) -> None:
        """Answer whatever is said with random bytes of random length."""
        for one in planned:
            await self._serve(one, _babble)

    async def silent_udp(self, planned: list[Planned]) -> None:
        """Take datagrams and answer none."""
        for one in planned:
            await self._bind(one, asyncio.DatagramProtocol)

    async def random_udp(self, planned: list[Planned]) -> None:
        """Answer each datagram with random bytes of random length."""
        for one in planned:
            await self._bind(one, _Babbler)

    # -- helpers --------------------------------------------------------------------------------------------------

    def _in_thread(self, run: Callable[[], object]) -> None:
        threading.Thread(target=run, daemon=True).start()

    async def _listen(self, one: Planned, factory: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        self.kept.append(await loop.create_server(factory, one.address, one.port))

    async def _serve(
        self, one: Planned, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await talk(reader, writer)
            writer.close()

        self.kept.append(await asyncio.start_server(serve, one.address, one.port))

    async def _bind(self, one: Planned, factory: Callable[[], asyncio.DatagramProtocol]) -> None:
        loop = asyncio.get_running_loop()
        self.kept.append(await loop.create_datagram_endpoint(factory, local_addr=(one.address, one.port)))


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the look-up of our own name: there is no resolver here to wait for."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: object, client_address: object) -> None:
        """Probes leave early; that is no error here."""


class _QuietServer6(_QuietServer):
    address_family = socket.AF_INET6


def _http_server(one: Planned, folder: Path) -> ThreadingHTTPServer:
    kind = _QuietServer6 if ":" in one.address else _QuietServer
    return kind((one.address, one.port), partial(_QuietHandler, directory=str(folder)))


async def _listens(one: Planned) -> None:
    """Wait until a program of the machine accepts connections. Raises TimeoutError when it does not."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(one.address, one.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


async def _swallow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


async def _babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        writer.write(secrets.token_bytes(8 + secrets.randbelow(200)))
        await writer.drain()


class _Babbler(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, _data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        self.transport.sendto(secrets.token_bytes(1 + secrets.randbelow(60)), addr)


_STARTS: dict[str, Start] = {
    "http": Services.http,
    "https": Services.https,
    "ftp": Services.ftp,
    "ftps": Services.ftps,
    "smtp": Services.smtp,
    "ssh": Services.ssh,
    "dns": Services.dns,
    "echo": Services.echo,
    "skype": Services.skype,
    "redis": Services.redis,
    "nginx": Services.nginx,
    "silent": Services.silent,
    "random": Services.random,
    "silent-udp": Services.silent_udp,
    "random-udp": Services.random_udp,
}


async def _role(setting: Setting) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    services = Services(setting)
    await services.start()
    say("ready")
    await stop.wait()
    for process in services.processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    for process in services.processes:
        await process.wait()


def main() -> int:
    """Run until the stage ends it."""
    return run_worker(SERVERS, _role)


if __name__ == "__main__":
    sys.exit(main())
