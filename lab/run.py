"""Runs one situation: programs and clients, flowsonar beside them, then labels against truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab import sonar
from lab.probes_seen import Sent, capture_command, count, packets
from lab.programs import LabError, Program, Programs, in_namespace
from lab.report import Finding, Result, Row
from lab.services import STARTERS, Client, Service, Site, Target
from lab.situations import Scope, Situation, required
from lab.topology import ADDRESS4, ADDRESS6, FORWARDED, GATEWAY, SEEN4, SEEN6, SERVER, WIRE, Topology
from lab.truth import Registry, judge

__all__ = ["Lab"]

_CLIENTS_AT_ONCE = 2
_STAGGER_S = 0.08
"""More clients at once, or many starting together, would compete for the processor with what is measured."""
_START_S = 20.0
_CLIENT_S = 12.0
_SETTLE_S = 2.0
"""Sessions run this long before they are picked up."""
_VERDICTS_S = 6.0
"""After the last client ended: a silent port is given up within 3 s."""
_VERDICTS_MIDDLE_S = 15.0
"""When all flows are there at once: some 40 endpoints of one host, which is asked no faster than its budget allows."""
_STOP_S = 15.0


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while not (reached := condition()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return reached


@dataclass(slots=True)
class Lab:
    """The laboratory once its network stands."""

    topology: Topology
    programs: Programs
    site: Site
    directory: Path
    forwarded: dict[int, int] = field(default_factory=dict)
    """Server's port to the port outside, the same for TCP and UDP."""
    _wire: Program | None = None

    def start(self) -> list[Service]:
        """Start wire, servers and forwarding; returns the services that came up. Raises LabError when one did not."""
        report = self.directory / "wire.json"
        arguments = ["--report", str(report), *self.topology.wire_arguments()]
        self._wire = self.programs.start(WIRE, [sys.executable, "-m", "lab.wire", *arguments], name="wire")
        self.site.prepare()
        for starter in STARTERS:
            starter(self.site)
        services = self.site.services
        wanted = {(service.transport, service.port) for service in services}
        _wait(lambda: not wanted - self.topology.listening(SERVER), _START_S)
        left = wanted - self.topology.listening(SERVER)
        if left:
            names = [service.name for service in services if (service.transport, service.port) in left]
            said = [f"{program.name}: {program.tail()}" for program in self.site.started if not program.running]
            raise LabError(f"did not come up: {', '.join(names)}\n" + "\n".join(said))
        self.forwarded = {port: self.site.ports.one() for port in sorted({port for _, port in wanted})}
        ranges = [(data.low, data.high) for service in services for data in service.data if not data.at_client]
        outside = {port: inside for inside, port in self.forwarded.items()}
        self.topology.forward(outside, ranges)
        return services

    def warm(self) -> float:
        """Start flowsonar once, so that it compiles its signatures; returns how long that took, in seconds."""
        started_s = time.monotonic()
        command = [sys.executable, "-m", "flowsonar", "watch", "-i", "lo", "--duration", "0.1"]
        program = self.programs.start(GATEWAY, [*command, "--store", self.directory / "warm.db"], name="flowsonar-warm")
        try:
            program.process.wait(_START_S * 3)
        except subprocess.TimeoutExpired as error:
            raise LabError("flowsonar's first start does not end") from error
        return time.monotonic() - started_s

    def finish_wire(self) -> dict[str, object]:
        """End the wire; returns what it says of itself."""
        if self._wire is None:
            return {}
        self.programs.stop([self._wire])
        try:
            report: dict[str, object] = json.loads((self.directory / "wire.json").read_text())
        except (OSError, ValueError) as error:
            raise LabError(f"the wire left no report: {self._wire.tail()}") from error
        return report

    def run(self, situation: Situation, services: list[Service]) -> Result:
        """One situation from beginning to end."""
        return _Run(self, situation, services).run()


