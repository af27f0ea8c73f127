"""Runs the call beside its load in each of the gateway's ways, and measures."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.instrument import standstills, stood_still
from lab.packages import VENV
from lab.programs import LabError, Program, Programs, in_namespace
from lab.services.base import Site
from lab.shaping import bittorrent, measure
from lab.shaping.network import (
    CALLER,
    CALLER_ADDRESS,
    GATEWAY,
    LOADER,
    LOADER_ADDRESS,
    MODEM,
    PEERS,
    RTT_MS,
    SERVER,
    SERVER_NET,
    WIRE,
    run,
    server_address,
)
from lab.shaping.queues import DOWN_SHAPED_KBIT, UP_SHAPED_KBIT, shared_queue

__all__ = ["WAYS", "Bench", "Result"]

WAYS = {
    "idle": "the call alone",
    "plain": "nobody shapes",
    "shared": "one shared queue",
    "hand": "queues without brake, marks by hand",
    "flowsonar": "flowsonar",
}
_SIP, _WEB = 5060, 443
_QUIET_S = 1.5
_START_S = 120.0
"""The longest start: patterns are compiled once."""
_WEIGHTY = ("sh", "-c", 'echo -15 > /proc/self/autogroup; exec nice -n -15 "$@"', "sh")
"""As the unit for systemd starts it (`packaging/`): a gateway has its processor for itself, and here it shares two with
all peers, clients and captures. The kernel weighs sessions first where it groups by them (sched(7), autogroup)."""
_CAPTURE_BYTES = 96
_CLASS = {"bulk": 1, "call": 46}
"""DSCP: LE, EF."""
_NGINX = """daemon off; error_log stderr; pid {folder}/nginx.pid; worker_processes 1;
events {{ }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen {address}:{port} ssl; root {root};
ssl_certificate {certificate}; ssl_certificate_key {certificate}; }} }}
"""


@dataclass(slots=True)
class Result:
    """One way of the gateway."""

    way: str
    up: measure.Delays
    down: measure.Delays
    carried: dict[str, dict[str, int]]
    seconds: float
    """That `carried` is over."""
    start_ns: int = 0
    """When the load began."""
    new: dict[str, measure.Marks] = field(default_factory=dict)
    """How flows to endpoints that nobody knew were marked."""
    known: dict[str, measure.Marks] = field(default_factory=dict)
    """The same for endpoints seen before."""
    waited_ms: list[float] = field(default_factory=list)
    """From each verdict of `flowsonar shape` to its mark in the kernel."""
    still: float = 0.0
    """The share of the time in which the machine stood still."""

    @property
    def tells(self) -> bool:
        """Whether the machine was steady enough, in both directions, for half of the call's packets to count."""
        return self.up.tells() and self.down.tells()


