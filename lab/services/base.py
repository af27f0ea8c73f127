"""What a service of the laboratory is: a program on a random port, its truth, and the clients that use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.ports import Ports
from lab.programs import LabError, Program, Programs
from lab.topology import ADDRESS4, ADDRESS6, SERVER
from lab.truth import Truth

__all__ = ["BIG", "SLOWLY", "SMALL", "Client", "Data", "Service", "Site", "Target", "talk"]

SMALL, BIG = "small.txt", "big.bin"
"""Files that every file server offers."""
_BIG_BYTES = 16 << 20
SLOWLY = "200k"
"""Bytes a second of a long download, for curl: slow enough to last, fast enough to open the window (and so to show
packets in both directions) several times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a client is told: whom to use, and from where."""

    address: str
    port: int
    own_address: str
    """The client's address."""
    directory: Path

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def host(self) -> str:
        """The address as URLs have it."""
        return f"[{self.address}]" if self.family == 6 else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program that uses a service."""

    command: Callable[[Target], list[str]]
    reachable: bool = False
    """Works only where the server can connect to the client."""
    forwarded: bool = True
    """Works through a forwarded port: does not believe the address that an FTP server behind one says."""
    families: tuple[int, ...] = (4, 6)
    lasts: bool = False
    """Goes on until it is ended: for being picked up in the middle, or for servers that say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Ports of further connections that a service brings about."""

    low: int
    high: int
    truth: Truth
    at_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One endpoint of a program."""

    name: str
    transport: str
    port: int
    truth: Truth
    clients: tuple[Client, ...]
    """From the first packet."""
    sessions: tuple[Client, ...] = ()
    """Long ones, to be picked up in their middle."""
    families: tuple[int, ...] = (4, 6)
    data: tuple[Data, ...] = ()
    product: str | None = None
    """The program behind it, where the wire tells; None where it does not tell."""
    version: str | None = None


@dataclass(slots=True)
class Site:
    """Where the servers are set up: ports, folders, certificate, programs."""

    programs: Programs
    ports: Ports
    directory: Path
    only: frozenset[str] = frozenset()
    """Names of services wanted; empty for all."""
    services: list[Service] = field(default_factory=list)
    started: list[Program] = field(default_factory=list)
    namespace: str = SERVER
    """Where the programs run."""
    address4: str = ADDRESS4[SERVER]
    address6: str = ADDRESS6[SERVER]
    interpreter: str = sys.executable
    """What runs servers that are Python modules: with the catalogue's PyPI packages where they are wanted."""

    @property
    def certificate(self) -> Path:
        """Certificate and key in one PEM file."""
        return self.directory / "certificate.pem"

    @property
    def files(self) -> Path:
        """The folder that file servers offer."""
        return self.directory / "files"

    def prepare(self) -> None:
        """Make the certificate and the files."""
        self.directory.chmod(0o755)  # servers drop to users of their own
        self.files.mkdir()
        (self.files / SMALL).write_text("The laboratory's small file.\n" * 20)
        with (self.files / BIG).open("wb") as big:
            big.truncate(_BIG_BYTES)
        key = self.directory / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-keyout", str(key)]
        command += ["-subj", "/CN=server.lab.example", "-addext", "subjectAltName=DNS:server.lab.example"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"openssl cannot make a certificate: {done.stderr.strip()}")
        self.certificate.write_text(done.stdout + key.read_text())

    def folder(self, name: str, owner: str | None = None) -> Path:
        """A new folder for one program."""
        path = self.directory / name
        path.mkdir(parents=True)
        if owner:
            shutil.chown(path, owner)
        return path

    def run(self, *arguments: str | Path, name: str = "") -> None:
        """Start a server's program."""
        self.started.append(self.programs.start(self.namespace, arguments, name=name))

    def python(self, *arguments: str | Path, name: str = "") -> None:
        """Start a server that is a Python module."""
        self.run(self.interpreter, "-m", *arguments, name=name)

    def offer(self, *services: Service) -> None:
        """These endpoints are there."""
        self.services.extend(services)


def talk(*arguments: str, transport: str = "tcp", families: tuple[int, ...] = (4, 6)) -> Client:
    """The laboratory's own client that goes on talking."""
    kind = {"tcp": [], "udp": ["--udp"], "tls": ["--tls"]}[transport]

    def command(target: Target) -> list[str]:
        where = [*kind, target.address, str(target.port)]
        return [sys.executable, "-m", "lab.peers.talk", *where, *arguments]

    return Client(command=command, families=families, lasts=True)