@dataclass(slots=True)
class _Run:
    lab: Lab
    situation: Situation
    services: list[Service]
    registry: Registry = field(default_factory=Registry)
    expected: list[tuple[Service, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    clients: list[tuple[Program, str, bool]] = field(default_factory=list)
    result: Result = field(init=False)

    def run(self) -> Result:
        situation, lab = self.situation, self.lab
        self.result = Result(situation=situation.name, title=situation.title, rtt_ms=situation.way.rtt_ms)
        lab.topology.choose(situation.way)
        self._register()
        self.result.measured_rtt_ms = self._round_trip()
        folder = lab.directory / f"situation-{situation.name}"
        folder.mkdir()
        if situation.middle:
            self._start_clients()
            time.sleep(_SETTLE_S)
            for program, text, _ in self.clients:
                if not program.running:
                    self.result.notes.append(f"session ended early: {text}: {program.tail(200)}")
        own = lab.topology.addresses(GATEWAY)
        capture, sonar_program = self._watch(folder, own)
        if not situation.middle:
            self._start_clients()
        self._await_verdicts(folder / "records.jsonl")
        lab.programs.stop([program for program, _, _ in self.clients if program.running])
        self._end_sonar(sonar_program)
        self._clients_ended()
        capture.signal(signal.SIGINT)
        capture.process.wait(5)
        sent = count(packets((folder / "sent.pcap").read_bytes()))
        self._judge(folder / "records.jsonl", own, sent)
        return self.result

    # -- what is there --------------------------------------------------------------------------------------------

    def _address(self, family: int) -> str:
        if self.situation.way.name == "fwd":
            return FORWARDED
        return (ADDRESS4 if family == 4 else ADDRESS6)[SERVER]

    def _port(self, service: Service) -> int:
        if self.situation.way.name == "fwd":
            return self.lab.forwarded[service.port]
        return service.port

    def _register(self) -> None:
        for service in self.services:
            for family in self.situation.families:
                if family not in service.families:
                    continue
                self.expected.append((service, family))
                address = self._address(family)
                self.registry.add(service.name, service.truth, service.transport, address, self._port(service))
                near = (SEEN4 if family == 4 else SEEN6)[self.situation.client]
                for data in service.data:
                    where = near if data.at_client else address
                    name = f"{service.name} data, {'active' if data.at_client else 'passive'}"
                    self.registry.add(name, data.truth, "tcp", where, data.low, data.high)

    def _round_trip(self) -> float:
        addresses = [self._address(family) for family in self.situation.families]
        command = [sys.executable, "-m", "lab.peers.roundtrip", "9", *addresses]
        median = 0.0
        for namespace in (GATEWAY, self.situation.client):
            done = subprocess.run(in_namespace(namespace, command), capture_output=True, text=True, check=False)
            words = [line.split() for line in done.stdout.splitlines()]
            if not words or any(len(line) < 3 for line in words):
                raise LabError(f"the server cannot be reached from {namespace}: {done.stdout} {done.stderr}")
            median = float(words[0][1])
        return median

    # -- clients --------------------------------------------------------------------------------------------------

    def _commands(self) -> list[tuple[Client, Service, list[str]]]:
        found = []
        for service, family in self.expected:
            chosen = service.sessions if self.situation.middle else service.clients
            own = (ADDRESS4 if family == 4 else ADDRESS6)[self.situation.client]
            target = Target(
                address=self._address(family), port=self._port(service), own_address=own, directory=self.lab.directory
            )
            for client in chosen:
                hidden = client.reachable and self.situation.client not in SEEN4.keys() & ADDRESS4.keys()
                hidden = hidden or (
                    client.reachable and SEEN4[self.situation.client] != ADDRESS4[self.situation.client]
                )
                through = client.forwarded or self.situation.way.name != "fwd"
                if family in client.families and not hidden and through:
                    found.append((client, service, client.command(target)))
        return sorted(found, key=lambda item: not item[0].lasts)

    def _busy(self, allowed: int) -> bool:
        """Whether more than `allowed` short clients still run; one that hangs is ended and noted."""
        running = [item for item in self.clients if not item[2] and item[0].running]
        for program, text, _ in running:
            if time.monotonic() - program.started_s > _CLIENT_S:
                self.lab.programs.stop([program])
                self.result.notes.append(f"client hung for {_CLIENT_S:.0f} s: {text}: {program.tail(200)}")
        return len(running) > allowed

    def _start_clients(self) -> None:
        for client, service, command in self._commands():
            while self._busy(_CLIENTS_AT_ONCE - 1):
                time.sleep(0.02)
            program = self.lab.programs.start(self.situation.client, command, name=f"client-{service.name}")
            self.clients.append((program, " ".join(command), client.lasts))
            if client.lasts and not self.situation.middle:
                time.sleep(_STAGGER_S)
        while self._busy(0):
            time.sleep(0.02)

    def _clients_ended(self) -> None:
        for program, command, _ in self.clients:
            code = program.process.returncode
            if code not in {0, -signal.SIGTERM, -signal.SIGKILL, None} and not self.situation.middle:
                self.result.notes.append(f"client failed ({code}): {command}: {program.tail(200)}")

    # -- flowsonar ------------------------------------------------------------------------------------------------

    def _watch(self, folder: Path, own: frozenset[str]) -> tuple[Program, Program]:
        lab, situation = self.lab, self.situation
        sockets = lab.topology.packet_sockets(GATEWAY)
        capture = lab.programs.start(GATEWAY, capture_command(folder / "sent.pcap", own), name="tcpdump")
        if not _wait(lambda: lab.topology.packet_sockets(GATEWAY) > sockets, _START_S):
            raise LabError(f"tcpdump does not start: {capture.tail()}")
        sockets = lab.topology.packet_sockets(GATEWAY)
        command = sonar.command(situation.interfaces, situation.scopes, folder / "store.db")
        started_s = time.monotonic()
        program = lab.programs.start(GATEWAY, command, name="flowsonar", output=folder / "records.jsonl")
        need = sockets + len(situation.interfaces)
        watching = _wait(lambda: lab.topology.packet_sockets(GATEWAY) >= need or not program.running, _START_S)
        if not watching or not program.running:
            raise LabError(f"flowsonar does not watch {', '.join(situation.interfaces)}: {program.tail(3000)}")
        self.result.start_s = time.monotonic() - started_s
        # The rings keep what comes while signatures are loaded; the times of the first flows would be the loading's.
        _wait((folder / "store.db").exists, _START_S)
        return capture, program

    def _missing(self, file: Path) -> int:
        """How many expected services have no right label yet."""
        right = set()
        for label in sonar.labels(sonar.read_lines(file)[0]):
            known = self.registry.find(label.transport, label.destination, label.source)
            if known and judge(known.truth, label.service, label.over).startswith("right"):
                right.add((known.name, ":" in known.address))
        wanted = {
            (service.name, family == 6) for service, family in self.expected if required(service.truth, self.situation)
        }
        return len(wanted - right)

    def _await_verdicts(self, file: Path) -> None:
        least_s = time.monotonic() + 3.2
        extra_s = self.situation.way.rtt_ms / 1000 * 8
        patience_s = _VERDICTS_MIDDLE_S if self.situation.middle else _VERDICTS_S
        end_s = time.monotonic() + patience_s + extra_s
        while time.monotonic() < end_s:
            if time.monotonic() > least_s and not self._missing(file):
                return
            time.sleep(0.2)

    def _end_sonar(self, program: Program) -> None:
        if not program.running:
            self.result.failures.append(f"flowsonar ended by itself: {program.tail(2000)}")
            return
        os.kill(program.process.pid, signal.SIGINT)
        try:
            code = program.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            program.signal(signal.SIGKILL)
            program.process.wait()
            self.result.failures.append(f"flowsonar did not end within {_STOP_S:.0f} s of SIGINT")
            return
        said = program.tail(2000)
        if code != 0:
            self.result.failures.append(f"flowsonar ended with {code}: {said}")
        elif "Traceback" in said or "never retrieved" in said:
            self.result.failures.append(f"flowsonar printed a traceback: {said}")

    # -- judging --------------------------------------------------------------------------------------------------

    def _judge(self, file: Path, own: frozenset[str], sent: dict[tuple[str, str, int], Sent]) -> None:
        records, broken = sonar.read_lines(file)
        if broken:
            self.result.failures.append(f"{broken} lines of flowsonar are no JSON records")
        seen: set[tuple[str, bool]] = set()
        endpoints: set[tuple[str, str, int]] = set()
        for label in sonar.labels(records):
            if label.source[0] in own or label.destination[0] in own:
                self.result.failures.append(f"a probe of its own is recorded as a flow: {label}, {label.destination}")
                continue
            known = self.registry.find(label.transport, label.destination, label.source)
            if known is None:
                self.result.notes.append(
                    f"a flow nobody knows: {label.transport} {label.source} {label.destination}: {label}"
                )
                continue
            seen.add((known.name, ":" in known.address))
            here = label.destination if label.destination[0] == known.address else label.source
            endpoint = (label.transport, *here)
            probes = sent.get(endpoint, Sent())
            row = Row(
                situation=self.situation.name,
                service=known.name,
                family=6 if ":" in known.address else 4,
                truth=str(known.truth),
                kind=known.truth.kind,
                label=str(label),
                confidence=label.confidence,
                judgement=judge(known.truth, label.service, label.over),
                required=required(known.truth, self.situation),
                ms=label.ms,
                how=label.how,
                first_of_endpoint=endpoint not in endpoints,
                tries=probes.tries,
                packets=probes.packets,
                product=label.product,
                rtt_ms=self.situation.way.rtt_ms,
                picked_up=self.situation.middle,
            )
            endpoints.add(endpoint)
            self.result.rows.append(row)
        self._check_missing(seen)
        self._check_sent(sent)

    def _check_missing(self, seen: set[tuple[str, bool]]) -> None:
        for service, family in self.expected:
            used = service.sessions if self.situation.middle else service.clients
            if (service.name, family == 6) not in seen and (used or service.name == "skype-tcp"):
                self.result.findings.append(
                    Finding(service=service.name, text=f"no record of {service.name} over IPv{family}")
                )

    def _check_sent(self, sent: dict[tuple[str, str, int], Sent]) -> None:
        clients = {SEEN4[self.situation.client], SEEN6.get(self.situation.client, "")}
        for (transport, address, port), what in sent.items():
            is_client = address in clients
            allowed = {
                Scope.BOTH: True,
                Scope.NONE: False,
                Scope.CLIENT: is_client,
                Scope.SERVER: not is_client,
            }[self.situation.scope]
            if not allowed:
                self.result.failures.append(
                    f"{what.packets} packets were sent to {address} port {port}/{transport}, which is out of scope"
                )
