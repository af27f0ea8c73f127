"""A program in one of its modes: what it starts on both sides of the path, and what its flows truly are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.catalogue.entry import Entry
from lab.ports import Ports
from lab.programs import Program, Programs
from lab.services.base import Site, Target
from lab.truth import CLEAR, Judgement

__all__ = ["Expected", "Mode", "Stage", "Start", "judged", "of_entry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Flows of a mode: those of a transport with one of these ports on either side."""

    service: str
    """Empty: nothing that anybody knows, and so to be left unknown."""
    transport: str
    low: int = 0
    high: int = 65535
    over: frozenset[str | None] = CLEAR
    """The values of `over` that are right."""
    also: frozenset[str] = frozenset()
    """Services that are as right: a relay's flow may be called `stun` or `turn`."""
    outside: frozenset[str] = frozenset()
    """Services that are true but not all of it."""
    checked: bool = False
    """ICE tries several ways and takes one: flows of few packets are STUN and no more."""

    def holds(self, transport: str, ports: Iterable[int]) -> bool:
        """Whether a flow is meant."""
        return transport == self.transport and any(self.low <= port <= self.high for port in ports)


def judged(expected: Expected, service: str | None, over: str | None, parents: Mapping[str, str]) -> Judgement:
    """Compare a label with the truth; a parent's name is true but not all of it."""
    if not expected.service:
        return Judgement.RIGHT if service is None else Judgement.WRONG
    if service is None:
        return Judgement.UNKNOWN
    if service in expected.also or (service == expected.service and over in expected.over):
        return Judgement.RIGHT
    layers = {layer for layer in expected.over if layer}
    near = {expected.service, *expected.outside, *layers, *_above(expected.service, parents)}
    if service in near:
        return Judgement.OUTSIDE
    return Judgement.WRONG


def _above(service: str, parents: Mapping[str, str]) -> Iterator[str]:
    """The services in whose format it is spoken."""
    above = parents.get(service)
    for _ in parents:
        if above is None:
            return
        yield above
        above = parents.get(above)


@dataclass(slots=True)
class Begun:
    """A client that is to be started."""

    command: list[str]
    lasts: bool
    """Goes on until it is ended."""
    after_s: float
    environment: dict[str, str]


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where one mode plays."""

    programs: Programs
    ports: Ports
    directory: Path
    left_namespace: str
    right_namespace: str
    left: str
    """The clients' address."""
    right: str
    """The servers' address."""
    seconds: float
    """How long clients should go on."""
    certificate: Path
    interpreter: str = sys.executable
    expected: list[Expected] = field(default_factory=list)
    clients: list[Begun] = field(default_factory=list)
    started: list[Program] = field(default_factory=list)
    awaited: set[tuple[str, int]] = field(default_factory=set)

    def folder(self, name: str) -> Path:
        """A new folder."""
        path = self.directory / name
        path.mkdir(parents=True)
        path.chmod(0o777)  # servers drop to users of their own
        return path

    def serve(self, *command: str | Path, name: str = "", udp: int = 0, tcp: int = 0) -> None:
        """Start a program on the right; where a port is given, clients wait until it listens."""
        self.started.append(self.programs.start(self.right_namespace, command, name=name))
        self.awaited |= {(kind, port) for kind, port in (("udp", udp), ("tcp", tcp)) if port}

    def client(self, *command: str | Path, lasts: bool = False, after_s: float = 0.0, **environment: str) -> None:
        """Have a program started on the left once the servers listen."""
        words = [str(word) for word in command]
        self.clients.append(Begun(command=words, lasts=lasts, after_s=after_s, environment=environment))

    def python(self, module: str, *words: object) -> list[str]:
        """The command of a Python module, with the laboratory's packages from PyPI."""
        return [self.interpreter, "-m", module, *map(str, words)]

    def expect(
        self,
        service: str,
        transport: str,
        ports: int | tuple[int, int] = (0, 65535),
        *,
        over: frozenset[str | None] = CLEAR,
        also: Iterable[str] = (),
        outside: Iterable[str] = (),
        checked: bool = False,
    ) -> None:
        """What flows with these ports are; the first that holds counts."""
        low, high = (ports, ports) if isinstance(ports, int) else ports
        self.expected.append(
            Expected(
                service=service,
                transport=transport,
                low=low,
                high=high,
                over=over,
                also=frozenset(also),
                outside=frozenset(outside),
                checked=checked,
            )
        )


Start = Callable[[Stage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One program in one mode."""

    program: str
    mode: str
    start: Start
    packages: tuple[str, ...] = ()
    """Debian packages."""
    pip: tuple[str, ...] = ()
    """PyPI packages."""
    middle: bool = True
    """Can be picked up in the middle: its clients go on as long as they are told."""
    standin: str = ""
    """Which side is no real program, and why."""
    quick: bool = False
    """Part of `--quick`."""
    alone: str = ""
    """Modes with the same word here take the same ports of all addresses, and so their turns."""

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.program}: {self.mode}" if self.mode else self.program


def of_entry(entry: Entry, mode: str = "", *, standin: str = "", quick: bool = False) -> Mode:
    """A program of the catalogue with the clients that it has there; they are short."""

    def start(stage: Stage) -> None:
        site = Site(
            programs=stage.programs,
            ports=stage.ports,
            directory=stage.directory,
            namespace=stage.right_namespace,
            address4=stage.right,
            address6="::1",
            interpreter=stage.interpreter,
        )
        shutil.copy(stage.certificate, site.certificate)
        site.files.mkdir()
        entry.start(site)
        stage.started += site.started
        for service in site.services:
            truth = service.truth
            stage.awaited.add((service.transport, service.port))
            stage.expect(truth.service or "", service.transport, service.port, over=truth.over)
            for client in service.clients:
                target = Target(
                    address=stage.right, port=service.port, own_address=stage.left, directory=stage.directory
                )
                stage.client(*client.command(target), lasts=client.lasts)

    return Mode(
        program=entry.name,
        mode=mode,
        start=start,
        packages=entry.packages,
        pip=entry.pip,
        middle=False,
        standin=standin,
        quick=quick,
    )
