"""Starts the pairs, watches them phase by phase, and puts flowsonar's labels and those of the others beside the truth.

The truth is what was started: every flow between the two hosts of a pair is BitTorrent, and nothing else runs there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import sonar
from lab.hidden import clients, others, torrent, tracker
from lab.hidden.cases import Pair, Phase, Seen
from lab.hidden.network import BACK, GATEWAY_LEFT, GATEWAY_RIGHT, OUT, Network
from lab.ports import Ports
from lab.probes_seen import Sent, capture_command, count, packets
from lab.programs import LabError, Program, Programs

__all__ = ["WITHIN_MS", "Flow", "Hidden", "Outcome"]

_SIZE = 16 << 20
"""Bytes of a file: at the clients' rates it takes more than four minutes."""
_UP_S = 30.0
_FIRST_S = 120.0
"""flowsonar's first start compiles its signatures."""
_STAGGER_S = 0.4
_SETTLE_S = 6.0
"""How long transfers run before they are picked up."""
_WATCH_S = 8.0
"""How long a phase watches after the last transfer began."""
_READY_S = 1.0
"""From its store to its first look at packets."""
_STOP_S = 15.0
_BARE_S = 30.0
WITHIN_MS = 1000.0
"""The figure to reach: from the flow first seen to its label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One flow of a pair, and what everybody calls it."""

    phase: str
    pair: str
    transport: str
    label: str
    service: str | None
    confidence: str
    ms: float | None
    how: str
    product: str | None
    others: dict[str, str]
    ends: list[str]
    bare_ms: list[float | None] = field(default_factory=list)
    """Of a flow that was told late: when its peer gave a bare client its first byte, try by try."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a phase brought."""

    phase: Phase
    flows: list[Flow] = field(default_factory=list)
    datagrams: list[int] = field(default_factory=list)
    """Sent to each UDP endpoint that was asked."""
    connections: list[int] = field(default_factory=list)
    """Opened to each TCP endpoint that was asked."""
    quiet: list[str] = field(default_factory=list)
    """Pairs between which nothing passed."""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Side:
    """One client of a pair, where it runs."""

    running: clients.Running
    begun: list[Program] = field(default_factory=list)


