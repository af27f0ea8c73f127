"""The clients of the demonstration: real client libraries, and curl where the machine has it, in one worker process.

Run by the stage as `python -m flowsonar.demo.clients` inside its own network namespace. After `ready` it waits for
a line, then uses every service, one a moment after the other so that a person can follow, and says `done` for each.
"""

from __future__ import annotations

import asyncio
import ftplib
import http.client
import io
import secrets
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage

import asyncssh
from dnslib import DNSRecord

from flowsonar.demo.certificate import SERVER_NAME
from flowsonar.demo.namespaces import CLIENTS
from flowsonar.demo.plan import FTP_PASSWORD, FTP_USER, Planned, find_program
from flowsonar.demo.skype_standin import Node, StandinError
from flowsonar.demo.worker import Setting, run_worker, say

__all__ = ["main"]

TIMEOUT_S = 10.0
GAP_S = 0.25
"""Between the starts of two clients."""
CALL_S = 3.0
PATHS = ("/", "/file.bin")


class Clients:
    """One method per service; blocking ones run in a thread each."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.local = setting.local

    def trust(self) -> ssl.SSLContext:
        """A context that trusts the demo's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.setting.folder / "certificate.pem"))

    def http(self, one: Planned) -> None:
        """Get a page and a file."""
        for path in PATHS:
            _get(http.client.HTTPConnection(one.address, one.port, timeout=TIMEOUT_S), one.address, path)

    nginx = http

    def https(self, one: Planned) -> None:
        """Get the same inside TLS, with the server's name in the hello."""
        for path in PATHS:
            connection = http.client.HTTPSConnection(one.address, one.port, timeout=TIMEOUT_S)
            plain = socket.create_connection((one.address, one.port), TIMEOUT_S)
            connection.sock = self.trust().wrap_socket(plain, server_hostname=SERVER_NAME)
            _get(connection, SERVER_NAME, path)

    def ftp(self, one: Planned) -> None:
        """Log in; list, fetch and store over passive (PASV, EPSV) and active (PORT, EPRT) data connections."""
        client = _Ftp(timeout=TIMEOUT_S)
        client.connect(one.address, one.port)
        client.login(FTP_USER, FTP_PASSWORD)
        _transfer(client)
        client.extended = True
        client.retrbinary("RETR file.bin", lambda _: None)
        client.set_pasv(False)
        client.retrbinary("RETR file.bin", lambda _: None)
        client.quit()

    def ftps(self, one: Planned) -> None:
        """Go into TLS with AUTH TLS and PROT P, then list and fetch."""
        context = self.trust()
        context.check_hostname = False  # ftplib knows the server by its address only
        with ftplib.FTP_TLS(timeout=TIMEOUT_S, context=context) as client:  # its __exit__ says QUIT
            client.connect(one.address, one.port)
            client.login(FTP_USER, FTP_PASSWORD)
            client.prot_p()
            _transfer(client)

    def smtp(self, one: Planned) -> None:
        """Hand over one mail."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@demo.example", "b@demo.example", "Demo"
        mail.set_content("Hello from the demo.\n")
        with smtplib.SMTP(one.address, one.port, local_hostname="desk.demo.example", timeout=TIMEOUT_S) as client:
            client.send_message(mail)

    async def ssh(self, one: Planned) -> None:
        """Log in and read the greeting."""
        async with asyncssh.connect(
            one.address, one.port, known_hosts=None, username=FTP_USER, client_keys=None, config=None, agent_path=None
        ) as connection:
            await connection.run("hello", check=False)

    def dns(self, one: Planned) -> None:
        """Ask for a name."""
        for name in ("www.demo.example", "mail.demo.example"):
            DNSRecord.question(name).send(one.address, one.port, tcp=one.transport == "tcp", timeout=TIMEOUT_S)

    def echo(self, one: Planned) -> None:
        """Hear what was said."""
        _say(one, b"Is anybody there?\r\n", answer=True)

    async def skype(self, one: Planned) -> None:
        """Meet the stand-in over UDP and call it, then open its TCP side: one visit for the two of them."""
        if one.transport != "udp":
            return
        node = Node(self.local[0])
        await node.start()
        peer = (one.address, one.port)
        try:
            await node.probe(peer)
            async with asyncio.TaskGroup() as group:
                group.create_task(node.handshake(peer, pings=2))
                group.create_task(node.call(peer, CALL_S))
        finally:
            await node.close()

    def redis(self, one: Planned) -> None:
        """Set and get a value in the wire format of Redis."""
        with socket.create_connection((one.address, one.port), TIMEOUT_S) as connection:
            for command in (b"*3\r\n$3\r\nSET\r\n$4\r\ndemo\r\n$1\r\n1\r\n", b"*2\r\n$3\r\nGET\r\n$4\r\ndemo\r\n"):
                connection.sendall(command)
                connection.recv(100)

    def silent(self, one: Planned) -> None:
        """Say something that no service says first."""
        _say(one, secrets.token_bytes(40), answer=False)

    def random(self, one: Planned) -> None:
        """Say random bytes and hear others."""
        _say(one, secrets.token_bytes(40), answer=True)

    def silent_udp(self, one: Planned) -> None:
        """Send datagrams that nobody answers."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.connect((one.address, one.port))
            for _ in range(3):
                connection.send(secrets.token_bytes(40))

    def random_udp(self, one: Planned) -> None:
        """Send datagrams and hear others."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect((one.address, one.port))
            for _ in range(3):
                connection.send(secrets.token_bytes(40))
                connection.recv(2000)

    def curl(self, one: Planned) -> None:
        """Use the same service with curl, where the machine has it."""
        path = find_program("curl")
        if path is None or one.last_port:
            return
        address = f"[{one.address}]" if ":" in one.address else one.address
        scheme = "ftp" if one.key == "ftp" else "http"
        login = f"{FTP_USER}:{FTP_PASSWORD}@" if scheme == "ftp" else ""
        url = f"{scheme}://{login}{address}:{one.port}/file.bin"
        command = [path, "--silent", "--noproxy", "*", "--max-time", str(TIMEOUT_S), "--output", "/dev/null", url]
        subprocess.run(command, check=True, timeout=TIMEOUT_S + 5)


class _Ftp(ftplib.FTP):
    """Python's FTP client, which says EPSV over IPv4 too when told."""

    extended = False

    def makepasv(self) -> tuple[str, int]:
        if self.extended:
            peer = self.sock.getpeername() if self.sock else ("", 0)
            return ftplib.parse229(self.sendcmd("EPSV"), peer)[:2]
        return super().makepasv()


