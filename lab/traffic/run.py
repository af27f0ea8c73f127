"""One pass: batches of modes play on both sides of the path while flowsonar watches it; labels beside the truth."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import sonar
from lab.packages import VENV, MissingError, install_debian, install_python
from lab.ports import Ports
from lab.programs import LabError, Program, Programs
from lab.traffic.mode import Begun, Mode, Stage
from lab.traffic.network import FROM_SERVER, LINKS, TO_SERVER, WHOLE, Path3
from lab.traffic.told import Flow, Key, flows

__all__ = ["PASSES", "Pass", "Run", "Seen", "batches", "whose"]

_UP_S = 15.0
_SETTLE_S = 4.0
"""Flows run this long before they are picked up."""
_STAGGER_S = 0.15
"""Between the starts of clients: many starting together would compete for the processor with what is measured."""
_GRACE_S = 6.0
"""More than the clients were told to take: slow starts under load."""
_ANSWERS_S = 3.0
_START_S = 30.0
_STOP_S = 20.0
_COMPILES_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """How all modes are watched once."""

    name: str
    title: str
    interfaces: tuple[tuple[str, str], ...] = (("", WHOLE),)
    """Watches at the same time: what is added to the pass's name, and the interface."""
    middle: bool = False
    seconds: float = 5.0
    quick: bool = False

    def takes(self, mode: Mode) -> bool:
        """Whether a mode takes part."""
        return mode.middle or not self.middle