@dataclass(slots=True)
class Hidden:
    """The laboratory once its network stands."""

    network: Network
    programs: Programs
    directory: Path
    pairs: Sequence[Pair]
    nfstream: str
    say: Callable[[str], None]
    ports: Ports
    _sides: list[tuple[Pair, _Side, _Side]] = field(default_factory=list)
    _runs: int = 0

    def prepare(self) -> None:
        """Make hosts, torrents and trackers; start the clients that have the files, and flowsonar once."""
        arguments = [sys.executable, "-m", "flowsonar", "watch", "-i", "lo", "--passive", "--duration", "0.1"]
        store = self.directory / "warm.db"
        warm = self.programs.start(self.network.gateway, [*arguments, "--store", store], name="flowsonar-warm")
        plan: list[tuple[str, list[tuple[str, int]]]] = []
        made = [
            torrent.make(self.directory / "share", f"lab{number}", size=_SIZE, announce=tracker.ANNOUNCE)
            for number in range(max(pair.torrents for pair in self.pairs))
        ]
        for number, pair in enumerate(self.pairs):
            port, other = self.ports.one(), self.ports.one()
            left = self.network.hidden_host(port) if pair.nat else self.network.host("left")
            right = self.network.host("right")
            plan += [(left.namespace, []), (right.namespace, [(left.address, port)])]
            chosen = made[: pair.torrents]
            sides = [
                _Side(
                    clients.Running(
                        programs=self.programs,
                        host=host,
                        folder=self.directory / f"{number}-{name}",
                        port=listen,
                        client=client,
                        torrents=chosen,
                        seed=seeds,
                    )
                )
                for name, host, listen, client, seeds in (
                    ("seed", left, port, pair.seed, True),
                    ("leech", right, other, pair.leech, False),
                )
            ]
            self._sides.append((pair, sides[0], sides[1]))
        file = self.directory / "trackers.json"
        file.write_text(json.dumps(plan))
        announcer = self.programs.start(
            self.network.gateway, [sys.executable, "-m", "lab.hidden.tracker", file], name="trackers"
        )
        self._wait(lambda: "ready" in announcer.tail(), "the trackers", announcer)
        for _, seed, _ in self._sides:
            seed.begun = clients.start(seed.running)
        for pair, seed, _ in self._sides:
            what = f"{pair.seed} ({pair.name})"
            self._wait(lambda seed=seed: self._up(seed), what, seed.begun[0])  # type: ignore[misc]
        try:
            warm.process.wait(_FIRST_S)
        except subprocess.TimeoutExpired as error:
            raise LabError("flowsonar's first start does not end") from error

    def _up(self, side: _Side) -> bool:
        return side.running.port in self.network.listening(side.running.host)

    def _wait(self, reached: Callable[[], bool], what: str, program: Program) -> None:
        end_s = time.monotonic() + _UP_S
        while not reached():
            if time.monotonic() > end_s or not program.running:
                raise LabError(f"{what} does not come up: {program.tail()}")
            time.sleep(0.1)

    def leech(self) -> None:
        """Start the clients that fetch, one after the other; those of an earlier phase are ended first."""
        self._runs += 1
        for _, _, leech in self._sides:
            if leech.begun:
                self.programs.stop(leech.begun)
        for _, _, leech in self._sides:
            folder = leech.running.folder.with_name(f"{leech.running.folder.name.split('.')[0]}.{self._runs}")
            folder.mkdir()
            leech.running = clients.Running(
                **{name: getattr(leech.running, name) for name in clients.Running.__slots__} | {"folder": folder}  # type: ignore[arg-type]
            )
            leech.begun = clients.start(leech.running)
            time.sleep(_STAGGER_S)

    # -- a phase --------------------------------------------------------------------------------------------------

    def watch(self, phase: Phase) -> Outcome:
        """Watch one phase from beginning to end."""
        outcome = Outcome(phase=phase)
        folder = self.directory / f"phase-{phase.name}"
        folder.mkdir()
        if not phase.begins and not self._runs:
            self.leech()
            time.sleep(_SETTLE_S)
        interface = OUT if phase.seen is not Seen.TO_SEED else BACK
        self.network.hide()
        own = [GATEWAY_LEFT, GATEWAY_RIGHT]
        sent = self._capturing(capture_command(folder / "sent.pcap", own))
        without = " and ".join(f"not host {address}" for address in own)
        options = ["-n", "-U", "-B", "16384", "-Z", "root"]
        whole = self._capturing(["tcpdump", "-i", interface, *options, "-w", str(folder / "flows.pcap"), without])
        command = sonar.command([interface], [], folder / "store.db")
        before = self.network.packet_sockets()
        program = self.programs.start(self.network.gateway, command, name="flowsonar", output=folder / "records.jsonl")
        self._wait(lambda: self.network.packet_sockets() > before, "flowsonar", program)
        self._wait((folder / "store.db").exists, "flowsonar", program)
        time.sleep(_READY_S)
        self.network.lead(OUT, OUT if phase.seen is Seen.BOTH else BACK)
        if phase.begins:
            self.leech()
        time.sleep(_WATCH_S)
        self._end(program)
        for capture in (whole, sent):
            capture.signal(signal.SIGINT)
            capture.process.wait(_STOP_S)
        self._judge(folder, outcome)
        self._measure(interface, outcome)
        return outcome

    def _measure(self, interface: str, outcome: Outcome) -> None:
        """Let a bare client ask the peers whose flows were told late."""
        listening = {f"{side.running.host.address}:{side.running.port}" for _, *sides in self._sides for side in sides}
        begun: list[tuple[int, Program]] = []
        for place, flow in enumerate(outcome.flows):
            peer = next((end for end in flow.ends if end in listening), None)
            if flow.transport != "tcp" or peer is None or (flow.ms is not None and flow.ms <= WITHIN_MS):
                continue
            other = next(end for end in flow.ends if end != peer).rpartition(":")[0]
            words = [sys.executable, "-m", "lab.hidden.bare", interface, peer, other]
            begun.append((place, self.programs.start(self.network.gateway, words, name="bare")))
        for place, program in begun:
            program.process.wait(_BARE_S)
            outcome.flows[place] = replace(outcome.flows[place], bare_ms=json.loads(program.tail() or "[]"))

    def _capturing(self, command: list[str]) -> Program:
        before = self.network.packet_sockets()
        program = self.programs.start(self.network.gateway, command, name="tcpdump")
        self._wait(lambda: self.network.packet_sockets() > before, "tcpdump", program)
        return program

    def _end(self, program: Program) -> None:
        if not program.running:
            raise LabError(f"flowsonar ended by itself: {program.tail(2000)}")
        os.kill(program.process.pid, signal.SIGINT)
        try:
            code = program.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"flowsonar did not end within {_STOP_S:.0f} s of SIGINT") from error
        said = program.tail(2000)
        if code or "Traceback" in said:
            raise LabError(f"flowsonar ended with {code}: {said}")

    # -- judging --------------------------------------------------------------------------------------------------

    def _judge(self, folder: Path, outcome: Outcome) -> None:
        named = {
            others.key(label.transport, label.source, label.destination): label
            for label in sonar.labels(sonar.read_lines(folder / "records.jsonl")[0])
        }
        talks = others.talks(folder / "flows.pcap")
        said = others.labels(folder / "flows.pcap", folder, self.nfstream)
        pairs = {
            frozenset((seed.running.host.address, leech.running.host.address)): pair
            for pair, seed, leech in self._sides
        }
        passed: set[str] = set()
        for where, talk in talks.items():
            pair = pairs.get(frozenset(address for address, _ in where[1]))
            if pair is None or not talk.payload:
                continue
            passed.add(pair.name)
            label = named.get(where)
            outcome.flows.append(
                Flow(
                    phase=outcome.phase.name,
                    pair=pair.name,
                    transport=where[0],
                    label="no record" if label is None else str(label),
                    service=None if label is None else label.service,
                    confidence="unknown" if label is None else label.confidence,
                    ms=None if label is None else label.ms,
                    how="-" if label is None else str(label.how),
                    product=None if label is None else label.product,
                    others={tool: said[tool].get(where, "") for tool in others.TOOLS},
                    ends=sorted(f"{address}:{port}" for address, port in where[1]),
                )
            )
        outcome.quiet = sorted({pair.name for pair in self.pairs} - passed)
        self._count(count(packets((folder / "sent.pcap").read_bytes())), outcome)

    def _count(self, sent: dict[tuple[str, str, int], Sent], outcome: Outcome) -> None:
        hosts = {side.running.host.address for _, *sides in self._sides for side in sides}
        for (transport, address, port), what in sorted(sent.items()):
            if address not in hosts and address not in {GATEWAY_LEFT, GATEWAY_RIGHT}:
                outcome.notes.append(f"asked {address}:{port}/{transport}, where none of the clients is")
            if transport == "udp":
                outcome.datagrams.append(what.datagrams)
            else:
                outcome.connections.append(len(what.ports))
