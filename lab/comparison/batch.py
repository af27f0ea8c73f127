"""A batch of the catalogue's programs: started, awaited, asked by every tool, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.catalogue.entry import Entry
from lab.comparison import ndpi, nmap, ours
from lab.comparison.crossing import Place, Told, read_told
from lab.comparison.network import CLIENT4, CLIENT6, LINK, SERVER4, SERVER6, Pair
from lab.comparison.said import Names, Said
from lab.packages import VENV, MissingError, install_debian, install_python, unpack_debian
from lab.ports import Ports
from lab.programs import LabError, Program, Programs
from lab.services.base import Service, Site, Target

__all__ = ["Batch", "Compared", "Options", "Times"]

_UP_S = 20.0
"""How long programs may take until all their ports listen."""
_SETTLE_S = 1.0
_CLIENT_S = 6.0
"""A client that takes longer is ended: what it said until then is in the capture."""
_LASTING_S = 2.0
_CLIENTS_AT_ONCE = 3
_PROBE_S = 120.0
_CROSS_S = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to compare with."""

    nmap: bool = True
    nmap_udp: bool = False
    """nmap takes a minute and more for a UDP port."""
    ndpi: bool = True
    probe: tuple[str, ...] = ()
    """Further options of `flowsonar probe`."""
    at_once: bool = False
    """All endpoints of a batch are asked at once, as many as `flowsonar probe` holds by default: then the programs, and
    we, wait for the same few cores. Else another one is begun when one has its answer or has taken 20 ms."""
    crossed: bool = False
    """Every question to every program instead (`crossing`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One endpoint: the truth, and what each tool says."""

    entry: str
    service: Service
    family: int
    probe: Said
    nmap: Said | None = None
    ndpi: Said | None = None
    read: Said | None = None


@dataclass(slots=True)
class Times:
    """Whole runs of the tools, in seconds."""

    probe_s: float = 0.0
    nmap_s: float = 0.0