def _get(connection: http.client.HTTPConnection, host: str, path: str) -> None:
    try:
        connection.request("GET", path, headers={"Host": host})
        connection.getresponse().read()
    finally:
        connection.close()


def _transfer(client: ftplib.FTP) -> None:
    client.nlst()
    client.retrbinary("RETR file.bin", lambda _: None)
    client.storbinary("STOR stored.bin", io.BytesIO(secrets.token_bytes(20_000)))


def _say(one: Planned, data: bytes, *, answer: bool) -> None:
    with socket.create_connection((one.address, one.port), TIMEOUT_S) as connection:
        connection.sendall(data)
        connection.settimeout(TIMEOUT_S if answer else 1.0)
        try:
            connection.recv(2000)
        except TimeoutError:
            if answer:
                raise


ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    StandinError,
    ExceptionGroup,
    http.client.HTTPException,
    ftplib.Error,
    smtplib.SMTPException,
    subprocess.SubprocessError,
    asyncssh.Error,
)
"""What a client may end with; anything else is a mistake of the demo."""


async def _use(use: Callable[..., object], one: Planned) -> None:
    try:
        if asyncio.iscoroutinefunction(use):
            await asyncio.wait_for(use(one), TIMEOUT_S)
        else:
            await asyncio.to_thread(use, one)
    except ERRORS as error:
        say("failed", name=f"client of {one.title}", error=f"{type(error).__name__}: {error}")
    else:
        say("done", name=one.title)


async def _role(setting: Setting) -> None:
    clients = Clients(setting)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    plan = [one for one in setting.plan.planned if not one.last_port]
    # What nobody can identify takes longest to give up, so it begins.
    plan.sort(key=lambda one: one.service is not None)
    async with asyncio.TaskGroup() as group:
        for one in plan:
            group.create_task(_use(getattr(clients, one.key.replace("-", "_")), one))
            await asyncio.sleep(GAP_S)
        for one in plan:
            if one.key in {"http", "ftp"}:
                group.create_task(_use(clients.curl, one))
    say("finished")
    await asyncio.to_thread(sys.stdin.readline)


def main() -> int:
    """Run until everything was used and the stage closes standard input."""
    return run_worker(CLIENTS, _role)


if __name__ == "__main__":
    sys.exit(main())