class Bench:
    """Servers, telephone and load in the namespaces that are there."""

    def __init__(
        self, programs: Programs, folder: Path, seed: int, say: Callable[[str], None], more: Sequence[str] = ()
    ) -> None:
        """`more` are options for `flowsonar shape`."""
        self._more = more
        self._programs = programs
        self._folder = folder
        self._say = say
        self._random = random.Random(seed)
        self._calls = 0
        self._captures = 0
        ports = self._random.sample(range(20_000, 60_000), PEERS)
        self._peers = [(server_address(10 + number), port) for number, port in enumerate(ports)]
        self._wire_report = folder / "wire.json"
        self._wire: Program | None = None
        self._still = folder / "still"
        self._watch: Program | None = None

    def start(self) -> None:
        """Start what runs all the time."""
        programs, folder = self._programs, self._folder
        folder.chmod(0o755)
        report = ["--report", str(self._wire_report), f"wa,wb,{RTT_MS / 2},0"]
        self._wire = programs.start(WIRE, [sys.executable, "-m", "lab.wire", *report], name="wire")
        self._watch = programs.start(WIRE, [sys.executable, "-m", "lab.instrument", str(self._still)], name="watch")
        bittorrent.prepare(folder)
        (folder / "peers.json").write_text(json.dumps(self._peers))
        python = str(VENV / "bin" / "python")
        peers = [python, "-m", "lab.shaping.bittorrent", "peers", str(folder), str(folder / "peers.json")]
        swarm = programs.start(SERVER, peers, name="peers")
        site = Site(programs, None, folder, namespace=SERVER)  # type: ignore[arg-type]
        site.prepare()
        with (site.files / "huge.bin").open("wb") as huge:
            huge.truncate(1 << 30)
        web = site.folder("nginx")
        settings = {"folder": web, "address": server_address(1), "port": _WEB, "certificate": site.certificate}
        (web / "nginx.conf").write_text(_NGINX.format(**settings, root=site.files))
        programs.start(SERVER, ["nginx", "-p", str(web), "-c", str(web / "nginx.conf")], name="nginx")
        called = ["--listen", server_address(1), "--port", str(_SIP), "--log", str(folder / "called")]
        programs.start(SERVER, [sys.executable, "-m", "lab.shaping.call", *called], name="called")
        deadline_s = time.monotonic() + 60
        while "ready" not in swarm.tail():
            if time.monotonic() > deadline_s or not swarm.running:
                raise LabError(f"the BitTorrent peers do not start: {swarm.tail()}")
            time.sleep(0.2)

    def truth(self) -> dict[tuple[str, int, str], measure.Kind]:
        """What each of the server's endpoints is for, the call's ports excepted."""
        bulk = measure.Kind("bulk", frozenset({_CLASS["bulk"]}))
        found = {(address, port, "tcp"): bulk for address, port in self._peers}
        found[server_address(1), _WEB, "tcp"] = measure.Kind("web", frozenset())
        found[server_address(1), _SIP, "udp"] = measure.Kind("signalling", frozenset())
        return found

    def _shape(self, way: str) -> Program | None:
        state = str(self._folder / f"queues-{way}.json")
        if way == "shared":
            for words in shared_queue():
                run(in_namespace(GATEWAY, ["tc", *words.split()]))
        elif way == "hand":
            words = [sys.executable, "-m", "lab.shaping.queues", "hand", state, str(self._folder / "peers.json")]
            run(in_namespace(GATEWAY, words))
        elif way == "flowsonar":
            return self._flowsonar()
        return None

    def _flowsonar(self) -> Program:
        """Start it as its owner would, and wait until it marks."""
        words = [*_WEIGHTY, sys.executable, "-m", "flowsonar", "shape", "-i", "wan", "--lan", "lan"]
        words += ["--up", f"{UP_SHAPED_KBIT}kbit", "--down", f"{DOWN_SHAPED_KBIT}kbit", "--scope", SERVER_NET]
        words += ["--store", str(self._folder / "verdicts.db"), "--json", "--output", str(self._folder / "shape.jsonl")]
        for file in self._folder.glob("verdicts*.db*"):
            file.unlink()  # of an earlier try: endpoints are new again
        (self._folder / "shape.jsonl").unlink(missing_ok=True)
        shaper = self._programs.start(GATEWAY, [*words, *self._more], name="flowsonar")
        deadline_s = time.monotonic() + _START_S
        while "table inet flowsonar" not in run(in_namespace(GATEWAY, ["nft", "list", "tables"])):
            if time.monotonic() > deadline_s or not shaper.running:
                raise LabError(f"flowsonar shape does not start: {shaper.tail()}")
            time.sleep(0.2)
        time.sleep(_QUIET_S)
        return shaper

    def _unshape(self, way: str, shaper: Program | None) -> None:
        if shaper is not None:
            self._programs.stop([shaper])
        if way == "shared":
            for device in ("wan", "lan"):
                run(in_namespace(GATEWAY, ["tc", "qdisc", "del", "dev", device, "root"]))
        elif way == "hand":
            state = str(self._folder / f"queues-{way}.json")
            run(in_namespace(GATEWAY, [sys.executable, "-m", "lab.shaping.queues", "clear", state]))

    def _capture(self, namespace: str, device: str) -> tuple[Program, Path]:
        self._captures += 1
        file = self._folder / f"{self._captures}-{device}.pcap"
        words = ["tcpdump", "-i", device, "-n", "-p", "-s", str(_CAPTURE_BYTES), "-B", "8192", "-Z", "root"]
        words += ["--time-stamp-precision=nano", "-w", str(file), "tcp or udp"]
        program = self._programs.start(namespace, words, name=f"tcpdump-{device}")
        deadline_s = time.monotonic() + 10
        while "listening on" not in program.tail():
            if time.monotonic() > deadline_s or not program.running:
                raise LabError(f"tcpdump does not start: {program.tail()}")
            time.sleep(0.05)
        return program, file

    def _load(self) -> list[Program]:
        python = str(VENV / "bin" / "python")
        folder = str(self._folder)
        words = [python, "-m", "lab.shaping.bittorrent", "loads", folder, LOADER_ADDRESS, f"{folder}/peers.json"]
        address = f"https://{server_address(1)}:{_WEB}/huge.bin"
        fetch = ["curl", "-sk", "-o", "/dev/null", address]
        return [
            self._programs.start(LOADER, words, name="loader"),
            self._programs.start(LOADER, fetch, name="curl"),
        ]

    def measure(self, way: str, seconds: float, again: float = 0.0, tries: int = 1) -> Result:
        """One way, measured anew where the machine stood still for most of it; then the steadiest of the tries."""
        found = []
        for number in range(tries):
            if number:
                self._say(f"the machine stood still too often ({found[-1].still:.1%} of the time): again ...")
            found.append(self._measure(way, seconds, again))
            if found[-1].tells:
                break
        return max(found, key=lambda one: len(one.up.points) + len(one.down.points))

    def _measure(self, way: str, seconds: float, again: float) -> Result:
        """Once: the call, and beside it the load (but for `idle`); `again` is a second load, of known endpoints."""
        shaper = self._shape(way)
        captures = [self._capture(GATEWAY, "wan"), self._capture(GATEWAY, "lan"), self._capture(MODEM, "net")]
        self._calls += 1
        log = self._folder / f"caller.{self._calls}"
        total = _QUIET_S + seconds + (again + 3 * _QUIET_S if again else 0.0) + _QUIET_S
        words = ["--listen", CALLER_ADDRESS, "--call", f"{server_address(1)}:{_SIP}", "--seconds", str(total)]
        words += ["--log", str(log)]
        caller = self._programs.start(CALLER, [sys.executable, "-m", "lab.shaping.call", *words], name="caller")
        time.sleep(_QUIET_S)
        start_ns = time.time_ns()
        load = [] if way == "idle" else self._load()
        time.sleep(seconds)
        end_ns = time.time_ns()
        self._programs.stop(load)
        again_ns = (0, 0)
        if again:
            time.sleep(2 * _QUIET_S)
            begin_ns = time.time_ns()
            load = self._load()
            time.sleep(again)
            again_ns = (begin_ns, time.time_ns())
            self._programs.stop(load)
        caller.process.wait(total + 10)
        if caller.process.returncode != 0:
            raise LabError(f"the call failed: {caller.tail()}")
        self._programs.stop(program for program, _ in captures)
        self._unshape(way, shaper)
        for program in load:
            if "rror" in program.tail():
                self._say(f"{program.name}: {program.tail(200)}")
        return self._result(way, log, [file for _, file in captures], (start_ns, end_ns), again_ns)

    def _result(
        self, way: str, log: Path, captures: list[Path], load_ns: tuple[int, int], again_ns: tuple[int, int]
    ) -> Result:
        outside, inside, sent = captures
        start_ns, end_ns = load_ns
        called = self._folder / f"called.{self._calls}"
        truth = self.truth()
        for packet in measure.packets(inside):
            other = [end for end in (packet.source, packet.destination) if end[0] == server_address(1)]
            if packet.transport == "udp" and other and other[0][1] != _SIP:
                truth[*other[0], "udp"] = measure.Kind("call", frozenset({_CLASS["call"]}))
        steady_ns = min(end_ns, start_ns + 5_000_000_000)
        result = Result(
            way=way,
            up=measure.delays(called, start_ns, end_ns),
            down=measure.delays(log, start_ns, end_ns),
            carried=measure.carried(sent, inside, truth, steady_ns, end_ns),
            seconds=(end_ns - steady_ns) / 1e9,
            start_ns=start_ns,
            still=stood_still(self._still, start_ns, end_ns),
        )
        still = standstills(self._still)
        for delays in (result.up, result.down):
            delays.leave_out(start_ns, still)
        kernel: dict[tuple[str, int, str], int] = {}
        if way == "flowsonar":
            result.waited_ms = measure.waits(self._folder / "shape.jsonl")
            kernel = measure.in_kernel(self._folder / "shape.jsonl")
        result.new = measure.marks(outside, inside, truth, 0, end_ns, kernel)
        if again_ns[1]:
            known = measure.marked(outside, inside, truth, again_ns[0])
            result.known = measure.marks(outside, inside, {key: truth[key] for key in known}, *again_ns)
        return result

    def finish(self) -> dict[str, object]:
        """End the wire and give what it measured of itself."""
        if self._wire is None or self._watch is None:
            return {}
        self._programs.stop([self._wire, self._watch])
        try:
            found = json.loads(self._wire_report.read_text())
        except (OSError, ValueError):
            return {}
        return dict(found)