@dataclass(slots=True)
class Batch:
    """Runs some entries on one pair of namespaces."""

    pair: Pair
    programs: Programs
    ports: Ports
    directory: Path
    names: Names
    options: Options
    say: Callable[[str], None]
    times: Times = field(default_factory=Times)
    failed: dict[str, str] = field(default_factory=dict)
    """Entry or service to why it is not there."""
    told: list[Told] = field(default_factory=list)
    """What came of every question to every program."""
    _number: int = 0

    def warm(self) -> None:
        """Let flowsonar compile its signatures, which the first start after a change of them does."""
        command = ours.probe_command([("tcp", "127.0.0.1", 1)], self.directory / "warm.db")
        program = self.programs.start(self.pair.client, command, name="flowsonar-warm")
        _ended(program, _PROBE_S)
        self.programs.stop([program])

    def run(self, entries: Sequence[Entry]) -> list[Compared]:
        """All of a batch; what does not come up is in `failed`."""
        self._number += 1
        folder = self.directory / f"batch-{self._number}"
        site = Site(
            programs=self.programs,
            ports=self.ports,
            directory=folder,
            namespace=self.pair.server,
            address4=SERVER4,
            address6=SERVER6,
            interpreter=sys.executable,
        )
        folder.mkdir()
        site.prepare()
        owners = self._start(entries, site)
        try:
            services = self._await(site, owners)
            if self.options.crossed:
                self._cross(services, folder)
                return []
            return self._ask(services, owners, folder) if services else []
        finally:
            self.programs.stop(list(site.started))

    # -- starting -------------------------------------------------------------------------------------------------

    def _start(self, entries: Sequence[Entry], site: Site) -> dict[str, str]:
        """Install and start; returns the entry's name of each service."""
        owners: dict[str, str] = {}
        for entry in entries:
            self.say(f"  {entry.name}")
            before, services = len(site.started), len(site.services)
            try:
                install_debian(entry.packages)
                unpack_debian(entry.unpack)
                self.pair.know_users()
                if entry.pip:
                    install_python(entry.pip)
                    site.interpreter = str(VENV / "bin" / "python")
                entry.start(site)
            except (LabError, MissingError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
                self.failed[entry.name] = f"{type(error).__name__}: {error}"
                self.programs.stop(site.started[before:])
                del site.services[services:]
            site.interpreter = sys.executable
            owners |= {service.name: entry.name for service in site.services[services:]}
        return owners

    def _await(self, site: Site, owners: dict[str, str]) -> list[Service]:
        """Wait until all ports listen; those of programs that do not come up are reported and left out."""
        end_s = time.monotonic() + _UP_S
        wanted = {(service.transport, service.port) for service in site.services}
        while (left := wanted - self.pair.listening()) and time.monotonic() < end_s:
            time.sleep(0.1)
        time.sleep(_SETTLE_S)  # a port that listens need not be served yet
        tails = {program.name: program.tail(400) for program in site.started if not program.running}
        for service in site.services:
            if (service.transport, service.port) in left:
                owner = owners[service.name]
                said = [tail for name, tail in tails.items() if owner in name or service.name in name]
                self.failed[service.name] = " ".join(said or tails.values())[-400:] or "its port does not listen"
        return [service for service in site.services if (service.transport, service.port) not in left]

    # -- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, services: Sequence[Service], owners: dict[str, str], folder: Path) -> list[Compared]:
        endpoints = {
            (service.transport, SERVER4 if family == 4 else SERVER6, service.port): (service, family)
            for service in services
            for family in service.families
        }
        probed = self._probe(list(endpoints), folder)
        captured, read = self._clients(services, folder) if self.options.ndpi else (None, None)
        scanned = self._nmap(list(endpoints), folder)
        found = []
        for key, (service, family) in endpoints.items():
            found.append(
                Compared(
                    entry=owners[service.name],
                    service=service,
                    family=family,
                    probe=probed.get(key, Said(text="no record")),
                    nmap=scanned.get(key),
                    ndpi=None if captured is None else _of(captured, service, family),
                    read=None if read is None else _of(read, service, family),
                )
            )
        return found

    def _probe(self, endpoints: list[tuple[str, str, int]], folder: Path) -> dict[tuple[str, str, int], Said]:
        file = folder / "probe.jsonl"
        more = self.options.probe
        if not self.options.at_once:
            settings = folder / "probe.toml"
            settings.write_text("[budget]\nparallel = 1\nper_host_parallel = 1\n")
            more = ("--config", str(settings), *more)
        # the same program over both families is not asked twice in a row: some serve one after the other
        ordered = sorted(endpoints, key=lambda key: ":" in key[1])
        command = ours.probe_command(ordered, folder / "probe.db", more)
        self.say(f"  flowsonar probe of {len(endpoints)} endpoints")
        program = self.programs.start(self.pair.client, command, name="flowsonar-probe", output=file)
        if _ended(program, _PROBE_S):
            self.times.probe_s += time.monotonic() - program.started_s
        else:
            self.programs.stop([program])
            self.failed["flowsonar probe"] = f"did not end within {_PROBE_S:.0f} s"
        said = program.tail(2000)
        if "Traceback" in said:
            self.failed["flowsonar probe"] = said
        return ours.probed(file)

    def _cross(self, services: Sequence[Service], folder: Path) -> None:
        """Ask everything, over IPv4, of all that are a service."""
        places = [
            Place(
                name=service.name,
                transport=service.transport,
                address=SERVER4,
                port=service.port,
                service=service.truth.service,
                layers=tuple(sorted(layer for layer in service.truth.over if layer)),
            )
            for service in services
            if 4 in service.families and service.truth.service is not None
        ]
        endpoints, told = folder / "places.json", folder / "told.jsonl"
        endpoints.write_text(json.dumps([asdict(place) for place in places]))
        self.say(f"  every question to {len(places)} endpoints")
        command = [sys.executable, "-m", "lab.comparison.crossing", str(endpoints)]
        program = self.programs.start(self.pair.client, command, name="crossing", output=told)
        if not _ended(program, _CROSS_S):
            self.programs.stop([program])
            self.failed["crossing"] = f"did not end within {_CROSS_S:.0f} s"
        found = read_told(told.read_text().splitlines())
        if len(found) < len(places):
            self.failed["crossing"] = program.tail(400)
        self.told += found

    def _nmap(self, endpoints: list[tuple[str, str, int]], folder: Path) -> dict[tuple[str, str, int], Said]:
        if not self.options.nmap:
            return {}
        wanted = [key for key in endpoints if "." in key[1] and (key[0] == "tcp" or self.options.nmap_udp)]
        self.say(f"  nmap -sV of {len(wanted)} endpoints")
        began_s = time.monotonic()
        found = nmap.scan(self.programs, self.pair.client, wanted, folder / "nmap", self.names, self.say)
        self.times.nmap_s += time.monotonic() - began_s
        return found

    def _clients(
        self, services: Sequence[Service], folder: Path
    ) -> tuple[dict[tuple[str, int], Said], dict[tuple[str, int], Said]]:
        """Let the real clients work under a capture; what ndpiReader and `flowsonar read` say of it."""
        capture = folder / "clients.pcap"
        before = self.pair.capturing()
        tcpdump = [
            "tcpdump",
            "-i",
            LINK,
            "-n",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-w",
            str(capture),
            "tcp or udp",
        ]
        capturing = self.programs.start(self.pair.client, tcpdump, name="tcpdump")
        end_s = time.monotonic() + 5
        while self.pair.capturing() <= before and time.monotonic() < end_s:
            time.sleep(0.05)
        self.say("  real clients")
        self._run_clients(services)
        time.sleep(0.3)
        self.programs.stop([capturing])
        file = folder / "read.jsonl"
        command = ours.read_command(capture)
        program = self.programs.start(self.pair.client, command, name="flowsonar-read", output=file)
        _ended(program, _PROBE_S)
        self.programs.stop([program])
        addresses = (SERVER4, SERVER6)
        return ndpi.labels(capture, folder, addresses, self.names), ours.read_labels(file, addresses)

    def _run_clients(self, services: Sequence[Service]) -> None:
        running: list[tuple[Program, float]] = []
        for service in services:
            family = _seen_family(service)
            target = Target(
                address=SERVER4 if family == 4 else SERVER6,
                port=service.port,
                own_address=CLIENT4 if family == 4 else CLIENT6,
                directory=self.directory,
            )
            for client in service.clients:
                if family not in client.families:
                    continue
                self._make_room(running, _CLIENTS_AT_ONCE - 1)
                program = self.programs.start(self.pair.client, client.command(target), name=f"client-{service.name}")
                running.append((program, _LASTING_S if client.lasts else _CLIENT_S))
        self._make_room(running, 0)

    def _make_room(self, running: list[tuple[Program, float]], allowed: int) -> None:
        while True:
            now_s = time.monotonic()
            late = [program for program, limit_s in running if now_s - program.started_s > limit_s]
            self.programs.stop(late)
            running[:] = [item for item in running if item[0].running]
            if len(running) <= allowed:
                return
            time.sleep(0.03)


def _ended(program: Program, seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.process.wait(seconds)
        return True
    return False


def _seen_family(service: Service) -> int:
    """The address family that the clients use: the first one that the service has."""
    return service.families[0]


def _of(labels: dict[tuple[str, int], Said], service: Service, family: int) -> Said | None:
    """What was made of a service's flows; None where no client of it ran."""
    if family != _seen_family(service) or not service.clients:
        return None
    return labels.get((service.transport, service.port), Said())
