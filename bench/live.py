"""Live capture at rising rates: what is lost, beside tcpdump that only counts.

In a network namespace of its own, two ends of a veth pair: tcpreplay sends a mix on one, the program under test watches
the other, one program at a time. Lost is what the kernel counts as dropped at the program's packet socket.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["live"]

RATES = (50_000, 100_000, 200_000, 400_000, 0)
"""Packets a second; 0: as fast as tcpreplay can."""
SECONDS = 3
SENDS, WATCHES = "fslive0", "fslive1"
FLOWSONAR = str(Path(sys.executable).parent / "flowsonar")


class Run(NamedTuple):
    """One program at one rate."""

    sent: int
    rate: float
    """Packets a second that were sent indeed."""
    lost: int
    cpu_s: float


def live(capture: Path) -> list[str]:
    """Run this module in a namespace of its own; its table."""
    if os.geteuid() != 0 or not shutil.which("tcpreplay") or not shutil.which("tcpdump"):
        return ["needs root, tcpreplay and tcpdump"]
    command = ["unshare", "--net", sys.executable, "-m", "bench.live", str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else [f"failed: {done.stderr.strip()[-300:]}"]


def _measure(capture: Path, rates: Sequence[int]) -> Iterator[str]:
    _set_up()
    yield "| packets a second, asked | sent | program | lost | share | CPU s |"
    yield "|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Path(folder) / "nowhere.toml"
        nowhere.write_text('[scope]\nonly = ["203.0.113.0/24"]\n')
        programs = {
            "tcpdump -w /dev/null": (["tcpdump", "-i", WATCHES, "-n", "-w", "/dev/null"], _tcpdump_lost),
            "flowsonar watch --passive": (
                [FLOWSONAR, "watch", "-i", WATCHES, "--passive", "--json", "--store", f"{folder}/v.db"],
                _flowsonar_lost,
            ),
            "flowsonar watch, nobody in scope": (
                [FLOWSONAR, "watch", "-i", WATCHES, "--json", "--store", f"{folder}/n.db", "--config", str(nowhere)],
                _flowsonar_lost,
            ),
            "flowsonar watch, private networks in scope": (  # no way leads there: this namespace has no addresses
                [FLOWSONAR, "watch", "-i", WATCHES, "--json", "--store", f"{folder}/p.db"],
                _flowsonar_lost,
            ),
            "flowsonar watch --passive --ends": (
                [FLOWSONAR, "watch", "-i", WATCHES, "--passive", "--json", "--ends"],
                _flowsonar_lost,
            ),
        }
        for rate in rates:
            for name, (command, lost) in programs.items():
                run = _run(command, capture, rate, Path(folder), lost)
                share = run.lost / run.sent if run.sent else 0.0
                asked = f"{rate:,}" if rate else "all"
                yield f"| {asked} | {run.rate:,.0f} | {name} | {run.lost:,} | {share:.2%} | {run.cpu_s:.2f} |"


def _set_up() -> None:
    for words in (
        f"link add {SENDS} type veth peer name {WATCHES}",
        f"link set {SENDS} up mtu 9000",
        f"link set {WATCHES} up mtu 9000",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    for end in (SENDS, WATCHES):  # no router solicitations among the packets
        Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")


def _run(command: list[str], capture: Path, rate: int, folder: Path, lost: Callable[[str], int]) -> Run:
    with (folder / "said").open("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            _wait_for_socket(process)
            speed = [f"--pps={rate}", f"--limit={rate * SECONDS}"] if rate else ["--topspeed"]
            send = ["tcpreplay", "-K", "--loop=0" if rate else "--loop=1", *speed, "-i", SENDS, str(capture)]
            replayed = subprocess.run(send, capture_output=True, text=True, check=False)
            sender = resource.getrusage(resource.RUSAGE_CHILDREN)
            time.sleep(1)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        said.seek(0)
        text = said.read()
    sent = re.search(r"Actual: (\d+) packets .* in ([0-9.]+) seconds", replayed.stdout)
    if sent is None:
        raise RuntimeError(f"tcpreplay: {replayed.stderr.strip()[-200:]}")
    cpu_s = after.ru_utime + after.ru_stime - sender.ru_utime - sender.ru_stime
    return Run(int(sent[1]), int(sent[1]) / float(sent[2]), lost(text), cpu_s)


def _wait_for_socket(process: subprocess.Popen[bytes]) -> None:
    sockets = Path("/proc/net/packet")  # of this namespace: a headline, then a line a packet socket
    deadline = time.monotonic() + 60
    while len(sockets.read_text().splitlines()) < 2:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the program did not begin to capture")
        time.sleep(0.01)
    time.sleep(0.5)


def _tcpdump_lost(text: str) -> int:
    found = re.search(r"(\d+) packets? dropped by kernel", text)
    return int(found[1]) if found else -1


def _flowsonar_lost(text: str) -> int:
    found = re.search(r"kernel_drops (\d+)", text)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    for line in _measure(Path(sys.argv[1]), [int(rate) for rate in sys.argv[2:]] or RATES):
        print(line, flush=True)