PASSES = (
    Pass(name="first", title="from the first packet, both directions", quick=True),
    Pass(name="middle", title="picked up in the middle", middle=True, seconds=14.0),
    Pass(
        name="one-way",
        title="one direction only",
        interfaces=(("to server", TO_SERVER), ("to client", FROM_SERVER)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One flow of a mode in one pass: what flowsonar says, and the key by which others' words are found."""

    watch: str
    """The pass, and the direction where only one is seen."""
    mode: Mode
    expected: int
    """Which of the mode's `Expected` it is; -1: none."""
    flow: Flow
    capture: Path


@dataclass(slots=True)
class Run:
    """Plays modes on one network."""

    network: Path3
    programs: Programs
    seed: int
    """Of the random ports, which are drawn anew for each batch."""
    directory: Path
    certificate: Path
    say: Callable[[str], None]
    failed: dict[str, str] = field(default_factory=dict)
    """Mode to why it did not play."""
    faults: list[str] = field(default_factory=list)
    """What flowsonar itself did wrong."""
    stages: dict[tuple[str, str], Stage] = field(default_factory=dict)
    """By pass and mode."""
    captures: list[Path] = field(default_factory=list)
    _count: int = 0

    def warm(self) -> None:
        """Start flowsonar once, so that it compiles its signatures: the first flows' times would be the compiler's."""
        words = [sys.executable, "-m", "flowsonar", "watch", "-i", "lo", "--passive", "--duration", "0.1"]
        program = self.programs.start(self.network.path, [*words, "--store", self.directory / "warm.db"], name="warm")
        try:
            program.process.wait(_COMPILES_S)
        except subprocess.TimeoutExpired as error:
            raise LabError("flowsonar's first start does not end") from error

    def play(self, plan: Pass, modes: Sequence[Mode], batch: int) -> list[Seen]:
        """All modes of a pass."""
        found = []
        for part in batches([mode for mode in modes if plan.takes(mode)], batch):
            self.say(f"{plan.name}: {', '.join(mode.name for mode in part)}")
            found += self._batch(plan, part)
        return found

    # -- one batch ------------------------------------------------------------------------------------------------

    def _batch(self, plan: Pass, modes: Sequence[Mode]) -> list[Seen]:
        self._count += 1
        ports = Ports(self.seed + self._count)
        folder = self.directory / f"batch-{self._count}"
        folder.mkdir()
        folder.chmod(0o755)
        stages: dict[Mode, Stage] = {}
        clients: list[tuple[Program, Begun]] = []
        try:
            for place, mode in enumerate(modes):
                stage = self._set_up(plan, mode, folder / str(place), ports)
                if stage is not None:
                    stages[mode] = stage
            self._await_servers(stages)
            watching: list[tuple[str, Program, Path]] = []
            if plan.middle:
                clients = self._start_clients(stages)
                time.sleep(_SETTLE_S)
            capture = folder / "flows.pcap"
            capturing = self._capture(capture)
            watching = [self._watch(folder, *one) for one in plan.interfaces]
            if not plan.middle:
                clients = self._start_clients(stages)
            self._await_clients(plan, clients)
            time.sleep(_ANSWERS_S)
            for _, program, _ in watching:
                self._end(program)
            capturing.signal(signal.SIGINT)
            capturing.process.wait(10)
            self.captures.append(capture)
            self._note_silent(stages, clients)
            return self._read(plan, stages, watching, capture)
        finally:
            self.programs.stop([program for program, _ in clients])
            self.programs.stop([program for stage in stages.values() for program in stage.started])

    def _set_up(self, plan: Pass, mode: Mode, folder: Path, ports: Ports) -> Stage | None:
        folder.mkdir()
        folder.chmod(0o755)
        left, right = self.network.addresses()
        stage = Stage(
            programs=self.programs,
            ports=ports,
            directory=folder,
            left_namespace=self.network.left,
            right_namespace=self.network.right,
            left=left,
            right=right,
            seconds=plan.seconds,
            certificate=self.certificate,
        )
        try:
            install_debian(mode.packages)
            if mode.pip:
                install_python(mode.pip)
                stage.interpreter = str(VENV / "bin" / "python")
            mode.start(stage)
        except (LabError, MissingError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            self.failed[mode.name] = f"{type(error).__name__}: {error}"
            self.programs.stop(stage.started)
            return None
        self.stages[plan.name, mode.name] = stage
        return stage

    def _await_servers(self, stages: dict[Mode, Stage]) -> None:
        end_s = time.monotonic() + _UP_S
        while time.monotonic() < end_s:
            there = {(kind, port) for kind, _, port in self.network.listening()}
            if all(stage.awaited <= there for stage in stages.values()):
                return
            time.sleep(0.1)
        for mode, stage in list(stages.items()):
            if not stage.awaited <= there:
                said = [program.tail(300) for program in stage.started]
                self.failed[mode.name] = " ".join(" ".join(said).split()) or "its port does not listen"
                self.programs.stop(stage.started)
                del stages[mode]

    def _start_clients(self, stages: dict[Mode, Stage]) -> list[tuple[Program, Begun]]:
        began_s = time.monotonic()
        waiting = [
            (one.after_s + _STAGGER_S * place, stage, one)
            for place, (stage, one) in enumerate((stage, one) for stage in stages.values() for one in stage.clients)
        ]
        found = []
        for due_s, stage, one in sorted(waiting, key=lambda item: item[0]):
            time.sleep(max(0.0, began_s + due_s - time.monotonic()))
            program = self.programs.start(stage.left_namespace, one.command, environment=one.environment)
            found.append((program, one))
        return found

    def _await_clients(self, plan: Pass, clients: Sequence[tuple[Program, Begun]]) -> None:
        """Until the clients' time is over; those that end by themselves get some more."""
        latest_s = max((program.started_s for program, _ in clients), default=time.monotonic())
        least_s, most_s = latest_s + plan.seconds, latest_s + plan.seconds + _GRACE_S
        while (now_s := time.monotonic()) < most_s:
            waits = any(program.running and not one.lasts for program, one in clients)
            if now_s >= least_s and not waits:
                return
            if not any(program.running for program, _ in clients) and not any(one.lasts for _, one in clients):
                return
            time.sleep(0.1)

    def _note_silent(self, stages: dict[Mode, Stage], clients: Sequence[tuple[Program, Begun]]) -> None:
        for program, one in clients:
            code = program.process.poll()
            if code not in {0, None, 124}:
                self.say(f"  client ended with {code}: {' '.join(one.command)[:120]}: {program.tail(300)}")
        for mode, stage in stages.items():
            for program in stage.started:
                if not program.running:
                    self.say(f"  server of {mode.name} ended: {program.name}: {program.tail(300)}")

    # -- watching -------------------------------------------------------------------------------------------------

    def _capture(self, file: Path) -> Program:
        own = " or ".join(f"host {address}" for address in self.network.own_addresses())
        words = ["tcpdump", "-i", WHOLE, "-n", "-U", "--immediate-mode", "-Z", "root", "-B", "8192"]
        before = self.network.capturing()
        program = self.programs.start(self.network.path, [*words, "-w", file, f"not ({own}) and ip"], name="tcpdump")
        self._until(lambda: self.network.capturing() > before or not program.running)
        if not program.running:
            raise LabError(f"tcpdump does not start: {program.tail()}")
        return program

    def _watch(self, folder: Path, name: str, interface: str) -> tuple[str, Program, Path]:
        records = folder / f"records-{interface}.jsonl"
        before = self.network.capturing()
        words = [sys.executable, "-m", "flowsonar", "watch", "--json", "--store", folder / f"{interface}.db"]
        words += ["-i", interface]
        program = self.programs.start(self.network.path, words, name=f"flowsonar-{interface}", output=records)
        self._until(lambda: self.network.capturing() > before or not program.running)
        if not program.running:
            raise LabError(f"flowsonar does not watch {interface}: {program.tail(3000)}")
        # The rings keep what comes while signatures are loaded; the times of the first flows would be the loading's.
        self._until((folder / f"{interface}.db").exists)
        return name, program, records

    @staticmethod
    def _until(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + _START_S
        while not condition() and time.monotonic() < end_s:
            time.sleep(0.02)

    def _end(self, program: Program) -> None:
        if program.running:
            os.kill(program.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(_STOP_S)
        said = program.tail(2000)
        if program.running:
            program.signal(signal.SIGKILL)
            self.faults.append(f"flowsonar did not end within {_STOP_S:.0f} s of SIGINT")
        elif program.process.returncode != 0 or "Traceback" in said:
            self.faults.append(f"flowsonar ended with {program.process.returncode}: {said}")

    # -- judging --------------------------------------------------------------------------------------------------

    def _read(
        self,
        plan: Pass,
        stages: dict[Mode, Stage],
        watching: Sequence[tuple[str, Program, Path]],
        capture: Path,
    ) -> list[Seen]:
        owners = {address: mode for mode, stage in stages.items() for address in (stage.left, stage.right)}
        found = []
        for name, _, file in watching:
            records, broken = sonar.read_lines(file)
            if broken:
                self.faults.append(f"{broken} lines of flowsonar are no JSON records")
            for flow in flows(records):
                mode, place = whose(stages, owners, flow.key)
                if mode is None:
                    continue
                watch = f"{plan.name}, {name}" if name else plan.name
                found.append(Seen(watch=watch, mode=mode, expected=place, flow=flow, capture=capture))
            self._missing(stages, found, name)
        return found

    def _missing(self, stages: dict[Mode, Stage], found: Sequence[Seen], watch: str) -> None:
        """Modes without a single flow that was expected did not play."""
        for mode, stage in stages.items():
            there = {one.expected for one in found if one.mode is mode}
            left = [one for place, one in enumerate(stage.expected) if place not in there]
            if not there - {-1} and not watch:
                what = ", ".join(f"{one.service} ({one.transport} {one.low}-{one.high})" for one in left)
                self.say(f"  no flow of {mode.name}: {what}")
                self.failed[mode.name] = f"no flow was seen: {what}"


def batches(modes: Sequence[Mode], size: int) -> list[list[Mode]]:
    """As many modes at a time as may play together."""
    batches: list[list[Mode]] = []
    for mode in modes:
        for part in batches:
            if len(part) < size and not (mode.alone and any(one.alone == mode.alone for one in part)):
                part.append(mode)
                break
        else:
            batches.append([mode])
    return batches


_NARROW = 100
"""Ports that a mode has for itself."""


def whose(stages: dict[Mode, Stage], owners: dict[str, Mode], key: Key) -> tuple[Mode | None, int]:
    """A flow's mode and which of its expected flows it is, -1 for none of them.

    By the addresses; of programs that look at interfaces for addresses to use (ICE), by ports that no other mode has.
    """
    hosts = [address for address, _ in key[1]]
    modes = {owners.get(host) for host in hosts}
    own = next(iter(modes)) if len(modes) == 1 else None
    if own is not None and (place := _which(stages[own], key)) >= 0:
        return own, place
    if all(host in owners or host in LINKS for host in hosts):
        for mode, stage in stages.items():
            place = _which(stage, key)
            if place >= 0 and stage.expected[place].high - stage.expected[place].low <= _NARROW:
                return mode, place
    return own, -1


def _which(stage: Stage, key: Key) -> int:
    transport, ends = key
    ports = [port for _, port in ends]
    for place, one in enumerate(stage.expected):
        if one.holds(transport, ports):
            return place
    return -1
